"""Checkpoints: a network's description and its weights in one file, loaded without running code."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import torch

from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_runtime.weights import NOT_FINITE, weight_faults

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from edge_compression.protocol import CompressibleSkill


def save_checkpoint(
    path: Path,
    skill: CompressibleSkill,
    network: nn.Module,
    *,
    state: Mapping[str, Any] | None = None,
    **more: object,
) -> None:
    """Write `{"skill", "network": its description, "state": its weights}`, whole or not at all.

    `state` are other weights than the network's own; `more` are further entries, tensors and plain
    values, which loading a network passes over.
    """
    buffer = io.BytesIO()
    checkpoint = {
        **more,
        "skill": skill.name,
        "network": skill.network_config(network),
        "state": network.state_dict() if state is None else state,
    }
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as plain values and tensors; a training's state file is one, too.

    Raises:
        SettingError: no such file, or what it holds is no checkpoint. Pickled code is never run.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = (
            f"checkpoint '{path}' cannot be read ({error.strerror}): make one with "
            "`compress train`, or correct the path in the recipe"
        )
        raise SettingError(message) from error
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        message = (
            f"checkpoint '{path}' holds more than weights, which could run code, or is no torch "
            'file: save {"network": description, "state": network.state_dict()} with torch.save'
        )
        raise SettingError(message) from error
    except Exception as error:  # a damaged file makes the reader stumble in many ways
        message = f"checkpoint '{path}' is damaged or no torch file: copy or make it again"
        raise SettingError(message) from error
    if (
        not isinstance(checkpoint, dict)
        or not isinstance(checkpoint.get("network"), dict)
        or not isinstance(checkpoint.get("state"), dict)
    ):
        message = (
            f"checkpoint '{path}' must hold a dict with the keys 'network' (the network's "
            "description, {} for the default) and 'state' (its state_dict)"
        )
        raise SettingError(message)
    return checkpoint


def load_checkpoint(path: Path, skill: CompressibleSkill) -> nn.Module:
    """Build the network that the checkpoint describes and give it the weights.

    Raises:
        SettingError: no checkpoint, one of another network, or weights that are not finite.
    """
    checkpoint = read_checkpoint(path)
    made_for = checkpoint.get("skill", skill.name)
    if made_for != skill.name:
        message = (
            f"checkpoint '{path}' is of the skill '{made_for}', the recipe of '{skill.name}': "
            "change one of the two"
        )
        raise SettingError(message)
    try:
        network = skill.build_network(checkpoint["network"])
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        reason = next(iter(str(error).splitlines()), "no reason given")
        message = f"checkpoint '{path}' describes no network of '{skill.name}': {reason}"
        raise SettingError(message) from error
    _check(path, skill, network.state_dict(), checkpoint["state"])
    network.load_state_dict(checkpoint["state"])
    return network.eval()


def _check(
    path: Path, skill: CompressibleSkill, ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> None:
    faults = weight_faults(ours, theirs)
    if not faults:
        return
    remedy = "give the checkpoint of this network, or its description"
    if faults.startswith(NOT_FINITE):  # and nothing else
        remedy = "train again with a lower learning_rate"
    message = f"checkpoint '{path}' does not hold weights for '{skill.name}'; {faults}; {remedy}"
    raise SettingError(message)
