"""Checkpoints: a network's description and its weights in one file, loaded without running code.

torch.save writes a dict: "skill" (name), "network" (description, JSON values, for the skill's
`build_network`; {} is the default network) and "state" (the network's state_dict). A training's
state file has "training", "optimiser", "identity", "step", "ended", "best", "curve", "evaluations"
and "seconds" as well. A bare state_dict, also inside `state_dict` or `model` and with prefixes such
as `module.` in its names, is read as the weights of the default network.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from edge_compression.console import note
from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_runtime.weights import (
    NOT_FINITE,
    UNUSABLE,
    find_weights,
    match_names,
    opened,
    weight_faults,
)
from edge_runtime.weights_file import read_weights_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from edge_compression.protocol import CompressibleSkill

_MAKE = "make one with `compress train`"
_REMEDIES = {
    NOT_FINITE: "train again with a lower learning_rate",
    UNUSABLE: "save dense floating-point values, as .to_dense(), .dequantize() or .float() gives",
}


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

    A file without a description of the network gives {"network": {}, "state": its weights,
    "opened": the keys under which they lay}.

    Raises:
        SettingError: no such file, or what it holds is no checkpoint. Pickled code is never run.
    """
    load = partial(torch.load, map_location="cpu", weights_only=True)
    checkpoint = read_weights_file(path, load, _MAKE)
    if (
        isinstance(checkpoint, dict)
        and isinstance(checkpoint.get("network"), dict)
        and isinstance(checkpoint.get("state"), dict)
    ):
        return checkpoint
    where, weights = find_weights(checkpoint)
    if weights is None:
        found = f"holds several sets of weights ({where})" if where else "holds no weights by name"
        message = (
            f"checkpoint '{path}' {found}: save network.state_dict() alone with torch.save, or "
            f"{_MAKE}"
        )
        raise SettingError(message)
    return {"network": {}, "state": weights, "opened": where}


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
    except Exception as error:  # a skill's own, on values of which it knows nothing
        reason = next(iter(str(error).splitlines()), "no reason given")
        message = f"checkpoint '{path}' describes no network of '{skill.name}': {reason}"
        raise SettingError(message) from error
    expected, stored = network.state_dict(), checkpoint["state"]
    matched = match_names(stored, expected)
    _check(path, skill, expected, matched)
    if said := opened(checkpoint.get("opened", ""), stored, matched):
        note(f"checkpoint '{path}': {said}")
    network.load_state_dict(matched)
    return network.eval()


def _check(
    path: Path, skill: CompressibleSkill, ours: Mapping[str, Any], theirs: Mapping[Any, Any]
) -> None:
    faults = weight_faults(ours, theirs)
    if not faults:
        return
    usual = "give the checkpoint of this network, or its description"
    # The first fault is the worst, and each of these two comes after all that are worse.
    remedy = _REMEDIES.get(faults.partition(":")[0], usual)
    message = f"checkpoint '{path}' does not hold weights for '{skill.name}'; {faults}; {remedy}"
    raise SettingError(message)
