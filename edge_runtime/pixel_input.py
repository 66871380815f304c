"""Pictures as a network takes them: layout, colour order and normalisation by the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_runtime.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.bundle import TensorSpec

_CHANNELS = 3


class PixelInput:
    """Makes the input of one picture, as its `TensorSpec` says."""

    def __init__(self, spec: TensorSpec) -> None:
        """Read what an input is made of; scale, mean and std that are left out change nothing.

        Raises:
            BundleError: layout or colour order are missing, or mean and std are not of three
                channels.
        """
        self._swaps = spec.colour_order == "RGB"
        self._channels_last = spec.layout == "NHWC"
        self._scale = 1.0 if spec.scale is None else spec.scale
        mean, std = spec.mean or (0.0,) * _CHANNELS, spec.std or (1.0,) * _CHANNELS
        if (
            spec.layout not in {"NCHW", "NHWC"}
            or spec.colour_order is None
            or not len(mean) == len(std) == _CHANNELS
            or 0 in std
        ):
            message = (
                f"input {spec.name!r} (layout {spec.layout}, colour_order {spec.colour_order}, "
                f"mean {spec.mean}, std {spec.std}) is no picture: expected are NCHW or NHWC, RGB "
                "or BGR, and mean and std of three channels, std not 0; build the bundle again"
            )
            raise BundleError(message)
        self._mean = np.array(mean, np.float32).reshape(1, _CHANNELS, 1, 1)
        self._std = np.array(std, np.float32).reshape(1, _CHANNELS, 1, 1)

    def __call__(self, bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn (h, w, 3) uint8 BGR into (1, 3, h, w) or (1, h, w, 3) float32."""
        pixels: NDArray[Any] = cv2.dnn.blobFromImage(bgr, self._scale, swapRB=self._swaps)
        if self._mean.any():
            pixels -= self._mean
        if (self._std != 1).any():
            pixels /= self._std
        return pixels.transpose(0, 2, 3, 1).copy() if self._channels_last else pixels
