"""Which filters go, how many, and that the network still is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from edge_compression import allocation, measure
from edge_compression.budgets import budgets
from edge_compression.dependency import Group, Member, prunable_groups, without
from edge_compression.evaluation import Evaluations
from edge_compression.job import compressible_skill
from edge_compression.protocol import ExportModel
from edge_compression.pruning import Pruned, describe_layers, prune
from edge_compression.recipe import PruneSettings
from edge_compression.saliency import saliencies
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from edge_compression.protocol import CompressibleSkill, SupervisedSkill

    Cut = Callable[..., Pruned]


@pytest.fixture
def skill() -> CompressibleSkill:
    return compressible_skill("blob")


@pytest.fixture
def network(skill: CompressibleSkill) -> nn.Module:
    torch.manual_seed(0)
    return skill.build_network({}).eval()


@pytest.fixture
def cut(skill: CompressibleSkill, network: nn.Module, tmp_path: Path) -> Cut:
    """Prune the network by settings; its budget is what they leave of it."""

    def cut(**settings: Any) -> Pruned:  # noqa: ANN401 - of several types
        wanted = PruneSettings(**settings)
        evaluations = Evaluations(skill, tmp_path / "evaluations")
        data = skill.data_model()
        full = measure.sizes(skill.models(network, data))
        keep = {name: int(full[name] * (1 - share)) for name, share in wanted.targets.items()}
        return prune(skill, network, data, wanted, keep=keep, evaluations=evaluations)

    return cut


def _lost(skill: CompressibleSkill, network: nn.Module, pruned: nn.Module) -> dict[str, float]:
    data = skill.data_model()
    before, after = (measure.sizes(skill.models(each, data)) for each in (network, pruned))
    return {name: 1 - after[name] / before[name] for name in before}


@pytest.mark.parametrize("saliency", ["l1", "taylor"])
def test_filters_without_weights_go_and_nothing_changes(
    skill: CompressibleSkill, network: nn.Module, cut: Cut, saliency: str
) -> None:
    silent = [1, 4, 7, 11]
    with torch.no_grad():
        for parameter in network.get_submodule("second").parameters():
            parameter[silent] = 0
    image = torch.rand(2, 1, 16, 16)
    # Four of `second`'s twelve filters, with 73 weights each and 90 that read them.
    share = 4 * (73 + 90) / measure.parameters(network)
    pruned = cut(parameters=share, allocation="ranked", saliency=saliency).network

    layers = describe_layers(skill, network, skill.data_model(), pruned)
    assert {layer.layer: layer.after for layer in layers}["second"] == 8
    assert sum(layer.before - layer.after for layer in layers) == 4
    with torch.no_grad():
        assert torch.allclose(pruned(image), network(image), atol=1e-6)
    assert len(network.state_dict()["second.weight"]) == 12


@pytest.mark.parametrize("allocation", ["uniform", "ranked", "sensitivity"])
@pytest.mark.parametrize("share", [0.2, 0.8])
def test_budgets_are_met_and_the_network_can_be_built_again(
    skill: CompressibleSkill, network: nn.Module, cut: Cut, allocation: str, share: float
) -> None:
    for targets in ({"macs": share}, {"macs": 0.5, "parameters": share}):
        pruned = cut(**targets, allocation=allocation).network

        lost = _lost(skill, network, pruned)
        assert all(lost[name] >= wanted for name, wanted in targets.items())
        # One filter of this network is up to 7 % of it; what the budget had room for came back.
        assert any(lost[name] < wanted + 0.07 for name, wanted in targets.items())
        again = skill.build_network(skill.network_config(pruned))
        again.load_state_dict(pruned.state_dict())


@pytest.mark.parametrize(("share", "multiple_of"), [(0.4, 1), (0.4, 4), (0.985, 4)])
def test_a_plan_uses_its_budget(share: float, multiple_of: int) -> None:
    skill = compressible_skill("blob")
    network = skill.build_network({"first": 90, "second": 122, "between": 101})
    data = skill.data_model()
    groups = prunable_groups(skill, network, data)
    full = measure.sizes(skill.models(network, data))["macs"]
    most = int(share * full)

    def left(plan: dict[str, int]) -> int:
        goes = {group: range(count) for group, count in plan.items()}
        return measure.sizes(skill.models(without(skill, network, data, goes), data))["macs"]

    plan = allocation.solve(
        skill,
        network,
        data,
        groups,
        [allocation.uniform(groups)],
        keep={"macs": most},
        multiple_of=multiple_of,
    )

    assert left(plan) <= most
    if multiple_of == 1:
        assert left(plan) > most - 0.005 * full
    for group in groups:
        stay = group.filters - plan[group.name]
        assert stay % multiple_of == 0 or stay == group.filters
        back = min(plan[group.name], multiple_of)
        assert not back or left({**plan, group.name: plan[group.name] - back}) > most


@pytest.mark.parametrize(("filters", "said"), [(8, True), (90, False)])
def test_a_budget_that_is_missed_is_told(
    skill: CompressibleSkill,
    tmp_path: Path,
    filters: int,
    said: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
) -> None:
    network = skill.build_network(dict.fromkeys(["first", "second", "between"], filters))
    keep = {"parameters": int(0.7 * measure.parameters(network))}
    settings = PruneSettings(parameters=0.3, allocation="uniform")

    evaluations = Evaluations(skill, tmp_path / "evaluations")
    prune(skill, network, skill.data_model(), settings, keep=keep, evaluations=evaluations)

    assert ("of the parameters more than asked for are pruned" in capsys.readouterr().out) == said


def test_uniform_pruning_takes_the_same_of_every_group(cut: Cut) -> None:
    rates = cut(macs=0.5, allocation="uniform").rates.values()

    # The budget has room for a filter or two that come back, of 8 at the least in a group.
    assert min(rates) > 0
    assert max(rates) - min(rates) <= 2 / 8


def test_layers_that_matter_keep_more(
    skill: CompressibleSkill, network: nn.Module, cut: Cut
) -> None:
    # Half of `between` is of no use: nothing is lost when it goes.
    with torch.no_grad():
        for parameter in network.get_submodule("between").parameters():
            parameter[5:] = 0
    _train(skill, network, frozen=("between.weight", "between.bias"))

    pruned = cut(parameters=0.3, trial_rates=[0.5])

    assert pruned.sensitivity is not None
    shares = {group.group: group.sensitivity["l1"] for group in pruned.sensitivity.groups}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["between"] == min(shares.values())
    assert pruned.rates["between"] == max(pruned.rates.values())


def test_taylor_finds_the_filter_that_the_loss_needs(
    skill: CompressibleSkill, network: nn.Module
) -> None:
    data = skill.data_model()
    with torch.no_grad():
        network.get_submodule("second").weight[3] *= 100  # type: ignore[operator, union-attr]
        network.get_submodule("between").weight[:, 3] = 0  # type: ignore[operator]
    groups = prunable_groups(skill, network, data)

    scores = {
        method: saliencies(method, skill, network, data, groups)["second"]
        for method in ("l1", "taylor")
    }

    assert int(scores["l1"].argmax()) == 3
    assert int(scores["taylor"].argmin()) == 3


def test_layers_that_are_added_keep_the_same_filters(
    skill: CompressibleSkill, network: nn.Module, cut: Cut
) -> None:
    pruned = cut(parameters=0.5, allocation="uniform").network
    layers = describe_layers(skill, network, skill.data_model(), pruned)

    first, up = (next(x for x in layers if x.layer == name) for name in ("first", "up"))
    assert first.after == up.after < 8
    assert {first.tied_to, up.tied_to} == {"", first.layer if up.tied_to else up.layer}
    assert next(x for x in layers if x.layer == "head").after == 1


def test_multiples_are_kept(skill: CompressibleSkill, network: nn.Module, cut: Cut) -> None:
    pruned = cut(parameters=0.5, allocation="uniform", multiple_of=4).network
    layers = describe_layers(skill, network, skill.data_model(), pruned)

    assert all(x.after == x.before or x.after % 4 == 0 for x in layers)
    assert any(x.after < x.before for x in layers)


def test_trials_are_noted_and_not_repeated(cut: Cut, tmp_path: Path) -> None:
    first = cut(parameters=0.5, trial_rates=[0.5])
    # Metrics that no trial can have: they come back if they are read.
    for file in (tmp_path / "evaluations").iterdir():
        file.write_text('{"pixels": 1.5}')

    again = cut(parameters=0.5, trial_rates=[0.5])

    assert first.sensitivity is not None
    assert again.sensitivity is not None
    assert again.sensitivity.accuracy == 1.5 > first.sensitivity.accuracy


def test_too_much_is_refused_with_what_can_be_had(cut: Cut) -> None:
    with pytest.raises(SettingError, match=r"the network loses 0\.9\d+ of the macs; lower"):
        cut(macs=0.999, allocation="uniform")


def test_a_network_that_may_not_be_pruned_is_explained(network: nn.Module) -> None:
    class Frozen(type(compressible_skill("blob"))):  # type: ignore[misc]
        def unprunable(self, network: nn.Module) -> list[nn.Module]:
            return list(network.children())

    with pytest.raises(SettingError, match="no layer of 'blob' can be pruned"):
        prunable_groups(Frozen(), network, Frozen().data_model())


def test_a_layer_that_no_model_computes_may_not_lose_its_inputs() -> None:
    class Aside(type(compressible_skill("blob"))):  # type: ignore[misc]
        """Trains with one more layer, which is not exported."""

        def build_network(self, config: dict[str, int]) -> nn.Module:
            network: nn.Module = super().build_network(config)
            network.aside = nn.Conv2d(config.get("second", 12), 1, 1)
            return network

    skill = Aside()
    with pytest.raises(SettingError, match=r"'aside.weight' has the shape \(1, 12, 1, 1\)"):
        budgets(skill, skill.build_network({}), skill.data_model(), PruneSettings(macs=0.5))


class Grouped(nn.Module):
    """A plain convolution that a grouped layer reads, and another that none does."""

    def __init__(self, grouped: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.grouped = grouped
        self.plain = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.plain(self.grouped(self.first(image))))
        return result


@pytest.mark.parametrize(
    ("grouped", "prunable"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=2), {"plain"}),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), {"plain", "first"}),
        (nn.GroupNorm(4, 8), {"plain"}),
    ],
    ids=["grouped", "depthwise", "norm"],
)
def test_what_feeds_a_grouped_layer_is_not_offered(
    skill: CompressibleSkill, grouped: nn.Module, prunable: set[str]
) -> None:
    network = Grouped(grouped)
    data = skill.data_model()

    groups = prunable_groups(skill, network, data)

    assert {layer for group in groups for layer in group.layers} - {"grouped"} == prunable
    for group in groups:
        without(skill, network, data, {group.name: [0, 3, 4]})(torch.rand(1, 1, 16, 16))


class Joined(nn.Module):
    """Joins features of its own with two inputs, as a recurrent unit does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3, padding=1)
        self.gate = nn.Conv2d(3 + 2 + 6, 3, 3, padding=1)
        self.last = nn.Conv2d(3 + 2 + 6, 3, 3, padding=1)

    def forward(self, state: Tensor, context: Tensor, maps: Tensor) -> Tensor:
        features = self.first(maps).relu()
        gate = self.gate(torch.cat((state, context, features), 1)).sigmoid()
        return self.last(torch.cat((gate * state, context, features), 1))


