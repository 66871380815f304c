"""A bundle's engines in the place of the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compressed_slam.update_operator import source_means
from edge_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    Run = Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]

MODELS = ("fnet", "cnet", "update")


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
        self._fnet, self._cnet, self._update = (runs[name] for name in MODELS)

    def feature_maps(self, image_bgr: Tensor) -> Tensor:
        """See `DroidNet.feature_maps`."""
        return torch.from_numpy(self._fnet({"image": image_bgr.numpy()})["fmap"])

    def context(self, image_bgr: Tensor) -> tuple[Tensor, Tensor]:
        """See `DroidNet.context`."""
        found = self._cnet({"image": image_bgr.numpy()})
        return torch.from_numpy(found["net"]), torch.from_numpy(found["inp"])

    def update(
        self, net: Tensor, inp: Tensor, corr: Tensor, motion: Tensor, ii: Tensor
    ) -> tuple[Tensor, ...]:
        """See `UpdateOperator.forward`; without `upmask`."""
        inputs = {"net": net, "inp": inp, "corr": corr, "motion": motion, "means": source_means(ii)}
        found = self._update({name: tensor.numpy() for name, tensor in inputs.items()})
        names = ("next_net", "delta", "weight", "eta")
        return tuple(torch.from_numpy(found[name]) for name in names)
