"""The networks of DROID-SLAM (Teed & Deng 2021), under the names of the published weights.

Every width is configuration, so that the published network, slimmer ones and pruned ones are the
same code; `DroidNet.config` reads the widths back off the layers, which pruning may have narrowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from compressed_slam.encoder import Encoder, normalise
from compressed_slam.update_operator import UpdateOperator, source_means
from compressed_slam.widths import DroidConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor


class Features(NamedTuple):
    """What the encoders make of n images; all (n, channels, h, w) at 1/8 of their resolution."""

    fmap: Tensor
    net: Tensor
    inp: Tensor


class DroidNet(nn.Module):
    """Encoders and update operator; the default has the 4,002,565 published parameters.

    `update(net, inp, corr, motion, ii)` is the operator itself: see `UpdateOperator.forward`.
    """

    def __init__(self, config: DroidConfig | None = None) -> None:
        """Make the network with PyTorch's first weights."""
        super().__init__()
        config = config or DroidConfig()
        self.fnet = Encoder(config.fnet, config.features, norm=True)
        self.cnet = Encoder(config.cnet, config.hidden + config.context, norm=False)
        self.update = UpdateOperator(config)

    def config(self) -> DroidConfig:
        """Read the widths off the layers, which pruning may have narrowed."""
        update = self.update
        hidden = update.gru.convz.out_channels
        return DroidConfig(
            fnet=self.fnet.widths(),
            cnet=self.cnet.widths(),
            features=self.fnet.conv2.out_channels,
            hidden=hidden,
            context=self.cnet.conv2.out_channels - hidden,
            corr_encoder=_widths(update.corr_encoder),
            flow_encoder=_widths(update.flow_encoder),
            delta=_widths(update.delta)[0],
            weight=_widths(update.weight)[0],
            agg=(update.agg.conv1.out_channels, update.agg.conv2.out_channels),
        )

    def extract_features(self, image_bgr: Tensor) -> Features:
        """Run both encoders on images; see `normalise`."""
        image = self._normalised(image_bgr)
        return Features(self.fnet(image), *self.split(self.cnet(image)))

    def feature_maps(self, image_bgr: Tensor) -> Tensor:
        """Run fnet alone, for `fmap`; see `normalise`."""
        fmap: Tensor = self.fnet(self._normalised(image_bgr))
        return fmap

    def context(self, image_bgr: Tensor) -> tuple[Tensor, Tensor]:
        """Run cnet alone, for `net` and `inp`; see `normalise`."""
        return self.split(self.cnet(self._normalised(image_bgr)))

    def initial(self, image_bgr: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `compressed_slam.droid_operator.Networks`."""
        net, inp = self.context(image_bgr)
        return net, (inp,)

    def match(
        self, net: Tensor, context: Sequence[Tensor], corr: Tensor, motion: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `compressed_slam.droid_operator.Networks`."""
        [inp] = context
        return self.update.match(net, inp, corr, motion)

    def damping(self, net: Tensor, ii: Tensor) -> Tensor:
        """See `compressed_slam.droid_operator.Networks`."""
        return self.update.agg.damping(net, source_means(ii, net.dtype))

    def split(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Take what cnet gives apart into `net` and `inp`."""
        return split(maps, self.update.gru.convz.out_channels)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.fnet.conv1.weight.device

    def _normalised(self, image_bgr: Tensor) -> Tensor:
        return normalise(image_bgr, self.fnet.conv1.weight.dtype)


def split(maps: Tensor, hidden: int) -> tuple[Tensor, Tensor]:
    """Take what cnet gives apart into `net` of so many channels, and `inp`."""
    # By sizes, not by slices: tools that prune follow the channels through a split.
    net, inp = maps.split_with_sizes((hidden, maps.shape[1] - hidden), 1)
    return net.tanh(), inp.relu()


def _widths(layers: nn.Sequential) -> tuple[int, int]:
    first, second = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    return first.out_channels, second.out_channels
