"""Zero-padded channels: the widths are those that kernels like, and nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate, max_pool2d

from edge_compression.calibration import calibrate
from edge_compression.export import check_against_torch, export
from edge_compression.job import compressible_skill
from edge_compression.quantisation import quantise
from edge_compression.widening import widened
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from edge_compression.protocol import CompressibleSkill


@pytest.fixture
def skill() -> CompressibleSkill:
    return compressible_skill("blob")


def _widths(network: nn.Module) -> dict[str, tuple[int, int]]:
    return {
        name: (module.in_channels, module.out_channels)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    }


def _randomise(network: nn.Module) -> nn.Module:
    """Let no bias and no statistic be zero, as in a fresh network."""
    torch.manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.ndim == 1:
            tensor.uniform_(0.1, 0.5)
    return network.eval()


def _widened(skill: CompressibleSkill, network: nn.Module) -> nn.Module:
    model = widened(skill, network, skill.data_model(), "blob")
    assert model is not None
    return model.network


def _same(network: nn.Module, wider: nn.Module) -> None:
    image = torch.rand(2, 1, 24, 32)
    with torch.no_grad():
        torch.testing.assert_close(wider(image), network(image), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "wide"),
    [
        ((9, 17, 20), (16, 20, 20)),
        ((7, 8, 4), (7, 16, 4)),  # of so few the convolutions stay in float
    ],
)
def test_channels_between_convolutions_are_sixteen_at_least_and_a_multiple_of_four(
    given: tuple[int, int, int], wide: tuple[int, int, int], skill: CompressibleSkill
) -> None:
    names = ("first", "second", "between")
    network = _randomise(skill.build_network(dict(zip(names, given, strict=True))))
    before = {key: value.clone() for key, value in network.state_dict().items()}

    wider = _widened(skill, network)

    first, second, between = wide
    assert _widths(wider) == {
        "first": (1, first),
        "second": (first, second),
        "between": (second, between),
        "up": (between, first),
        "head": (first, 1),
    }
    _same(network, wider)
    assert _widths(network)["second"] == given[:2]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_that_needs_none_is_not_copied(skill: CompressibleSkill) -> None:
    network = _randomise(skill.build_network({"first": 16, "second": 20, "between": 4}))

    assert widened(skill, network, skill.data_model(), "blob") is None


class _Odd(nn.Module):
    """Of everything that padding would disturb, one; and between `one` and `two` nothing."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Conv2d(1, 10, 3, padding=1), nn.Conv2d(10, 12, 3, padding=1)
        groups = {"grouped": 2, "depthwise": 12}.get(kind, 1)
        self.three = nn.Conv2d(24 if kind == "joined" else 12, 12, 3, padding=1, groups=groups)
        if kind == "transposed":
            self.three = nn.ConvTranspose2d(12, 12, 3, padding=1)  # type: ignore[assignment]
        self.norm = nn.GroupNorm(3, 12) if kind == "normed" else nn.Identity()
        self.head = nn.Conv2d(12, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = self.two(torch.relu(self.one(image)))
        if self.kind == "joined":
            found = torch.cat([found, interpolate(max_pool2d(found, 2), scale_factor=2.0)], 1)
        if self.kind == "averaged":  # an operation by the element for who does not look closely
            found = found - found.mean(1, keepdim=True)
        if self.kind == "refusing" and found.shape[1] != 12:
            raise RuntimeError
        if self.kind == "written":
            found = found + torch.full((12, 1, 1), 0.1)
        result: torch.Tensor = self.head(self.norm(self.three(found)))
        return result


@pytest.mark.parametrize(
    "kind",
    ["grouped", "depthwise", "transposed", "joined", "normed", "averaged", "refusing", "written"],
)
def test_what_padded_channels_would_disturb_is_left_alone(
    kind: str, skill: CompressibleSkill, capsys: pytest.CaptureFixture[str]
) -> None:
    network = _randomise(_Odd(kind))

    if kind in {"averaged", "refusing", "written"}:
        assert widened(skill, network, skill.data_model(), "blob") is None
        assert "without zero-padded channels" in capsys.readouterr().err
    else:
        wider = _widened(skill, network)
        _same(network, wider)
        assert _widths(wider)["two" if kind != "normed" else "three"] == (16, 12)


def test_the_eight_bit_graph_gives_the_same_numbers(skill: CompressibleSkill) -> None:
    network = _randomise(skill.build_network({"first": 9, "second": 17, "between": 13}))
    images = [{"image": torch.rand(1, 1, 16, 16).numpy()} for _ in range(3)]
    data = skill.data_model()
    model = skill.models(network, data)["blob"]
    found: list[Any] = []
    for each in (network, _widened(skill, network)):
        graph = export(skill.models(each, data)["blob"])
        check_against_torch(graph, model)
        quantised = quantise(calibrate(graph, images, "minmax"), "cpu")
        found.append(OnnxEngine.from_file(quantised).run(images[0])["mask"])
    assert found[1] == pytest.approx(found[0], abs=1e-6)
