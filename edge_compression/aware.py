"""Training that feels what quantising will do: quantisation-aware training (Jacob et al. 2018).

Weights and inputs of convolutions and linear layers are rounded to eight bits on the way forward,
and the gradient passes as if they had not been. The network is not touched: its calls are caught on
their way into torch. So its weights keep their names, a training's state file stays a checkpoint,
and what was trained is exported and quantised like any other network.

NVIDIA's ModelOpt does this, too, but needs a setuptools that ROS's build tool cannot use, and a
dozen packages; torch's own `torch.ao.quantization` puts other modules, with other names of weights,
in the network's place. The operators used here belong to torch's core.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from edge_compression.export import torch_runs
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor, nn

    from edge_compression.protocol import Arrays, ExportModel

_LEVELS = 127  # of S8, symmetric, each side of zero

_CHANNEL_AXIS: dict[Any, int] = {
    torch.nn.functional.linear: 0,
    torch.conv1d: 0,
    torch.conv2d: 0,
    torch.conv3d: 0,
    torch.conv_transpose1d: 1,
    torch.conv_transpose2d: 1,
    torch.conv_transpose3d: 1,
}
"""The layers that are quantised: axis of the output channels in their weights."""


def input_peaks(
    network: nn.Module, models: Mapping[str, ExportModel], inputs: Mapping[str, Iterable[Arrays]]
) -> dict[str, float]:
    """Find how large the input of every convolution and linear layer gets.

    Args:
        network: is run in evaluation mode, and left in it.
        models: what of it is exported.
        inputs: of each model, such as those of the calibration.

    Returns:
        Largest magnitude by the name of the layer's weight.

    Raises:
        SettingError: none of the network's layers was met.
    """
    peaks: dict[str, float] = {}

    def note(name: str, values: Tensor, weight: Tensor, _axis: int) -> tuple[Tensor, Tensor]:
        peaks[name] = max(peaks.get(name, 0.0), values.detach().abs().max().item())
        return values, weight

    network.eval()
    with _Caught(network, note):
        for name, run in torch_runs(models).items():
            for each in inputs[name]:
                run(each)
    if not peaks:
        message = (
            "quantise.aware: the network has no convolution or linear layer to train for eight "
            "bits: leave `aware` out"
        )
        raise SettingError(message)
    return peaks


@contextmanager
def simulate(network: nn.Module, peaks: Mapping[str, float]) -> Iterator[None]:
    """Let the network compute as if it were quantised, in this thread, until the context ends.

    Weights are S8 per output channel, on a grid that follows them. Inputs are S8 per tensor,
    symmetric as for TensorRT, on a grid that stays: a training that is cut off goes on with the
    same. It is not the one that ships: ranges are measured anew on the trained network, which may
    have come to use less of the grid or, where it was clipped in training, more; and the
    processor's U8 grid is up to twice as fine.
    Layers without a peak, and sums and poolings between the layers, compute in float.

    Args:
        network: any, called in any way; layers are known by their weights.
        peaks: of `input_peaks`, taken before the training.
    """

    def rounded(name: str, values: Tensor, weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        if name not in peaks:
            return values, weight
        return _round_input(values, peaks[name]), _round_weight(weight, axis)

    with _Caught(network, rounded):
        yield


class _Caught(TorchFunctionMode):
    """Passes input and weight of the network's layers through a function, by the weight's name."""

    def __init__(
        self,
        network: nn.Module,
        change: Callable[[str, Tensor, Tensor, int], tuple[Tensor, Tensor]],
    ) -> None:
        super().__init__()
        # The parameters are kept, too, so that no other tensor can come to have their identity.
        self._names = {id(tensor): (name, tensor) for name, tensor in network.named_parameters()}
        self._change = change

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401 - torch's signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        axis = _CHANNEL_AXIS.get(func)
        if axis is None:
            return func(*args, **kwargs)
        values, weight, *rest = [
            *args,
            *(kwargs.pop(k) for k in ("input", "weight") if k in kwargs),
        ]
        known = self._names.get(id(weight))
        if known is not None:
            values, weight = self._change(known[0], values, weight, axis)
        return func(values, weight, *rest, **kwargs)


def _round_input(values: Tensor, peak: float) -> Tensor:
    # In single precision, because under autocast the grid would be rounded to bfloat16 first.
    scale = max(peak, torch.finfo(torch.float32).tiny) / _LEVELS
    return torch.fake_quantize_per_tensor_affine(values.float(), scale, 0, -_LEVELS, _LEVELS)


def _round_weight(weight: Tensor, axis: int) -> Tensor:
    others = [at for at in range(weight.dim()) if at != axis]
    scale = weight.detach().float().abs().amax(others).clamp_min(1e-12) / _LEVELS
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(
        weight.float(), scale, zero, axis, -_LEVELS, _LEVELS
    )
