"""The networks against the published ones, and what holds for any widths."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
import torch_pruning
from torch import nn

from compressed_slam.network import DroidNet
from compressed_slam.update_operator import Update, source_means, upsample
from compressed_slam.widths import DroidConfig, EncoderWidths
from edge_runtime.errors import SettingError

TOLERANCE = 1e-4
FNET = EncoderWidths(stages=(7, 11, 13), inner=((5, 6), (8, 9), (10, 12)))
CNET = EncoderWidths(stages=(6, 9, 14), inner=((4, 5), (7, 8), (11, 10)))
UNEVEN = DroidConfig(
    fnet=FNET,
    cnet=CNET,
    features=15,
    hidden=12,
    context=9,
    corr_encoder=(16, 17),
    flow_encoder=(8, 10),
    delta=13,
    weight=11,
    agg=(18, 19),
)


def uneven_network() -> DroidNet:
    torch.manual_seed(0)
    return DroidNet(UNEVEN).eval()


def images(count: int, height: int = 128, width: int = 136) -> torch.Tensor:
    noise = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=noise)


def edges(
    count: int, height: int = 16, width: int = 17, config: DroidConfig = UNEVEN
) -> tuple[torch.Tensor, ...]:
    """Net, inp, corr and motion of random edges."""
    noise = torch.Generator().manual_seed(2)
    channels = (config.hidden, config.context, 196, 4)
    return tuple(torch.randn((count, c, height, width), generator=noise) for c in channels)


def weights_by_rule(network: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    made = {}
    for k, name in enumerate(sorted(state)):
        shape = tuple(state[name].shape)
        scale = np.sqrt(2 / np.prod(shape[1:])) if name.endswith("weight") else 0.05
        values = np.random.RandomState(seed + k).standard_normal(shape) * scale
        made[name] = torch.from_numpy(values.astype(np.float32))
    return made


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_every_output_agrees_with_the_published_networks(
    droid_reference: dict[str, torch.Tensor],
) -> None:
    given = droid_reference
    network = DroidNet().eval()
    network.load_state_dict(weights_by_rule(network, int(given["seed"])))
    ii = given["ii"]
    with torch.no_grad():
        features = network.extract_features(given["image_bgr"])
        step = network.update(
            given["net"][ii], given["inp"][ii], given["corr"], given["motion"], ii
        )
        disp_up = upsample(given["disp"], given["upmask"])
    ours = {
        **features._asdict(),
        **step._asdict(),
        "net_out": step.net,
        "net": features.net,
        "delta": step.delta.permute(0, 2, 3, 1),
        "weight": step.weight.permute(0, 2, 3, 1),
        "disp_up": disp_up,
    }
    errors = {name: relative_error(maps, given[name]) for name, maps in ours.items()}
    assert len(errors) == 9
    assert max(errors.values()) < TOLERANCE, errors


def test_names_and_sizes_are_the_published_ones() -> None:
    blocks = [f"layer{k}.{b}.conv{c}" for k in (1, 2, 3) for b in (0, 1) for c in (1, 2)]
    shortcuts = ["layer2.0.downsample.0", "layer3.0.downsample.0"]
    layers = [
        f"{encoder}.{layer}"
        for encoder in ("fnet", "cnet")
        for layer in ("conv1", *blocks, *shortcuts, "conv2")
    ]
    pairs = ("corr_encoder", "flow_encoder", "weight", "delta")
    layers += [f"update.{pair}.{k}" for pair in pairs for k in (0, 2)]
    gates = ("convz", "convr", "convq")
    layers += [f"update.gru.{name}" for name in (*gates, *(f"{g}_glo" for g in gates), "w")]
    layers += [f"update.agg.{name}" for name in ("conv1", "conv2", "eta.0", "upmask.0")]

    network = DroidNet()

    state = network.state_dict()
    assert len(state) == 102
    assert set(state) == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    parts = (network, network.fnet, network.cnet, network.update)
    sizes = [sum(value.numel() for value in part.parameters()) for part in parts]
    assert sizes == [4_002_565, 714_560, 731_072, 2_556_933]


def test_any_widths_are_read_back_and_give_the_maps_they_say() -> None:
    network = uneven_network()
    assert network.config() == UNEVEN
    assert DroidConfig.model_validate_json(UNEVEN.model_dump_json()) == UNEVEN
    with torch.no_grad():
        features = network.extract_features(images(2))
        step = network.update(*edges(3), torch.tensor([4, 2, 4]))
    assert [maps.shape[1:] for maps in features] == [(15, 16, 17), (12, 16, 17), (9, 16, 17)]
    assert [tuple(maps.shape) for maps in step] == [
        (3, 12, 16, 17),
        (3, 2, 16, 17),
        (3, 2, 16, 17),
        (2, 16, 17),
        (2, 576, 16, 17),
    ]


class _TwoSteps(nn.Module):
    """From images through both encoders and two updates, so that the state's channels are tied."""

    def __init__(self, network: DroidNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: torch.Tensor, corr: torch.Tensor, motion: torch.Tensor, ii: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        fmap, net, inp = self.network.extract_features(image)
        first = self.network.update(net, inp, corr, motion, ii)
        return fmap, *self.network.update(first.net, inp, corr, motion, ii)


def widths(network: DroidNet) -> dict[str, int]:
    """Every width by its place in the configuration."""
    groups = [("", network.config().model_dump())]
    flat: dict[str, int] = {}
    while groups:
        place, group = groups.pop()
        for key, value in group.items() if isinstance(group, dict) else enumerate(group):
            name = f"{place}.{key}".lstrip(".")
            if isinstance(value, int):
                flat[name] = value
            else:
                groups.append((name, value))
    return flat


def test_a_pruned_network_is_one_of_other_widths() -> None:
    whole, network = uneven_network(), uneven_network()
    _, _, corr, motion = edges(3)
    inputs = (images(3), corr, motion, torch.tensor([0, 1, 0]))
    ends = [network.update.delta[2], network.update.weight[2]]
    ends += [network.update.agg.eta[0], network.update.agg.upmask[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(_TwoSteps(network), inputs)
    for k, group in enumerate(list(graph.get_all_groups(ignored_layers=ends))):
        layer = group[0].dep.target.module
        prune = graph.get_pruner_of_module(layer).prune_out_channels
        graph.get_pruning_group(layer, prune, list(range(1 + k % 3))).prune()

    again = DroidNet(network.config()).eval()
    again.load_state_dict(network.state_dict())

    before, after = widths(whole), widths(again)
    assert [name for name, width in after.items() if width >= before[name]] == ["context"]
    with torch.no_grad():
        for ours, theirs in zip(
            _TwoSteps(again)(*inputs), _TwoSteps(network)(*inputs), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_frames_get_the_mean_of_their_own_edges_in_ascending_order() -> None:
    network = uneven_network()
    inputs = edges(4)
    ii = torch.tensor([9, 3, 9, 5])
    with torch.no_grad():
        together = network.update(*inputs, ii)
        alone = [
            network.update(*(maps[mine] for maps in inputs), ii[mine])
            for mine in (torch.tensor(rows) for rows in ([1], [3], [2, 0]))
        ]
    torch.testing.assert_close(together.eta, torch.cat([step.eta for step in alone]))
    torch.testing.assert_close(together.upmask, torch.cat([step.upmask for step in alone]))


def test_motion_beyond_64_cells_counts_as_64() -> None:
    network = uneven_network()
    net, inp, corr, _ = edges(1)
    ii = torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        near, far, further = (
            network.update(net, inp, corr, torch.full((1, 4, 16, 17), value), ii).delta
            for value in (63.0, 64.0, 1e5)
        )
    assert torch.equal(far, further)
    assert not torch.equal(near, far)


def test_each_encoder_can_run_alone() -> None:
    network = uneven_network()
    with torch.no_grad():
        fmap, net, inp = network.extract_features(images(2))
        assert torch.equal(network.feature_maps(images(2)), fmap)
        alone = network.context(images(2))
    assert torch.equal(alone[0], net)
    assert torch.equal(alone[1], inp)


@pytest.mark.parametrize(("height", "width"), [(120, 160), (160, 120), (128, 132), (241, 320)])
def test_images_that_do_not_fit_are_refused(height: int, width: int) -> None:
    with pytest.raises(SettingError, match=f"{width}x{height} pixels.*multiples of 8.*128"):
        uneven_network().feature_maps(images(1, height, width))


def test_upsampling_mixes_neighbouring_cells_only() -> None:
    disps = torch.zeros(1, 6, 7)
    disps[0, 2, 3] = 1.0
    noise = torch.Generator().manual_seed(3)
    fine = upsample(disps, torch.randn((1, 576, 6, 7), generator=noise))[0]
    touched = (fine.view(6, 8, 7, 8) > 0).all(3).all(1)
    assert touched.nonzero().tolist() == [[y, x] for y in (1, 2, 3) for x in (2, 3, 4)]
    assert ((fine >= 0) & (fine < 1)).all()
    even = upsample(torch.full((1, 6, 7), 0.3), torch.randn((1, 576, 6, 7), generator=noise))[0]
    torch.testing.assert_close(even[8:-8, 8:-8], torch.full((32, 40), 0.3))


class _Step(nn.Module):
    def __init__(self, network: DroidNet) -> None:
        super().__init__()
        self.operator = network.update

    def forward(self, *inputs: torch.Tensor) -> Update:
        return self.operator.step(*inputs)


def test_a_step_exports_for_any_number_of_edges_and_frames() -> None:
    step = _Step(uneven_network())
    names = ["net", "inp", "corr", "motion", "means"]
    sizes = {name: {0: "edges", 2: "height", 3: "width"} for name in names[:4]}
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step,
            (*edges(3), source_means(torch.tensor([0, 1, 0]))),
            written,
            input_names=names,
            dynamic_axes={**sizes, "means": {0: "frames", 1: "edges"}},
            opset_version=17,
            dynamo=False,
        )
    engine = onnxruntime.InferenceSession(written.getvalue(), providers=["CPUExecutionProvider"])
    inputs = (*edges(5, 20, 16), source_means(torch.tensor([2, 1, 1, 7, 2])))
    with torch.no_grad():
        expected = step(*inputs)
    found = engine.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error(torch.from_numpy(ours), theirs) < TOLERANCE
