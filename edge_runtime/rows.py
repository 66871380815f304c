"""Text files of numbers, line by line: what is wrong is named with its file, line and value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_UNITS = {"s": 1_000_000_000, "ns": 1}
_LIMIT = 2**63
# Files round quaternions to four digits or more; beyond this the columns are others.
_LENGTH_TOLERANCE = 0.01


@dataclass(frozen=True)
class Row:
    """One line with something in it: its words, and where it stands."""

    path: Path
    line: int
    words: tuple[str, ...]

    def refuse(self, wrong: str) -> NoReturn:
        """Raise the SettingError; `wrong` names the value and what is allowed."""
        message = f"'{self.path}' line {self.line}: {wrong}"
        raise SettingError(message) from None

    def numbers(self) -> list[float]:
        """All words.

        Raises:
            SettingError: one is no finite number.
        """
        return [self.number(column) for column in range(len(self.words))]

    def number(self, column: int) -> float:
        """One word.

        Raises:
            SettingError: it is no finite number.
        """
        word = self.words[column]
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.refuse(f"{word!r} is no finite number")
        return value

    def stamp(self, unit: Literal["s", "ns"]) -> int:
        """The first word, a time, in ns.

        Raises:
            SettingError: it is no time.
        """
        # Not through float: a time since 1970 with nanoseconds has more digits than a float holds.
        try:
            value = round(Decimal(self.words[0]) * _UNITS[unit])
        except (ArithmeticError, ValueError):  # no number, infinite or huge, NaN
            value = _LIMIT
        if not -_LIMIT <= value < _LIMIT:
            self.refuse(f"{self.words[0]!r} is no time in {unit}")
        return value


def read_rows(path: Path, form: str, *, comma: bool = False, more: bool = False) -> list[Row]:
    """Read the lines that are neither empty nor begin with #; there is at least one.

    Args:
        path: the file.
        form: the names of its columns, for example "timestamp filename".
        comma: separates the columns, instead of spaces.
        more: whether columns may follow after those of `form`.

    Raises:
        SettingError: the file cannot be read, has no such lines, or one has other columns.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"'{path}' cannot be read ({reason}): it should hold lines '{form}'"
        raise SettingError(message) from None
    columns = len(form.split())
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = Row(path, number, tuple(map(str.strip, line.split("," if comma else None))))
        if len(row.words) < columns or (len(row.words) > columns and not more):
            wanted = f"{columns}{' or more' if more else ''}, '{form}'"
            row.refuse(f"{line.strip()!r} has {len(row.words)} values instead of {wanted}")
        rows.append(row)
    if not rows:
        message = f"'{path}' holds nothing: it should hold lines '{form}'"
        raise SettingError(message)
    return rows


def read_stamps(
    rows: Sequence[Row], unit: Literal["s", "ns"] = "s", *, repeats: bool = False
) -> NDArray[np.int64]:
    """Read the first column, (N,) ns, rising; with `repeats`, some may be equal.

    Raises:
        SettingError: one is no time, or is not after that of the line above.
    """
    stamps = np.array([row.stamp(unit) for row in rows], np.int64)
    wrong = np.flatnonzero(np.diff(stamps) < (0 if repeats else 1))
    if wrong.size:
        row = rows[int(wrong[0]) + 1]
        relation = "before" if repeats else "not after"
        row.refuse(f"time {row.words[0]} is {relation} that of the line above: sort them")
    return stamps


def read_poses(rows: Sequence[Row], columns: Sequence[int]) -> NDArray[np.float64]:
    """Read [tx ty tz qx qy qz qw], (N, 7).

    Args:
        rows: of a file with poses.
        columns: where each of the seven stands.

    Raises:
        SettingError: one is no number, or a quaternion is not about as long as 1.
    """
    poses = np.array([[row.number(column) for column in columns] for row in rows])
    lengths = np.linalg.norm(poses[:, 3:], axis=1)
    wrong = np.flatnonzero(np.abs(lengths - 1) > _LENGTH_TOLERANCE)
    if wrong.size:
        index = int(wrong[0])
        rows[index].refuse(
            f"the quaternion x y z w {poses[index, 3:].tolist()} has the length "
            f"{lengths[index]:.3g}: that of a rotation is 1"
        )
    return poses
