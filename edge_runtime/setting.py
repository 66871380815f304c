"""A parameter as it is declared; nothing of ROS is needed to read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGES = {
    "start": "read only when the node starts",
    "configure": "read when the node is configured: clean it up before changing this",
    "always": "may be changed at any time",
}


@dataclass(frozen=True)
class Setting:
    """One parameter.

    `low` and `high` are inclusive and go together; `allowed` lists the values of a choice.
    `changes`: "start" is read-only, "configure" may be set while the node is unconfigured,
    "always" takes effect at once. `verify` raises a SettingError at values that the type and the
    range do not tell from others.
    """

    name: str
    default: bool | float | str
    description: str
    low: float = -math.inf
    high: float = math.inf
    allowed: tuple[str, ...] = ()
    changes: Literal["start", "configure", "always"] = "configure"
    verify: Callable[[Any], object] | None = None

    def check(self, value: object) -> Any:  # noqa: ANN401
        """Return the value in this parameter's type; an integer may stand for a float.

        Raises:
            SettingError: the wrong type, out of range, or not one of the choices.

        """
        wanted = type(self.default)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            msg = f"parameter {self.name!r} is {value!r}: it must be {self._allowed()}"
            raise SettingError(msg)
        outside = isinstance(value, (int, float)) and not self.low <= value <= self.high
        if outside or (self.allowed and value not in self.allowed):
            msg = f"parameter {self.name!r} is {value!r}: allowed are {self._allowed()}"
            raise SettingError(msg)
        if self.verify is not None:
            self.verify(value)
        return value

    @property
    def constraints(self) -> str:
        """What it takes, and when: "0 to 256; may be changed at any time"."""
        return f"{self._allowed()}; {CHANGES[self.changes]}"

    def _allowed(self) -> str:
        if self.allowed:
            return " or ".join(map(repr, self.allowed))
        if math.isfinite(self.low):
            return f"{self.low} to {self.high}"
        return {bool: "true or false", int: "an integer", float: "a number"}.get(
            type(self.default), "a text"
        )