class JoinedSkill:
    """What the dependency graph asks of a skill."""

    def models(self, network: nn.Module, data: object) -> dict[str, ExportModel]:
        del data
        channels = {"state": 3, "context": 2, "maps": 4}
        example = {name: torch.ones(1, count, 8, 8) for name, count in channels.items()}
        return {"joined": ExportModel(network, [], [], [example])}

    def unprunable(self, network: Joined) -> list[nn.Module]:
        return [network.last]


def test_what_is_joined_with_inputs_loses_its_own_channels() -> None:
    skill: Any = JoinedSkill()
    network = Joined().eval()
    data: Any = None

    groups = prunable_groups(skill, network, data)
    smaller: Any = without(skill, network, data, {"first": [1, 4]})

    # The gate goes with the state, which comes from outside.
    assert [group.name for group in groups] == ["first"]
    left = [0, 1, 2, 3, 4, 5, 7, 8, 10]
    for name in ("gate", "last"):
        weights = network.get_submodule(name).weight
        torch.testing.assert_close(smaller.get_submodule(name).weight, weights[:, left])


@pytest.mark.parametrize("filters", [3, 7, 48, 100])
def test_ranking_takes_as_many_filters_as_its_level_says(filters: int) -> None:
    group = Group((Member("layer", [], []),), filters)
    rates = allocation.ranked([group], {"layer": torch.rand(filters)})

    for count in range(filters + 1):
        assert rates(count / filters)["layer"] == count / filters


def test_macs_are_those_of_the_layers(skill: CompressibleSkill, network: nn.Module) -> None:
    fine, coarse = 16 * 16, 8 * 8
    by_hand = 9 * (8 * fine + 8 * 12 * coarse + 12 * 10 * coarse + 10 * 8 * fine) + 8 * fine

    assert measure.sizes(skill.models(network, skill.data_model()))["macs"] == by_hand
    assert measure.parameters(network) == sum(math.prod(p.shape) for p in network.parameters())


def _train(skill: SupervisedSkill, network: nn.Module, frozen: tuple[str, ...]) -> None:
    data = skill.data_model()
    free = [p for name, p in network.named_parameters() if name not in frozen]
    optimiser = torch.optim.Adam(free, lr=0.02)
    network.train()
    for _, batch in zip(range(60), skill.batches(data, 16, 0, 0), strict=False):
        optimiser.zero_grad()
        skill.loss(network, batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
