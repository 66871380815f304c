"""The update operator of DROID-SLAM (Teed & Deng 2021, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name
from torch import nn

from compressed_slam.correlation import CHANNELS
from compressed_slam.encoder import STRIDE

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.widths import DroidConfig

MOTION_CHANNELS = 4
LARGEST_MOTION = 64.0
_DAMPING_SCALE = 0.01
_NEIGHBOURS = 9


class Update(NamedTuple):
    """What one step of the update operator makes of E edges that start at K frames.

    Attributes:
        net: (E, hidden, h, w), the next state.
        delta: (E, 2, h, w), x y to add to where the pixels were seen, in cells.
        weight: (E, 2, h, w), confidence in x and y, 0..1.
        eta: (K, h, w), damping of the inverse depth of each source frame, frames ascending.
        upmask: (K, 576, h, w), logits for `upsample`.
    """

    net: Tensor
    delta: Tensor
    weight: Tensor
    eta: Tensor
    upmask: Tensor


class ConvGRU(nn.Module):
    """Gated recurrent unit whose gates also see a mean over the whole map."""

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        self.convz = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)
        self.convr = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)
        self.convq = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)
        self.w = nn.Conv2d(hidden, hidden, 1)
        self.convz_glo = nn.Conv2d(hidden, hidden, 1)
        self.convr_glo = nn.Conv2d(hidden, hidden, 1)
        self.convq_glo = nn.Conv2d(hidden, hidden, 1)

    def forward(self, net: Tensor, *inputs: Tensor) -> Tensor:
        """Return the next state, of `net`'s shape; `inputs` are (E, any, h, w)."""
        seen = torch.cat((net, *inputs), 1)
        context = (self.w(net).sigmoid() * net).mean((2, 3), keepdim=True)
        z = (self.convz(seen) + self.convz_glo(context)).sigmoid()
        r = (self.convr(seen) + self.convr_glo(context)).sigmoid()
        reset = torch.cat((r * net, *inputs), 1)
        q = (self.convq(reset) + self.convq_glo(context)).tanh()
        after: Tensor = (1 - z) * net + z * q
        return after


class GraphAggregation(nn.Module):
    """What belongs to a frame and not to an edge, from the mean over the frame's edges."""

    def __init__(self, hidden: int, widths: tuple[int, int]) -> None:
        super().__init__()
        first, second = widths
        self.conv1 = nn.Conv2d(hidden, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.eta = nn.Sequential(nn.Conv2d(second, 1, 3, padding=1), nn.Softplus())
        self.upmask = nn.Sequential(nn.Conv2d(second, _NEIGHBOURS * STRIDE**2, 1))

    def forward(self, net: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return `eta` and `upmask` of K frames from E states; `means`: see `source_means`."""
        x = self._aggregated(net, means)
        return self._damping(x), self.upmask(x)

    def damping(self, net: Tensor, means: Tensor) -> Tensor:
        """Return `eta` alone."""
        return self._damping(self._aggregated(net, means))

    def _aggregated(self, net: Tensor, means: Tensor) -> Tensor:
        x = F.relu(self.conv1(net))
        x = (means @ x.flatten(1)).reshape(means.shape[0], *x.shape[1:])
        return F.relu(self.conv2(x))

    def _damping(self, x: Tensor) -> Tensor:
        eta: Tensor = self.eta(x)[:, 0]
        return _DAMPING_SCALE * eta


class UpdateOperator(nn.Module):
    """Revises the flow of every edge by what correlation shows where the flow points to."""

    def __init__(self, config: DroidConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.corr_encoder = _two_layers(CHANNELS, config.corr_encoder, 1)
        self.flow_encoder = _two_layers(MOTION_CHANNELS, config.flow_encoder, 7)
        self.gru = ConvGRU(hidden, config.context + config.corr_encoder[1] + config.flow_encoder[1])
        self.delta = _head(hidden, config.delta)
        self.weight = _head(hidden, config.weight, nn.Sigmoid())
        self.agg = GraphAggregation(hidden, config.agg)

    def forward(self, net: Tensor, inp: Tensor, corr: Tensor, motion: Tensor, ii: Tensor) -> Update:
        """Do one step for E edges.

        Args:
            net: (E, hidden, h, w), the state, which `DroidNet.context` starts.
            inp: (E, context, h, w), context of the source frames.
            corr: (E, 196, h, w), see `compressed_slam.correlation`.
            motion: (E, 4, h, w), x y of the flow and of its residual against the projection, in
                cells; what is beyond +-64 counts as that.
            ii: (E,) int64, source frames.
        """
        return self.step(net, inp, corr, motion, source_means(ii, net.dtype))

    def step(self, net: Tensor, inp: Tensor, corr: Tensor, motion: Tensor, means: Tensor) -> Update:
        """Do one step with the edges grouped before, by `source_means`."""
        net, delta, weight = self.match(net, inp, corr, motion)
        return Update(net, delta, weight, *self.agg(net, means))

    def match(
        self, net: Tensor, inp: Tensor, corr: Tensor, motion: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Do what one step does for every edge by itself: return `net`, `delta` and `weight`."""
        seen = self.corr_encoder(corr)
        flow = self.flow_encoder(motion.clamp(-LARGEST_MOTION, LARGEST_MOTION))
        net = self.gru(net, inp, seen, flow)
        return net, self.delta(net), self.weight(net)


def source_means(ii: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the matrix (K, E) that takes the mean over the edges of each source frame, ascending.

    A product with it exports to every engine; adding at repeated indices is wrong or slow in most.
    """
    starts: Tensor = (torch.unique(ii)[:, None] == ii).to(dtype)
    return starts / starts.sum(1, keepdim=True)


def upsample(disps: Tensor, upmask: Tensor) -> Tensor:
    """Give inverse depth the image's resolution.

    Each pixel is a convex combination of the 3x3 cells around its own; outside the map lie zeros.

    Args:
        disps: (K, h, w).
        upmask: (K, 576, h, w), logits; cell first, then row and column of the pixel in its cell.

    Returns:
        (K, 8 h, 8 w).
    """
    count, height, width = disps.shape
    shares = upmask.view(count, _NEIGHBOURS, STRIDE, STRIDE, height, width).softmax(1)
    cells = F.unfold(disps[:, None], 3, padding=1).view(count, _NEIGHBOURS, height, width)
    fine = torch.einsum("knyxhw,knhw->khywx", shares, cells)
    return fine.reshape(count, STRIDE * height, STRIDE * width)


def _two_layers(ins: int, widths: tuple[int, int], kernel: int) -> nn.Sequential:
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(ins, first, kernel, padding=kernel // 2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
    )


def _head(hidden: int, inner: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(hidden, inner, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(inner, 2, 3, padding=1),
        *last,
    )
