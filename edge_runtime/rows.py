"""Text files of numbers, line by line: what is wrong is named with its file, line and value."""

from __future__ import annotations

import codecs
import math
import re
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
_NO_LENGTH = 1e-6
# As programs write a number that is none; the forms with # are those of Microsoft's C library.
_NO_NUMBER = re.compile(
    r"[+-]?(inf(inity)?|nan(\([\w]*\))?|1\.#(inf|ind|[qs]nan)\d*)", re.IGNORECASE
)
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


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
        value = self.number_or_nan(column)
        if math.isnan(value):
            self.refuse(f"{self.words[column]!r} is no finite number")
        return value

    def number_or_nan(self, column: int) -> float:
        """One word; NaN where it is how programs write infinity or no number (nan, -1.#IND).

        Raises:
            SettingError: it is something else.
        """
        word = self.words[column]
        if _NO_NUMBER.fullmatch(word):
            return math.nan
        try:
            value = float(word)
        except ValueError:
            value = math.inf
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


def read_text(path: Path, content: str) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        content: what it should hold, for the message.

    Raises:
        SettingError: the file cannot be read, or is in another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"'{path}' cannot be read ({error.strerror}): it should hold {content}"
        raise SettingError(message) from None
    # Digits in UTF-16 and UTF-32 are half zeros or more, also where no mark says so.
    if data.startswith(_WIDE_MARKS) or data.count(0) * 3 > len(data):
        message = (
            f"'{path}' is text in UTF-16 or UTF-32: save it as UTF-8; it should hold {content}"
        )
        raise SettingError(message)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        message = f"'{path}' cannot be read (it is no text in UTF-8): it should hold {content}"
        raise SettingError(message) from None


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
    lines = read_text(path, f"lines '{form}'").splitlines()
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
    """Read [tx ty tz qx qy qz qw], (N, 7); NaN where the pose is lost.

    Trackers that lose the camera go on writing: nan, inf, or a quaternion of zeros.

    Args:
        rows: of a file with poses.
        columns: where each of the seven stands.

    Raises:
        SettingError: one is no number, or a quaternion is not about as long as 1.
    """
    poses = np.array([[row.number_or_nan(column) for column in columns] for row in rows])
    lengths = np.linalg.norm(poses[:, 3:], axis=1)
    poses[np.isnan(poses).any(axis=1) | (lengths < _NO_LENGTH)] = np.nan
    wrong = np.flatnonzero(np.abs(lengths - 1) > _LENGTH_TOLERANCE)
    wrong = wrong[~np.isnan(poses[wrong, 0])]
    if wrong.size:
        index = int(wrong[0])
        rows[index].refuse(
            f"the quaternion x y z w {poses[index, 3:].tolist()} has the length "
            f"{lengths[index]:.3g}: that of a rotation is 1"
        )
    return poses
