"""The folder of a command's results: it exists, can be written to, and belongs to one run."""

from __future__ import annotations

from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from edge_runtime.disk_space import enough_space
from edge_runtime.errors import SettingError
from edge_runtime.locking import alone_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def output_folder(output: Path, then: str = "run again") -> Iterator[None]:
    """Make the folder, and keep other runs out of it.

    `then`: what to do after a disk was full and has space again.

    Raises:
        SettingError: it cannot be written, another run is in it, or the disk is full.
    """
    called = f"--output {output}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Better now than when an hour's work is to be saved.
        TemporaryFile(dir=output).close()
    except OSError as error:
        message = f"{called} cannot be written ({error.strerror}): give another folder"
        raise SettingError(message) from error
    with alone_in(output, called), enough_space(called, then):
        yield
