"""Batch normalisation (Ioffe and Szegedy 2015) that is there only while a network trains.

A convolution that is followed by it bears several times the learning rate, which small networks
gain most from; afterwards it is but another scale and offset of each filter. So it stands behind
the convolutions for the time of a training and is then folded into their weights: names, layers and
cost of the network stay what they were.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

_MOMENTUM = 0.02  # of the running statistics, which small batches would make restless


class Normalised(nn.Module):
    """A network in training, with batch norms behind its convolutions for that time."""

    def __init__(
        self, network: nn.Module, *, normalise: bool = False, excluded: Sequence[nn.Module] = ()
    ) -> None:
        """Put batch normalisation, if wanted, behind every convolution with a bias to take it in.

        With the first batch the normalisation takes on its statistics, undone by its own scale and
        offset: the network goes on from what it computes.

        Args:
            network: is trained in place.
            normalise: whether there is to be batch normalisation.
            excluded: layers that nothing is put behind, such as the output's.

        Raises:
            SettingError: no layer can be normalised.
        """
        super().__init__()
        self.network = network
        self._layers = {
            name: layer
            for name, layer in network.named_modules()
            if normalise
            and isinstance(layer, nn.Conv2d)
            and layer.bias is not None
            and layer not in excluded
        }
        if normalise and not self._layers:
            message = (
                "normalise: the network has no convolution with a bias to fold batch normalisation "
                "into: leave `normalise` out"
            )
            raise SettingError(message)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(layer.out_channels, momentum=_MOMENTUM)
            for layer in self._layers.values()
        )

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let the network itself, however it is called, compute with its batch norms."""
        hooks = [
            layer.register_forward_hook(_behind(cast("nn.BatchNorm2d", norm)))
            for layer, norm in zip(self._layers.values(), self.norms, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def weights(self) -> dict[str, Tensor]:
        """Return the network's `state_dict` with the batch norms folded into it."""
        weights = dict(self.network.state_dict())
        for name, norm in zip(self._layers, self.norms, strict=True):
            norm = cast("nn.BatchNorm2d", norm)
            weight, bias = fuse_conv_bn_weights(
                weights[f"{name}.weight"],
                weights[f"{name}.bias"],
                cast("Tensor", norm.running_mean),
                cast("Tensor", norm.running_var),
                norm.eps,
                norm.weight,
                norm.bias,
            )
            weights[f"{name}.weight"], weights[f"{name}.bias"] = weight.detach(), bias.detach()
        return weights


def _behind(norm: nn.BatchNorm2d) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def normalise(layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:  # noqa: ANN401
        norm.train(layer.training)
        if layer.training and norm.num_batches_tracked == 0:
            _begin(norm, output)
        result: Tensor = norm(output)
        return result

    return normalise


@torch.no_grad()
def _begin(norm: nn.BatchNorm2d, output: Tensor) -> None:
    variance, mean = torch.var_mean(output.float(), (0, 2, 3), correction=0)
    cast("Tensor", norm.running_mean).copy_(mean)
    cast("Tensor", norm.running_var).copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)
