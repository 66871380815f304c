"""The networks in the system's place for them; untrained ones say nonsense, but always the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import CAMERA, SIZE, walk

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.frame import Frame
from compressed_slam.network import DroidNet
from compressed_slam.projection import pixel_grid
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from compressed_slam.widths import DroidConfig, EncoderWidths

if TYPE_CHECKING:
    from compressed_slam.matching import Matcher

HEIGHT, WIDTH = SIZE[1] // 8, SIZE[0] // 8
NARROW = EncoderWidths(stages=(8, 8, 8), inner=((8, 8), (8, 8), (8, 8)))
SLIM = DroidConfig(
    fnet=NARROW,
    cnet=NARROW,
    features=16,
    hidden=16,
    context=16,
    corr_encoder=(16, 16),
    flow_encoder=(16, 8),
    delta=16,
    weight=16,
    agg=(16, 16),
)


@pytest.fixture(scope="module")
def operator() -> DroidOperator:
    torch.manual_seed(0)
    return DroidOperator(DroidNet(SLIM))


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    shots = walk("wander", 1, 4.0, 12.0)[:12]
    return [Frame(s.stamp, s.bgr, s.depth) for s in shots]


def test_many_edges_in_parts_say_what_few_say_at_once(
    operator: DroidOperator, frames: list[Frame]
) -> None:
    views = [operator.view(frame) for frame in frames]
    # More than are computed at once, in no order, and not all taken in together.
    pairs = [(i, j) for j in range(12) for i in range(12) if i != j]

    def add(matcher: Matcher, edges: list[tuple[int, int]]) -> None:
        sources, targets = zip(*edges, strict=True)
        matcher.add(sources, [views[i] for i in sources], [views[j] for j in targets])

    grid = pixel_grid(HEIGHT, WIDTH)
    coords = grid + torch.randn((len(pairs), HEIGHT, WIDTH, 2)) * 2
    answers = []
    for lasting in (True, False):
        matcher = operator.matcher(lasting=lasting)
        for part in (pairs[:70], pairs[70:]):
            matcher.add(
                [i for i, _ in part], [views[i] for i, _ in part], [views[j] for _, j in part]
            )
        matcher.refine(coords, coords)
        mask = torch.arange(len(pairs)) % 5 > 0
        matcher.keep(mask)
        answers.append(matcher.refine(coords[mask] + 0.5, coords[mask]))
    one, other = answers
    for name in ("delta", "weight", "damping"):
        expected, got = getattr(one, name), getattr(other, name)
        assert expected.shape == got.shape
        assert (expected - got).norm() < 2e-3 * expected.norm(), name

    # And an edge is the network's answer for it and those of its source, whatever else there is.
    matcher = operator.matcher(lasting=True)
    mine = [(3, j) for j in range(12) if j != 3]
    rows = [pairs.index(pair) for pair in mine]
    add(matcher, mine)
    alone = matcher.refine(coords[rows], coords[rows])
    everything = operator.matcher(lasting=True)
    everything.add(
        [i for i, _ in pairs], [views[i] for i, _ in pairs], [views[j] for _, j in pairs]
    )
    whole = everything.refine(coords, coords)
    torch.testing.assert_close(whole.delta[rows], alone.delta, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.damping[3], alone.damping[0], rtol=1e-4, atol=1e-6)


CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("mode", ["mono", "rgbd", "stereo"])
def test_no_nonsense_of_a_network_stops_the_system(
    frames: list[Frame], mode: str, device: str
) -> None:
    torch.manual_seed(0)
    tracker = Tracker(
        preset(
            "tum",
            warm_up=4,
            window=6,
            max_keyframes=32,
            backend_every=2,
            motion_threshold=0.01,
            keyframe_threshold=0.01,
        ),
        DroidOperator(DroidNet(SLIM).to(device)),
        CAMERA,
        baseline=torch.tensor([-0.1, 0, 0, 0, 0, 0, 1]) if mode == "stereo" else None,
        measures_depth=mode == "rgbd",
        device=device,
    )
    for frame in frames:
        estimate = tracker.track(replace(frame, right=frame.bgr))
        assert estimate.stamp == frame.stamp
        assert estimate.pose.isfinite().all()
        assert estimate.odometry.isfinite().all()
    tracker.finish()
    assert set(tracker.trajectory().stamps.tolist()) <= {frame.stamp for frame in frames}
