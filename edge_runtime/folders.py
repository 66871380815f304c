"""Folders of the user who runs this: not every process has a home."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import SettingError


def expand_user(path: str | Path) -> Path:
    """Return the path with the home in place of a leading `~`.

    Raises:
        SettingError: nothing says where that home is, or this is no path.

    """
    if "\0" in str(path):
        msg = f"{str(path)!r} is no path: it has a character 0"
        raise SettingError(msg)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        msg = f"'{path}': no home is known for '{user}': set HOME, or give the path from / on"
        raise SettingError(msg) from error
