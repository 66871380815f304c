"""A bundle's engines in the place of the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compressed_slam.update_operator import source_means
from edge_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    Run = Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]

MODELS = ("fnet", "cnet", "update", "damping")


class EngineNetworks:
    """Engines as the `Networks` of a `DroidOperator`: tensors of the processor in and out."""

    device = torch.device("cpu")

    def __init__(self, runs: Mapping[str, Run]) -> None:
        """`runs`: `Engine.run` of each model.

        Raises:
            BundleError: one of `MODELS` is missing, or there is another.
        """
        if set(runs) != set(MODELS):
            message = (
                f"a bundle with the models {', '.join(runs)}: SLAM runs one with "
                f"{', '.join(MODELS)}; make it with `compress run config/recipes/slam.yaml`"
            )
            raise BundleError(message)
        self._fnet, self._cnet, self._update, self._damping = (runs[name] for name in MODELS)

    def feature_maps(self, image_bgr: Tensor) -> Tensor:
        """See `DroidNet.feature_maps`."""
        return torch.from_numpy(self._fnet({"image": image_bgr.numpy()})["fmap"])

    def initial(self, image_bgr: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the state that edges begin with, and the context's share of z and r, and of q."""
        found = self._cnet({"image": image_bgr.numpy()})
        net, gates, candidate = _tensors(found, "net", "gates", "candidate")
        return net, (gates, candidate)

    def match(
        self, net: Tensor, context: Sequence[Tensor], corr: Tensor, motion: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Networks.match`."""
        gates, candidate = context
        inputs = {
            "net": net,
            "gates": gates,
            "candidate": candidate,
            "corr": corr.permute(0, 2, 3, 1).contiguous(),
            "motion": motion,
        }
        found = self._update({name: tensor.numpy() for name, tensor in inputs.items()})
        net, delta, weight = _tensors(found, "next_net", "delta", "weight")
        return net, delta, weight

    def damping(self, net: Tensor, ii: Tensor) -> Tensor:
        """See `Networks.damping`."""
        found = self._damping({"net": net.numpy(), "means": source_means(ii).numpy()})
        return torch.from_numpy(found["eta"])


def _tensors(found: Mapping[str, NDArray[Any]], *names: str) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(found[name]) for name in names)
