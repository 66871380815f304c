"""What DROID-SLAM's networks compute, cut into graphs that do as little as they can at each call.

All of it is exact. A convolution of maps that are joined is a sum of convolutions, one for each of
the maps. The context of a source frame is the same at every step of all its edges, so its share of
the recurrent unit is computed by the encoder that makes it. The damping, which only the bundle
adjustment asks for, is a graph of its own.

States, correlation and what is added to gates have the channels last between the graphs: so
eight-bit convolutions compute them, and what lies between these needs no change of order.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name
from torch import nn

from compressed_slam.encoder import normalise
from compressed_slam.network import split
from compressed_slam.update_operator import LARGEST_MOTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from compressed_slam.network import DroidNet
    from compressed_slam.update_operator import ConvGRU, UpdateOperator


_GATES = ("convz", "convr")


class FeatureEncoder(nn.Module):
    """fnet behind the normalisation of its pictures."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self.fnet = droid.fnet

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 BGR (n, 3, H, W) to `fmap`, see `Features`."""
        fmap: Tensor = self.fnet(normalise(image))
        return fmap


class ContextEncoder(nn.Module):
    """cnet behind the normalisation of its pictures, and the context's share of the gates."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self.cnet = droid.cnet
        self.gru = droid.update.gru
        self.share = _Convolution(lambda: _context_share(droid.update))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map uint8 BGR (n, 3, H, W) to what `UpdateStep` reads of it.

        `net` (n, h, w, hidden), see `Features`; `gates` (n, h, w, 2 hidden) and `candidate`
        (n, h, w, hidden), what the context and all biases add to z and r, and to q, before their
        nonlinearities.
        """
        hidden = self.gru.convz.out_channels
        net, inp = split(self.cnet(normalise(image)), hidden)
        gates, candidate = _channels_last(self.share(inp)).split_with_sizes((2 * hidden, hidden), 3)
        return _channels_last(net), gates, candidate


class ContextLayers(nn.Module):
    """The layers of `ContextEncoder` that are cnet's, each called as it is."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self.cnet = droid.cnet

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 BGR (n, 3, H, W) to cnet's maps."""
        maps: Tensor = self.cnet(normalise(image))
        return maps


class UpdateStep(nn.Module):
    """One step of the update operator for every edge by itself, its context computed before."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        operator = droid.update
        self.corr_encoder, self.flow_encoder = operator.corr_encoder, operator.flow_encoder
        self.gru, self.delta, self.weight = operator.gru, operator.delta, operator.weight

        def share(part: str, *names: str) -> _Convolution:
            return _Convolution(partial(_cut, operator, part, *names))

        self.state_gates, self.state_candidate = share("state", *_GATES), share("state", "convq")
        self.seen_gates, self.seen_candidate = share("seen", *_GATES), share("seen", "convq")
        self.flow_gates, self.flow_candidate = share("flow", *_GATES), share("flow", "convq")
        self.everywhere = _Convolution(partial(_of_means, operator.gru))

    def forward(
        self, net: Tensor, gates: Tensor, candidate: Tensor, corr: Tensor, motion: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return `net` (E, h, w, hidden), and `delta` and `weight` as in `Update`.

        `net`, `gates` and `candidate` as `ContextEncoder` gives them; `corr` (E, h, w, 196) and
        `motion` (E, 4, h, w) see `UpdateOperator.forward`.
        """
        hidden = self.gru.convz.out_channels
        state = net
        net, gates, candidate = (_channels_first(maps) for maps in (state, gates, candidate))
        seen = self.corr_encoder(_channels_first(corr))
        flow = self.flow_encoder(motion.clamp(-LARGEST_MOTION, LARGEST_MOTION))
        means = (_channels_last(self.gru.w(net)).sigmoid() * state).mean((1, 2))
        of_gates, of_candidate = self.everywhere(means[..., None, None]).split_with_sizes(
            (2 * hidden, hidden), 1
        )
        # What eight bits can add up comes first; see `edge_compression.gates`.
        sums = self.seen_gates(seen) + self.flow_gates(flow) + self.state_gates(net)
        z, r = (sums + gates + of_gates).sigmoid().split_with_sizes((hidden, hidden), 1)
        sums = self.seen_candidate(seen) + self.flow_candidate(flow) + self.state_candidate(r * net)
        q = (sums + candidate + of_candidate).tanh()
        net = net + z * (q - net)
        return _channels_last(net), _head(self.delta, net), _head(self.weight, net)


