"""Where the files that come with the package (config, launch, models) are installed."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import SettingError

PACKAGE = "compressed_grasp"


def shipped_bundle(skill: str) -> Path:
    """Return where a skill's demo bundle is installed; nodes serve it when given no other.

    Raises:
        SettingError: the package's files are not installed.

    """
    return share_directory() / "models" / skill / "bundle"


def share_directory() -> Path:
    """Return the directory that holds config/, launch/ and models/.

    In a source tree (editable install) that is the repository itself, so that edits take effect;
    else `share/compressed_grasp` of the prefix this code is installed in, which is the same place
    under pip (a virtual environment, --user, /usr/local) and under colcon.

    Raises:
        SettingError: the files are not installed.

    """
    here = Path(__file__).resolve()
    source = here.parents[1]
    if (source / "package.xml").is_file():
        return source
    for prefix in here.parents:
        share = prefix / "share" / PACKAGE
        if (share / "package.xml").is_file():
            return share
    msg = f"share/{PACKAGE} was not found above {here.parent}: install {PACKAGE} with pip or colcon"
    raise SettingError(msg)
