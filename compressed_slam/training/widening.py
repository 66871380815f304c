"""Networks with more channels that compute the same (Net2WiderNet, Chen et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from compressed_slam.network import DroidNet
    from compressed_slam.widths import DroidConfig

    Block = tuple[int, int]
    """Channels that follow each other in a narrow and in a wide network."""

_LEAST = 0.5  # of what the parts are drawn from, the largest is 1


@torch.no_grad()
def widen(narrow: DroidNet, wide: DroidNet) -> None:
    """Give `wide` weights by which it computes what `narrow` does.

    Its channels are copies of the narrow one's. A layer that reads a channel shares the weight of
    the one out among the copies, in parts drawn from torch's random numbers, without which training
    could not tell the copies apart. Correlation reads without weights: there the copies themselves
    are less, so that products of features stay what they are.

    Raises:
        SettingError: a layer of `wide` has fewer channels than that of `narrow`.
    """
    ins, outs = _joined_blocks(narrow.config(), wide.config())
    large = dict(_convolutions(wide))
    for name, small in _convolutions(narrow):
        layer = large[name]
        reads = _copied(name, ins.get(name, [(small.in_channels, layer.in_channels)]))
        gives = _copied(name, outs.get(name, [(small.out_channels, layer.out_channels)]))
        # Every convolution has a bias.
        given, wanted = cast("tuple[Tensor, Tensor]", (small.bias, layer.bias))
        weight, bias = _shared_out(small.weight[gives], reads), given[gives]
        if name == "fnet.conv2":
            scale = gives.bincount()[gives].rsqrt()
            weight, bias = scale[:, None, None, None] * weight, scale * bias
        layer.weight.copy_(weight)
        wanted.copy_(bias)


def _convolutions(network: DroidNet) -> Iterator[tuple[str, nn.Conv2d]]:
    return (
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    )


def _joined_blocks(
    narrow: DroidConfig, wide: DroidConfig
) -> tuple[dict[str, list[Block]], dict[str, list[Block]]]:
    """Return what the inputs, and the outputs, of layers consist of where it is several blocks."""
    state = [(narrow.hidden, wide.hidden), (narrow.context, wide.context)]
    encoded = [
        (narrow.corr_encoder[1], wide.corr_encoder[1]),
        (narrow.flow_encoder[1], wide.flow_encoder[1]),
    ]
    gates = {f"update.gru.conv{gate}": [*state, *encoded] for gate in "zrq"}
    return gates, {"cnet.conv2": state}


def _copied(layer: str, blocks: Sequence[Block]) -> Tensor:
    """Return of which channel of the narrow network each one of the wide network is a copy."""
    sources, first = [], 0
    for narrow, wide in blocks:
        if wide < narrow:
            message = (
                f"network.widths: '{layer}' would have {wide} channels in place of {narrow}: give "
                "no fewer than the checkpoint has, or leave `checkpoint` out"
            )
            raise SettingError(message)
        sources.append(first + torch.arange(wide) % narrow)
        first += narrow
    return torch.cat(sources)


def _shared_out(weight: Tensor, sources: Tensor) -> Tensor:
    """Spread weights (outs, ins, rows, columns) over the copies of each input."""
    parts = torch.empty(len(weight), len(sources)).uniform_(_LEAST, 1)
    sums = torch.zeros(weight.shape[:2]).index_add(1, sources, parts)
    return weight[:, sources] * (parts / sums[:, sources])[:, :, None, None]
