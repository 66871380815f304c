"""Expansion clustering against its definition, written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from pose_fcn.expansion_clustering import expansion_clustering

SEED, GROW = 0.5, 0.3


def bell(x: float, y: float, *, height: int = 60, width: int = 80, peak: float = 1.0) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)).astype(np.float32)


def grown_by_hand(plane: np.ndarray) -> tuple[float, float, float] | None:
    """The docstring's rule with a flood fill: x, y and score of the strongest cluster."""
    values = np.where(np.isfinite(plane), plane, 0)
    rest = {(int(y), int(x)) for y, x in np.argwhere(values >= np.float32(GROW * values.max()))}
    best = None
    for seed in sorted(rest):
        if seed not in rest or values[seed] < SEED:
            continue
        cluster, edge = set(), {seed}
        while edge:
            cluster |= edge
            edge = {(y + dy, x + dx) for y, x in edge for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & (
                rest - cluster
            )
        rest -= cluster
        weights = np.array([values[pixel] for pixel in cluster], float)
        centre = weights @ np.array(list(cluster)) / weights.sum()
        if best is None or (weights**2).sum() > best[0]:
            best = ((weights**2).sum(), centre[1], centre[0], weights.max())
    return best and best[1:]


def test_agrees_with_a_flood_fill_on_random_maps() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((40, 24, 31), dtype=np.float32) ** rng.uniform(1, 8, (40, 1, 1))
    maps[::7, 5] = np.nan
    clusters = expansion_clustering(maps.astype(np.float32), SEED, GROW)
    for plane, position, score, found in zip(maps, *clusters, strict=True):
        expected = grown_by_hand(plane.astype(np.float32))
        assert found == (expected is not None)
        if expected is not None:
            assert position == pytest.approx(expected[:2], abs=1e-3)
            assert score == pytest.approx(expected[2])


def test_centre_is_found_to_a_fraction_of_a_pixel() -> None:
    rng = np.random.default_rng(1)
    centres = rng.uniform((8, 8), (70, 50), (50, 2))
    clusters = expansion_clustering(np.stack([bell(x, y) for x, y in centres]), SEED, GROW)
    assert clusters.found.all()
    assert np.abs(clusters.positions - centres).max() < 0.1


def test_of_disjoint_blobs_the_broader_beats_the_higher_and_does_not_mix_with_it() -> None:
    spike = np.zeros((60, 80), np.float32)
    spike[5, 5] = 1.0
    clusters = expansion_clustering((bell(60, 40, peak=0.8) + spike)[None], SEED, GROW)
    assert clusters.positions[0] == pytest.approx((60, 40), abs=0.1)
    assert clusters.scores[0] == pytest.approx(0.8, abs=0.01)


def test_a_faint_bridge_makes_one_cluster_and_a_gap_two() -> None:
    plane = np.zeros((1, 9, 20), np.float32)
    plane[0, 4, 3] = plane[0, 4, 13] = 1.0
    plane[0, 4, 4:13] = GROW
    assert expansion_clustering(plane, SEED, GROW).positions[0] == pytest.approx((8, 4))
    plane[0, 4, 8] = GROW / 2
    assert expansion_clustering(plane, SEED, GROW).positions[0, 0] < 6


def test_a_blob_at_the_border_gives_the_centre_of_what_is_inside() -> None:
    plane = bell(0, 30)
    clusters = expansion_clustering(plane[None], SEED, GROW)
    inside = plane >= GROW
    columns = np.nonzero(inside)[1]
    assert clusters.positions[0, 0] == pytest.approx(np.average(columns, weights=plane[inside]))
    assert clusters.positions[0, 1] == pytest.approx(30, abs=0.01)


def test_a_faint_bell_is_located_as_a_clear_one() -> None:
    maps = np.stack([bell(30.3, 20.6, peak=peak) for peak in (1.0, 0.02)])
    maps[:, 20, 31:60] = np.maximum(maps[:, 20, 31:60], 0.004)  # a haze beside it
    clear, faint = expansion_clustering(maps, 0.01, GROW).positions
    assert clear == pytest.approx((30.3, 20.6), abs=0.1)
    assert faint == pytest.approx(clear, abs=1e-3)


def test_empty_faint_and_nan_maps_are_not_found() -> None:
    maps = np.stack([np.zeros((60, 80)), bell(20, 20, peak=0.4), np.full((60, 80), np.nan)])
    clusters = expansion_clustering(maps.astype(np.float32), SEED, GROW)
    assert not clusters.found.any()
    assert np.isnan(clusters.positions).all()
    assert clusters.scores == pytest.approx([0, 0.4, 0])


def test_bad_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        expansion_clustering(np.zeros((4, 4), np.float32), SEED, GROW)
    with pytest.raises(ValueError, match="grow"):
        expansion_clustering(np.zeros((1, 4, 4), np.float32), SEED, 1.1)
