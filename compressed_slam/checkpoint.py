"""The published weights of DROID-SLAM, loaded without running code."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import torch

from compressed_slam.network import DroidNet
from edge_runtime.errors import SettingError
from edge_runtime.weights import find_weights, match_names, opened, weight_faults
from edge_runtime.weights_file import read_weights_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_LOG = logging.getLogger(__name__)
_PREFIX = "module."
_HEADS = ("update.delta.2.", "update.weight.2.")
_HEAD_CHANNELS = 3  # as stored; the last is not used
_REMEDY = "give droid.pth as the authors of DROID-SLAM publish it"


def load_droid_checkpoint(path: Path) -> DroidNet:
    """Make the published network from the published file, ready for inference on the CPU.

    Raises:
        SettingError: no such file, one that is damaged or holds something else, or weights that
            are not finite. Pickled code is never run.
    """
    load = partial(torch.load, map_location="cpu", weights_only=True)
    where, stored = find_weights(read_weights_file(path, load, _REMEDY))
    if stored is None:
        found = f"several sets of weights ({where})" if where else "no weights by their names"
        message = f"checkpoint '{path}' holds {found}: {_REMEDY}"
        raise SettingError(message)
    network = DroidNet()
    ours = network.state_dict()
    expected = {_PREFIX + key: _as_stored(key, value) for key, value in ours.items()}
    matched = match_names(stored, expected)
    if faults := weight_faults(expected, matched):
        message = (
            f"checkpoint '{path}' does not hold the weights of DROID-SLAM; {faults}; {_REMEDY}"
        )
        raise SettingError(message)
    if said := opened(where, stored, matched):
        _LOG.warning("checkpoint '%s': %s", path, said)
    network.load_state_dict(
        {key: matched[_PREFIX + key][: len(value)] for key, value in ours.items()}
    )
    return network.eval()


def _as_stored(key: str, value: Tensor) -> Tensor:
    return value.new_empty(_HEAD_CHANNELS, *value.shape[1:]) if key.startswith(_HEADS) else value