class UpdateLayers(nn.Module):
    """The layers of `UpdateStep`, each called as it is."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self._operator = (droid.update,)
        for name, part in droid.update.named_children():
            if name != "agg":
                self.add_module(name, part)

    def forward(
        self, net: Tensor, inp: Tensor, corr: Tensor, motion: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `UpdateOperator.match`."""
        [operator] = self._operator
        return operator.match(net, inp, corr, motion)


class Damping(nn.Module):
    """`eta` of the frames, from the states of their edges."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        # Without its upmask the aggregation is no part of this module, only its other layers are.
        self._whole = (droid.update.agg,)
        for name, part in droid.update.agg.named_children():
            if name != "upmask":
                self.add_module(name, part)

    def forward(self, net: Tensor, means: Tensor) -> Tensor:
        """Return (K, h, w), see `Update`; `net` (E, h, w, hidden), `means`: see `source_means`."""
        [aggregation] = self._whole
        return aggregation.damping(_channels_first(net), means)


def _channels_last(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1)


def _channels_first(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)


class _Convolution(nn.Module):
    """A convolution whose weights, and bias if any, are made of those of other layers."""

    def __init__(self, parameters: Callable[[], tuple[Tensor, Tensor | None]]) -> None:
        super().__init__()
        self._made = parameters

    def forward(self, maps: Tensor) -> Tensor:
        weight, bias = self._made()
        return F.conv2d(maps, weight, bias, padding=weight.shape[2] // 2)


def _head(layers: nn.Sequential, net: Tensor) -> Tensor:
    """Compute one of the heads, its last convolution as a transposed one.

    With two filters that is a product with eighteen rows, which are added up; of two filters run
    times make sixteen, or copy the maps nine times.
    """
    last = cast("nn.Conv2d", layers[2])
    weight = last.weight.flip(2, 3).transpose(0, 1)
    maps = F.conv_transpose2d(layers[1](layers[0](net)), weight, last.bias, padding=1)
    for layer in list(layers)[3:]:
        maps = layer(maps)
    return maps


def _cut(operator: UpdateOperator, part: str, *names: str) -> tuple[Tensor, None]:
    """Return what convolutions of the recurrent unit do with one of the maps that they read."""
    gru = operator.gru
    seen, flow = (
        cast("nn.Conv2d", encoder[2]).out_channels
        for encoder in (operator.corr_encoder, operator.flow_encoder)
    )
    hidden, inputs = gru.convz.out_channels, gru.convz.in_channels
    context = inputs - hidden - seen - flow
    widths = {"state": hidden, "context": context, "seen": seen, "flow": flow}
    end = dict(zip(widths, accumulate(widths.values()), strict=True))[part]
    layers = [cast("nn.Conv2d", getattr(gru, name)) for name in names]
    return torch.cat([layer.weight[:, end - widths[part] : end] for layer in layers]), None


def _context_share(operator: UpdateOperator) -> tuple[Tensor, Tensor]:
    gru = operator.gru
    weight, _ = _cut(operator, "context", *_GATES, "convq")
    local = torch.cat([_bias(layer) for layer in (gru.convz, gru.convr, gru.convq)])
    everywhere = (gru.convz_glo, gru.convr_glo, gru.convq_glo)
    return weight, local + torch.cat([_bias(layer) for layer in everywhere])


def _of_means(gru: ConvGRU) -> tuple[Tensor, None]:
    return torch.cat([gru.convz_glo.weight, gru.convr_glo.weight, gru.convq_glo.weight]), None


def _bias(layer: nn.Conv2d) -> Tensor:
    return cast("Tensor", layer.bias)
