"""Batch normalisation for the time of a training: nothing of it is left, and nothing is lost."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edge_compression.normalising import Normalised
from edge_runtime.errors import SettingError


class _Small(nn.Module):
    """Two convolutions that are called by another road than `forward`, one without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.bare = nn.Conv2d(5, 5, 1, bias=False)
        self.last = nn.Conv2d(5, 2, 3)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.bare(torch.relu(self.first(x))))
        return result


@pytest.fixture
def network() -> _Small:
    torch.manual_seed(0)
    return _Small()


def _pictures(seed: int) -> torch.Tensor:
    return 3 + 2 * torch.randn((4, 3, 16, 16), generator=torch.Generator().manual_seed(seed))


def test_training_begins_with_what_the_network_computes(network: _Small) -> None:
    before = network.logits(_pictures(0))
    trained = Normalised(network, normalise=True)

    with trained.attached():
        begun = network.logits(_pictures(0))
        other = network.logits(_pictures(1))
    after = network.logits(_pictures(0))

    assert len(trained.norms) == 2
    torch.testing.assert_close(begun, before, rtol=1e-4, atol=1e-4)
    # It is the batch that is normalised: at another batch the two differ.
    assert (other - network.logits(_pictures(1))).abs().max() > 1e-2
    assert torch.equal(after, before)


def test_the_weights_compute_alone_what_the_network_in_training_computed(network: _Small) -> None:
    names = list(network.state_dict())
    trained = Normalised(network, normalise=True, excluded=[network.last])
    optimiser = torch.optim.SGD(trained.parameters(), lr=0.05)
    with trained.attached():
        for step in range(20):
            optimiser.zero_grad()
            (network.logits(_pictures(step)) - 1).square().mean().backward()
            optimiser.step()
        network.eval()
        expected = network.logits(_pictures(99))

    alone = copy.deepcopy(network)
    raw = alone.logits(_pictures(99))
    alone.load_state_dict(trained.weights())

    assert len(trained.norms) == 1
    assert list(trained.weights()) == names
    torch.testing.assert_close(alone.logits(_pictures(99)), expected, rtol=1e-4, atol=1e-4)
    assert (raw - expected).abs().max() > 1e-2


def test_without_it_the_network_is_as_it_was(network: _Small) -> None:
    trained = Normalised(network)

    assert list(trained.parameters()) == list(network.parameters())
    assert all(torch.equal(trained.weights()[k], v) for k, v in network.state_dict().items())


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(SettingError, match=r"no convolution with a bias.*leave `normalise` out"):
        Normalised(nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 3, 1, bias=False)), normalise=True)
