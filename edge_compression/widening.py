"""Zero-padded channels up to the widths at which ONNX Runtime's eight-bit convolutions are fast."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
import torch_pruning as tp
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from edge_compression.console import say
from edge_compression.dependency import dependencies
from edge_compression.shallow import ENOUGH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from edge_compression.protocol import CompressibleSkill, ExportModel

_LEAST, _MULTIPLE = 16, 4


def widened(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel, name: str
) -> ExportModel | None:
    """Return a model with zero-padded channels, whose outputs are the same.

    The direct kernels for bytes want sixteen channels at least, and a multiple of four, on both
    sides of a convolution; others are unrolled first. On x86 with VNNI one of 15 channels takes
    twice as long as one of 16, and one of 17 a third longer than one of 20. Whatever a padded
    filter gives, the convolutions that read it multiply by zero.

    Channels that something else than a plain convolution, a batch norm or an operation by the
    element depends on stay as they are. There is no such model if it needs no channels,
    cannot be analysed, or would come to compute something else, such as one whose forward has a
    width written into it.
    """
    model = skill.models(network, data)[name]
    copied = copy.deepcopy(network).eval()
    wider = skill.models(copied, data)[name]
    try:
        if not _widen(wider, skill.unprunable(copied)):
            return None
        inputs = tuple(model.examples[0].values())
        with torch.no_grad():
            expected, found = (each.network.eval()(*inputs) for each in (model, wider))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    except Exception as error:  # noqa: BLE001 - whatever comes of analysing a strange network
        reason = next(iter(str(error).splitlines()), "no reason given")
        say(f"without zero-padded channels ({type(error).__name__}: {reason})")
        return None
    return wider


def _widen(wider: ExportModel, unprunable: Sequence[nn.Module]) -> bool:
    """Pad the model's channels; tell whether any had to be."""
    changed = False
    excluded = [part for module in unprunable for part in module.modules()]
    graph, groups = dependencies(wider.layers or wider, excluded)
    for group in groups:
        channels = len(group[0].idxs)
        wide = max(_LEAST, -(-channels // _MULTIPLE) * _MULTIPLE)
        if (
            channels < ENOUGH
            or wide == channels
            or not all(_is_plain(item, channels) for item in group)
        ):
            continue
        changed = True
        for item in group:
            module = item.dep.target.module
            if isinstance(module, _BatchNorm):
                module.num_features = wide
                _fill(module, 0, wide)
            elif isinstance(module, _ConvNd):
                if graph.is_out_channel_pruning_fn(item.dep.handler):
                    module.out_channels = wide
                    _fill(module, 0, wide)
                else:
                    module.in_channels = wide
                    _fill(module, 1, wide)
    return changed


def _is_plain(item: Any, channels: int) -> bool:  # noqa: ANN401 - torch_pruning has no types
    """Tell whether padded channels behind the others change nothing in this part of a group."""
    module = item.dep.target.module
    if list(item.idxs) != list(range(channels)):
        return False
    if isinstance(module, _ConvNd):
        return module.groups == 1 and not module.transposed
    return tp.ops.module2type(module) in {tp.ops.OPTYPE.BN, tp.ops.OPTYPE.ELEMENTWISE}


def _fill(module: nn.Module, axis: int, length: int) -> None:
    """Put zeros behind all of the module's tensors that have the axis."""
    for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers()]:
        if tensor.ndim > axis:
            behind = [0, 0] * (tensor.ndim - axis - 1) + [0, length - tensor.shape[axis]]
            filled = nn.functional.pad(tensor.detach(), behind)
            learnt = isinstance(tensor, nn.Parameter)
            setattr(module, name, nn.Parameter(filled) if learnt else filled)
