"""Correlation against its definition, written out position by position, and what edges do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import torch

from compressed_slam.correlation import (
    CHANNELS,
    Correlation,
    Pyramid,
    feature_pyramid,
)

HEIGHT, WIDTH, FEATURES = 17, 22, 6


def random_maps(
    count: int, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    noise = torch.Generator().manual_seed(seed)
    maps = torch.randn((count, FEATURES, HEIGHT, WIDTH), generator=noise, dtype=torch.float64)
    return list(maps.to(dtype))


def random_coords(count: int, *, seed: int = 0) -> torch.Tensor:
    """Positions in the map and up to ten cells outside; some at cells, some wild."""
    noise = torch.Generator().manual_seed(seed)
    size = torch.tensor([WIDTH + 20, HEIGHT + 20])
    coords = torch.rand((count, HEIGHT, WIDTH, 2), generator=noise) * size - 10
    coords[:, 0] = coords[:, 0].round()
    wild = [float("nan"), float("inf"), float("-inf"), 1e9, -3e38, -4.0, WIDTH + 3.0]
    coords[:, 1, : len(wild), 0] = torch.tensor(wild)
    coords[:, 2, : len(wild), 1] = torch.tensor(wild)
    return coords


def edges(maps: list[torch.Tensor], pairs: list[tuple[int, int]]) -> Correlation:
    pyramids = [feature_pyramid(fmap) for fmap in maps]
    correlation = Correlation()
    correlation.add([pyramids[i] for i, _ in pairs], [pyramids[j] for _, j in pairs])
    return correlation


def by_hand(source: torch.Tensor, target: torch.Tensor, position: list[float]) -> list[float]:
    """The 196 values of one pixel, with features (channels,), by the definition."""
    values = []
    for level in range(4):
        size = 2**level
        rows, columns = target.shape[1] // size, target.shape[2] // size
        blocks = target[:, : rows * size, : columns * size].unfold(1, size, size)
        means = blocks.unfold(2, size, size).mean((3, 4))
        plane = torch.einsum("c,cyx->yx", source / 4, means / 4)
        for dx, dy in product(range(-3, 4), repeat=2):
            x, y = position[0] / size + dx, position[1] / size + dy
            near = [
                (max(0.0, 1 - abs(x - j)) * max(0.0, 1 - abs(y - i)), i, j)
                for i in range(rows)
                if abs(y - i) < 1
                for j in range(columns)
                if abs(x - j) < 1
            ]
            values.append(sum(share * float(plane[i, j]) for share, i, j in near))
    return values


@pytest.mark.parametrize("gradients", [False, True], ids=["compiled", "torch"])
def test_a_lookup_is_what_its_definition_says(*, gradients: bool) -> None:
    maps = random_maps(2)
    coords = random_coords(2)
    correlation = edges([fmap.requires_grad_(gradients) for fmap in maps], [(0, 1), (1, 0)])

    found = correlation.lookup(coords)

    assert found.shape == (2, CHANNELS, HEIGHT, WIDTH)
    assert found.isfinite().all()
    exact = [fmap.detach().double() for fmap in maps]
    columns = [*range(8), 15, WIDTH - 1]
    for row, column in product([0, 1, 2, 9, HEIGHT - 1], columns):
        for edge, (i, j) in enumerate([(0, 1), (1, 0)]):
            position = coords[edge, row, column].tolist()
            expected = torch.tensor(by_hand(exact[i][:, row, column], exact[j], position))
            ours = found[edge, :, row, column].detach()
            torch.testing.assert_close(ours, expected.to(ours), atol=2e-5, rtol=0)


def test_lookups_agree_with_the_published_ones(droid_reference: dict[str, torch.Tensor]) -> None:
    pairs = list(zip(droid_reference["ii"].tolist(), droid_reference["jj"].tolist(), strict=True))
    correlation = edges(list(droid_reference["fmap"]), pairs)
    error = correlation.lookup(droid_reference["coords"]) - droid_reference["corr"]
    assert error.abs().max() < 1e-4 * droid_reference["corr"].abs().max()


def test_edges_come_and_go_without_a_trace() -> None:
    maps = random_maps(3)
    pairs = [(0, 1), (1, 2), (2, 0), (1, 1)]
    correlation = edges(maps, pairs)
    assert len(correlation) == 4
    correlation.keep(torch.tensor([True, False, False, True]))
    pyramids: list[Pyramid] = [feature_pyramid(fmap) for fmap in maps]
    correlation.add([pyramids[2]], [pyramids[1]])
    coords = random_coords(3)
    expected = edges(maps, [(0, 1), (1, 1), (2, 1)]).lookup(coords)
    assert torch.equal(correlation.lookup(coords), expected)
    correlation.keep(torch.zeros(3, dtype=torch.bool))
    assert correlation.lookup(coords[:0]).shape == (0, CHANNELS, HEIGHT, WIDTH)


def test_threads_that_look_up_at_once_get_their_own_values() -> None:
    maps = random_maps(4)
    graphs = [edges(maps, [(k, 3 - k)] * 5) for k in range(4)]
    coords = [random_coords(5, seed=k) for k in range(4)]
    expected = [graph.lookup(at) for graph, at in zip(graphs, coords, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = pool.map(lambda graph, at: graph.lookup(at), graphs, coords)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_gradients_are_those_of_small_differences() -> None:
    maps = random_maps(2, dtype=torch.float64)
    coords = random_coords(1).double()
    outer = torch.randn(1, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)
    step = random_maps(2, seed=5, dtype=torch.float64)

    def value(along: float) -> torch.Tensor:
        moved = [fmap + along * change for fmap, change in zip(maps, step, strict=True)]
        return (outer * edges(moved, [(0, 1)]).lookup(coords)).sum()

    wanted = [fmap.clone().requires_grad_() for fmap in maps]
    (outer * edges(wanted, [(0, 1)]).lookup(coords)).sum().backward()
    slope = sum(
        float((fmap.grad * change).sum()) for fmap, change in zip(wanted, step, strict=True)
    )
    assert slope == pytest.approx(float(value(1e-3) - value(-1e-3)) / 2e-3, rel=1e-6)


def test_positions_of_other_edges_are_refused() -> None:
    with pytest.raises(ValueError, match="positions of 2 edges for 1 edges"):
        edges(random_maps(2), [(0, 1)]).lookup(random_coords(2))
