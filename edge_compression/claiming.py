"""Folders that an interrupted command goes on from, and what they belong to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def claim(file: Path, identity: Mapping[str, Any], kind: str) -> None:
    """Make the file's folder and note in the file what it belongs to; JSON values by name.

    Raises:
        SettingError: it belongs to another one of the kind, such as "a training".
    """
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        write_whole(file, json.dumps(identity, indent=2))
        return
    before = json.loads(file.read_bytes())
    keys = sorted({*identity, *before})
    if changed := [key for key in keys if identity.get(key) != before.get(key)]:
        message = (
            f"'{file.parent}' belongs to {kind} with other {' and '.join(changed)}: "
            "give another --output, or start over with --restart"
        )
        raise SettingError(message)
