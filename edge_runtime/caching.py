"""The user's cache: what is costly to make and can be made again."""

from __future__ import annotations

import os
from pathlib import Path

from edge_runtime.errors import SettingError
from edge_runtime.folders import expand_user
from edge_runtime.share import PACKAGE

SHARD_FILE = "shard.json"
"""In every shard of a data set, beside its arrays: `set`, what the set is, and `samples`, a count.

A set is the folder KIND/DIGEST of the cache, a shard a folder in it, which a number names.
"""


def cache_directory() -> Path:
    """Where it is: $XDG_CACHE_HOME/compressed_grasp, else ~/.cache/compressed_grasp.

    Raises:
        SettingError: The user has no home, and no other place is named.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or expand_user("~/.cache")) / PACKAGE
    except SettingError as error:
        message = "no folder for caches is known: set XDG_CACHE_HOME, or HOME"
        raise SettingError(message) from error
