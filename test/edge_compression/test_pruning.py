"""Which filters go, and that the network still is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from edge_compression import measure
from edge_compression.job import compressible_skill
from edge_compression.pruning import prune
from edge_compression.recipe import PruneSettings
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from edge_compression.protocol import CompressibleSkill


@pytest.fixture
def skill() -> CompressibleSkill:
    return compressible_skill("blob")


@pytest.fixture
def network(skill: CompressibleSkill) -> nn.Module:
    torch.manual_seed(0)
    return skill.build_network({}).eval()


def test_filters_without_weights_go_and_nothing_changes(
    skill: CompressibleSkill, network: nn.Module
) -> None:
    silent = [1, 4, 7, 11]
    with torch.no_grad():
        for parameter in network.get_submodule("second").parameters():
            parameter[silent] = 0
    image = torch.rand(2, 1, 16, 16)
    # 4 of the 12 filters of `second`, of the 39 in the network
    pruned, layers = prune(
        skill, network, skill.data_model(), PruneSettings(rate=4 / 39, of="filters")
    )

    assert {layer.layer: layer.after for layer in layers}["second"] == 8
    assert sum(layer.before - layer.after for layer in layers) == 4
    with torch.no_grad():
        assert torch.allclose(pruned(image), network(image), atol=1e-6)
    assert len(network.state_dict()["second.weight"]) == 12


@pytest.mark.parametrize("of", ["parameters", "macs", "filters"])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_the_rate_is_met_and_the_network_can_be_built_again(
    skill: CompressibleSkill, network: nn.Module, of: str, rate: float
) -> None:
    pruned, layers = prune(
        skill, network, skill.data_model(), PruneSettings.model_validate({"rate": rate, "of": of})
    )

    inputs = skill.example_inputs(skill.data_model())
    lost = {
        "parameters": 1 - measure.parameters(pruned) / measure.parameters(network),
        "macs": 1 - measure.macs(pruned, inputs) / measure.macs(network, inputs),
        "filters": 1 - sum(x.after for x in layers) / sum(x.before for x in layers),
    }
    assert lost[of] == pytest.approx(rate, abs=0.05)
    again = skill.build_network(skill.network_config(pruned))
    again.load_state_dict(pruned.state_dict())


def test_layers_that_are_added_keep_the_same_filters(
    skill: CompressibleSkill, network: nn.Module
) -> None:
    _, layers = prune(skill, network, skill.data_model(), PruneSettings(rate=0.5))

    first, up = (next(x for x in layers if x.layer == name) for name in ("first", "up"))
    assert first.after == up.after < 8
    assert {first.tied_to, up.tied_to} == {"", first.layer if up.tied_to else up.layer}
    assert next(x for x in layers if x.layer == "head").after == 1


def test_multiples_are_kept(skill: CompressibleSkill, network: nn.Module) -> None:
    _, layers = prune(skill, network, skill.data_model(), PruneSettings(rate=0.5, multiple_of=4))

    assert all(x.after == x.before or x.after % 4 == 0 for x in layers)
    assert any(x.after < x.before for x in layers)


def test_a_network_that_may_not_be_pruned_is_explained(network: nn.Module) -> None:
    class Frozen(type(compressible_skill("blob"))):  # type: ignore[misc]
        def unprunable(self, network: nn.Module) -> list[nn.Module]:
            return list(network.children())

    with pytest.raises(SettingError, match="no layer of 'blob' can be pruned"):
        prune(Frozen(), network, Frozen().data_model(), PruneSettings(rate=0.5))


def test_macs_are_those_of_the_layers(skill: CompressibleSkill, network: nn.Module) -> None:
    fine, coarse = 16 * 16, 8 * 8
    by_hand = 9 * (8 * fine + 8 * 12 * coarse + 12 * 10 * coarse + 10 * 8 * fine) + 8 * fine

    assert measure.macs(network, skill.example_inputs(skill.data_model())) == by_hand
    assert measure.parameters(network) == sum(math.prod(p.shape) for p in network.parameters())
