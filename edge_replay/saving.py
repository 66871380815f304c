"""What a node leaves behind at the end of a run, in the folder that it was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_replay.node_process import NodeError
from edge_replay.protocol import SavedRun
from edge_runtime.errors import one_line
from edge_runtime.folders import expand_user

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_replay.link import Link
    from edge_replay.playback import Pass
    from edge_replay.protocol import Saving
    from edge_runtime.interface import Service


def saving_folder(saving: Saving, parameters: Mapping[str, str], output: Path) -> Path:
    """Return the folder that a node saves in, absolute: the user's, else one in the output."""
    given = parameters.get(saving.parameter)
    return (expand_user(given) if given else output / saving.folder).absolute()


def save(service: Service, link: Link, played: Pass, folder: Path) -> SavedRun | str:
    """Have the node save in `folder`, which it was told; return why it did not in one line."""
    try:
        link.call(service)
    except NodeError as error:
        return one_line(error)
    return SavedRun(folder, {sent.stamp: sent.recorded_stamp for sent in played.sent})
