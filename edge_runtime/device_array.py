"""Tensors that stay where an engine computes, from one run to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DeviceArray(Protocol):
    """A tensor on the device of the engine that made it, which takes it without a copy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size."""

    @property
    def dtype(self) -> Any:  # noqa: ANN401 - NumPy's, or its name
        """Of its numbers."""

    def numpy(self) -> NDArray[Any]:
        """Return the numbers; on the processor that is no copy."""


Tensor: TypeAlias = "NDArray[Any] | DeviceArray"
"""What goes into an engine."""


def on_processor(tensor: Tensor) -> NDArray[Any]:
    """Return an array, copied from its device if it is on one."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()
