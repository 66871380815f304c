"""The installed skills, found by entry point so that nobody below a skill imports it."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from edge_runtime.errors import SettingError
from edge_runtime.install_hints import missing_module

GROUP = "compressed_grasp.skills"


def skill_names() -> list[str]:
    """Return the names of all installed skills, sorted."""
    return sorted(_entries())


def load_skill(name: str) -> object:
    """Return a new instance of the class that an installed skill names in its entry point.

    Raises:
        SettingError: no such skill, or a package that it imports is not installed.

    """
    entry = _entries().get(name)
    if entry is None:
        installed = ", ".join(skill_names()) or "none"
        msg = (
            f"unknown skill {name!r}: installed are {installed}; another package adds one by an "
            f"entry point in the group {GROUP!r}"
        )
        raise SettingError(msg)
    try:
        skill: object = entry.load()()
    except ModuleNotFoundError as error:
        msg = f"skill {name!r}: {missing_module(error)}"
        raise SettingError(msg) from error
    return skill


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
