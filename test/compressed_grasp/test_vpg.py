"""The baseline is the published network: same names, same numbers, same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from compressed_grasp.learning.baseline import VPGTrainer  # noqa: E402
from compressed_grasp.learning.samples import Samples  # noqa: E402
from compressed_grasp.vpg import VPGNet, cell_values, load_vpg, zoomed  # noqa: E402
from edge_compression.measure import macs  # noqa: E402
from edge_runtime.errors import SettingError  # noqa: E402

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/vpg_reference_a.npz"


def weights(seed: int) -> dict[str, torch.Tensor]:
    """Weights by the reference's rule."""
    found = {}
    for k, (name, tensor) in enumerate(sorted(VPGNet().state_dict().items())):
        z = np.random.RandomState(seed + k).standard_normal(tuple(tensor.shape))
        if name.endswith("running_var"):
            z = 1 + 0.1 * np.abs(z)
        elif name.endswith(("running_mean", "bias")):
            z = 0.05 * z
        elif z.ndim > 1:
            z = z * np.sqrt(2 / np.prod(z.shape[1:]))
        else:
            z = 1 + 0.1 * z
        found[name] = torch.from_numpy(z.astype(np.float32))
    return found


def test_it_computes_what_the_published_network_does() -> None:
    if not REFERENCE.exists():
        pytest.skip(f"no reference vectors at {REFERENCE}")
    reference = np.load(REFERENCE)
    seed, size = int(reference["seed"]), int(reference["size"])
    state = weights(seed)
    assert len(state) == 2444
    old = {name.replace(".norm1.", ".norm.1."): tensor for name, tensor in state.items()}
    network = load_vpg(old)
    rng = np.random.RandomState(5000 + seed)
    color = torch.from_numpy(rng.standard_normal((1, 3, size, size)).astype(np.float32))
    height = torch.from_numpy(rng.standard_normal((1, 1, size, size)).astype(np.float32))
    with torch.no_grad():
        pushes, grasps = network(color, height.repeat(1, 3, 1, 1), (0, 3, 9))
    for k, push, grasp in zip((0, 3, 9), pushes, grasps, strict=True):
        for found, name in ((push, f"push_{k}"), (grasp, f"grasp_{k}")):
            expected = reference[name]
            assert np.abs(found.numpy() - expected).max() < 1e-3 * np.abs(expected).max()


def test_weights_must_fit_to_the_last_tensor() -> None:
    state = VPGNet().state_dict()
    name = "grasp_depth_trunk.features.denseblock3.denselayer24.conv2.weight"
    for wrong in (
        {key: value for key, value in state.items() if key != name},
        {**state, "push_color_trunk.features.conv9.weight": state[name]},
        {**state, name: state[name][1:]},
    ):
        with pytest.raises(SettingError, match="tensors 1 "):
            load_vpg(wrong)


def test_without_colour_it_sees_what_the_mean_colour_shows() -> None:
    network = VPGNet()
    height = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(torch.zeros_like(height), height, (0, 5))
        assert torch.equal(network(None, height, (0, 5)), expected)


def test_the_value_of_a_cell_is_that_of_its_place() -> None:
    rows = torch.arange(320.0)[:, None].expand(320, 320)
    cells = cell_values(rows[None])[0]
    # 48 pixels of 2 mm lie before the map; a cell's middle is between its two pixels.
    assert cells[:, 7].tolist() == [48 + 2 * k + 0.5 for k in range(112)]
    assert zoomed(cells).shape == (224, 224)
    assert zoomed(cells)[50, 0] == zoomed(cells)[51, 0] == cells[25, 0]


def test_training_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    heights = np.zeros((1, 112, 112), np.uint8)
    heights[0, 50:62, 50:62] = 60
    grasps = Samples(
        heights,
        state=np.array([0, 0]),
        cell=np.array([[56, 56], [52, 56]]),
        angle=np.array([3, 11]),
        push=np.array([False, False]),
        value=np.array([1, 0], np.float32),
    )
    before = VPGTrainer(grasps, 1e-6, tmp_path / "state.pt")
    first = {name: tensor.clone() for name, tensor in before.network.state_dict().items()}
    before.run()
    after = VPGTrainer(grasps, 1e-6, tmp_path / "state.pt")
    after.run()
    assert (after.steps, after.seconds, after.loss) == (1, before.seconds, before.loss)
    changed = set()
    stopped = before.network.state_dict()
    for name, tensor in after.network.state_dict().items():
        assert torch.equal(tensor, stopped[name]), name
        if not torch.equal(tensor, first[name]):
            changed.add(name.split(".")[0])
    # Only what gave the value of what was executed.
    assert changed == {"grasp_depth_trunk", "graspnet"}


def test_a_decision_costs_what_the_paper_s_does() -> None:
    image = torch.empty((1, 3, 640, 640), device="meta")
    network = VPGNet().to("meta")
    of_a_rotation = macs(network.push_color_trunk.features, {"image": image})
    head = macs(network.pushnet, {"features": torch.empty((1, 2048, 20, 20), device="meta")})
    assert 16 * (4 * of_a_rotation + 2 * head) == pytest.approx(1.48e12, rel=0.01)
