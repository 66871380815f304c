"""The published weights of DROID-SLAM, loaded without running code."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from compressed_slam.network import DroidNet
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

_PREFIX = "module."
_HEADS = ("update.delta.2.", "update.weight.2.")
_HEAD_CHANNELS = 3  # as stored; the last is not used
_LISTED = 6
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
    _check(path, {_PREFIX + key: _stored_shape(key, value) for key, value in ours.items()}, stored)
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


def _stored_shape(key: str, value: Tensor) -> tuple[int, ...]:
    shape = tuple(value.shape)
    return (_HEAD_CHANNELS, *shape[1:]) if key.startswith(_HEADS) else shape


def _check(path: Path, expected: Mapping[str, tuple[int, ...]], stored: Mapping[str, Any]) -> None:
    common = {key: stored[key] for key in expected if key in stored}
    faults = {
        "missing": [key for key in expected if key not in stored],
        "unexpected": [str(key) for key in stored if key not in expected],
        "mis-shaped": [
            f"{key} {_described(value)} instead of {expected[key]}"
            for key, value in common.items()
            if not _is_weight(value) or tuple(value.shape) != expected[key]
        ],
        "NaN or infinite": [
            key
            for key, value in common.items()
            if _is_weight(value) and not bool(value.isfinite().all())
        ],
    }
    found = [f"{fault}: {_some(keys)}" for fault, keys in faults.items() if keys]
    if found:
        message = (
            f"checkpoint '{path}' does not hold the weights of DROID-SLAM; {'; '.join(found)}; "
            f"{_REMEDY}"
        )
        raise SettingError(message)


def _is_weight(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _described(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    rest = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + rest
