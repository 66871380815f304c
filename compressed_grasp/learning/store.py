"""Trials on disk: shards that are whole or not there, each determined by seed and number."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compressed_grasp.learning.trials import Proposer, Trials, join, make_trials
from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_runtime.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DIGEST = hashlib.sha256().digest_size
_FIELDS = ("heights", "grasps", "pushes", "after")


@dataclass(frozen=True)
class TrialStore:
    """A folder of shards. A shard that was cut off or damaged counts as missing.

    Attributes:
        folder: where they lie.
        seed: shard k is determined by it, k, and the proposer.
        scenes: of a shard.
        colored: whether shards that it makes hold colours, too.
    """

    folder: Path
    seed: int
    scenes: int = 10
    colored: bool = False

    def path(self, number: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"trials-{self.seed}-{number:05d}.npz"

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Return which shards are to be made."""
        return [number for number in numbers if not self._whole(number)]

    def make(self, number: int, propose: Proposer | None = None) -> None:
        """Make a shard: try grasps and pushes in some scenes."""
        rng = np.random.default_rng((self.seed, number))
        self.write(number, make_trials(rng, self.scenes, propose, colored=self.colored))

    def write(self, number: int, trials: Trials) -> None:
        """Write a shard: its SHA-256, then the arrays as NPZ."""
        buffer = io.BytesIO()
        arrays = {name: getattr(trials, name) for name in _FIELDS}
        if trials.colors is not None:
            arrays["colors"] = trials.colors
        np.savez_compressed(buffer, **arrays)
        content = buffer.getvalue()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(number), hashlib.sha256(content).digest() + content)

    def read(self, numbers: Sequence[int]) -> Trials:
        """Read shards.

        Raises:
            SettingError: One is missing or damaged.
        """
        return join([self._read(number) for number in numbers])

    def digest(self, numbers: Sequence[int]) -> str:
        """Identify the content of shards.

        Raises:
            SettingError: One is missing or damaged.
        """
        contents = [hashlib.sha256(self._require(number)).digest() for number in numbers]
        return hashlib.sha256(b"".join(contents)).hexdigest()

    def _read(self, number: int) -> Trials:
        with np.load(io.BytesIO(self._require(number)), allow_pickle=False) as arrays:
            return Trials(**arrays)

    def _require(self, number: int) -> bytes:
        content = self._content(number)
        if content is None:
            message = f"trials '{self.path(number)}' are missing or damaged; make them again"
            raise SettingError(message)
        return content

    def _whole(self, number: int) -> bool:
        return self._content(number) is not None

    def _content(self, number: int) -> bytes | None:
        try:
            stored = self.path(number).read_bytes()
        except OSError:
            return None
        content = stored[_DIGEST:]
        return content if hashlib.sha256(content).digest() == stored[:_DIGEST] else None


def make_missing(
    store: TrialStore,
    numbers: Sequence[int],
    processes: int | None = None,
    propose: Proposer | None = None,
) -> None:
    """Make the shards that are missing, in parallel; what was made before a crash stays."""
    import joblib

    missing = store.missing(numbers)
    if not missing:
        return
    made = joblib.Parallel(n_jobs=processes or os.cpu_count(), return_as="generator_unordered")(
        joblib.delayed(store.make)(number, propose) for number in missing
    )
    for _ in progress(
        made,
        total=len(numbers),
        initial=len(numbers) - len(missing),
        desc="trials",
        unit="shard",
    ):
        pass
