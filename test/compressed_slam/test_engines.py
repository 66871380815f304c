"""The networks as engines: they say what torch says, one call after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")
pytest.importorskip("onnx", reason="onnx comes with the extra [compress]")

from recordings import CAMERA, walk
from test_droid_operator import SLIM

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import EngineNetworks
from compressed_slam.frame import Frame
from compressed_slam.network import DroidNet
from compressed_slam.offline.exporting import export_models
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_compression.export import export
from edge_compression.tensorrt_rules import violations
from edge_runtime.errors import BundleError, EngineError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from compressed_slam.droid_operator import Networks


@pytest.fixture(scope="module")
def droid() -> DroidNet:
    torch.manual_seed(0)
    return DroidNet(SLIM).eval()


@pytest.fixture(scope="module")
def graphs(droid: DroidNet) -> dict[str, bytes]:
    return {name: export(model) for name, model in export_models(droid).items()}


@pytest.fixture(scope="module")
def engines(graphs: dict[str, bytes]) -> EngineNetworks:
    return EngineNetworks({name: OnnxEngine.from_file(graphs[name]).run for name in graphs})


def test_a_rollout_of_the_engines_is_that_of_torch(
    droid: DroidNet, engines: EngineNetworks
) -> None:
    shots = walk("wander", 1, 4.0, 12.0)[:10]

    def drive(networks: Networks) -> torch.Tensor:
        tracker = Tracker(
            preset(
                "tum",
                warm_up=4,
                window=6,
                max_keyframes=32,
                motion_threshold=0.01,
                keyframe_threshold=0.01,
            ),
            DroidOperator(networks),
            CAMERA,
            measures_depth=True,
        )
        for shot in shots:
            tracker.track(Frame(shot.stamp, shot.bgr, shot.depth))
        tracker.finish()
        return torch.from_numpy(tracker.trajectory().poses)

    expected, got = drive(droid), drive(engines)
    assert len(expected) > 5
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_pictures_of_any_size_and_any_number_of_edges(
    droid: DroidNet, engines: EngineNetworks
) -> None:
    picture = torch.randint(256, (1, 3, 136, 184), dtype=torch.uint8)
    torch.testing.assert_close(
        engines.feature_maps(picture), droid.feature_maps(picture), rtol=1e-3, atol=1e-3
    )
    for got, expected in zip(engines.context(picture), droid.context(picture), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    for ii in (torch.tensor([5]), torch.tensor([2, 7, 2, 2, 9])):
        count = len(ii)
        maps = [torch.randn(count, channels, 17, 23) for channels in (16, 16, 196, 4)]
        got, expected = engines.update(*maps, ii), droid.update(*maps, ii)
        assert len(got) == 4
        for ours, theirs in zip(got, expected, strict=False):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_graphs_keep_the_rules_of_tensorrt(graphs: dict[str, bytes]) -> None:
    assert {name: violations(graph) for name, graph in graphs.items()} == {
        "fnet": [],
        "cnet": [],
        "update": [],
    }


def test_a_bundle_of_other_models_is_refused(graphs: dict[str, bytes]) -> None:
    run = OnnxEngine.from_file(graphs["fnet"]).run
    with pytest.raises(BundleError, match="fnet, cnet, update"):
        EngineNetworks({"fnet": run, "cnet": run})


def test_networks_of_different_widths_fail_before_the_first_picture(
    graphs: dict[str, bytes],
) -> None:
    wider = DroidNet(SLIM.model_copy(update={"hidden": 24})).eval()
    cnet = export(export_models(wider)["cnet"])

    def operator(graphs: dict[str, bytes]) -> DroidOperator:
        engines = {name: OnnxEngine.from_file(graph).run for name, graph in graphs.items()}
        return DroidOperator(EngineNetworks(engines))

    operator(graphs).warm_up(160, 128)
    with pytest.raises(EngineError, match="24, 16, 20"):
        operator({**graphs, "cnet": cnet}).warm_up(160, 128)
