"""The published weights of DROID-SLAM, loaded without running code."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from compressed_slam.network import DroidNet
from edge_runtime.errors import SettingError
from edge_runtime.weights import weight_faults

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

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
    stored = _read(path)
    network = DroidNet()
    ours = network.state_dict()
    expected = {_PREFIX + key: _as_stored(key, value) for key, value in ours.items()}
    if faults := weight_faults(expected, stored):
        message = (
            f"checkpoint '{path}' does not hold the weights of DROID-SLAM; {faults}; {_REMEDY}"
        )
        raise SettingError(message)
    network.load_state_dict(
        {key: stored[_PREFIX + key][: len(value)] for key, value in ours.items()}
    )
    return network.eval()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"checkpoint '{path}' cannot be read ({error.strerror}): {_REMEDY}"
        raise SettingError(message) from error
    damaged = f"checkpoint '{path}' is damaged or holds no weights by their names: {_REMEDY}"
    try:
        # torch.load passes over the sums that show whether a weight was damaged.
        wrong = zipfile.ZipFile(io.BytesIO(content)).testzip()
        stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        message = f"checkpoint '{path}' holds more than weights, which could run code: {_REMEDY}"
        raise SettingError(message) from error
    except Exception as error:  # whatever unpacking makes of wrong bytes
        raise SettingError(damaged) from error
    if wrong or not isinstance(stored, dict):
        raise SettingError(damaged)
    return stored


def _as_stored(key: str, value: Tensor) -> Tensor:
    return value.new_empty(_HEAD_CHANNELS, *value.shape[1:]) if key.startswith(_HEADS) else value
