"""Parameters of a node: declared with all that is known about them, anything else is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.parameter import Parameter

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node

# Declared by rclpy itself.
_OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")
_CHANGES = {
    "start": "read only when the node starts",
    "configure": "read when the node is configured: clean it up before changing this",
    "always": "may be changed at any time",
}


@dataclass(frozen=True)
class Setting:
    """One parameter.

    `low` and `high` are inclusive and go together; `allowed` lists the values of a choice.
    `changes`: "start" is read-only, "configure" may be set while the node is unconfigured,
    "always" takes effect at once.
    """

    name: str
    default: bool | float | str
    description: str
    low: float = -math.inf
    high: float = math.inf
    allowed: tuple[str, ...] = ()
    changes: Literal["start", "configure", "always"] = "configure"

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
        return value

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(
            description=self.description,
            read_only=self.changes == "start",
            additional_constraints=f"{self._allowed()}; {_CHANGES[self.changes]}",
        )
        if math.isfinite(self.low):
            if isinstance(self.default, float):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(self.low), to_value=float(self.high))
                ]
            else:
                descriptor.integer_range = [
                    IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)
                ]
        return descriptor

    def _allowed(self) -> str:
        if self.allowed:
            return " or ".join(map(repr, self.allowed))
        if math.isfinite(self.low):
            return f"{self.low} to {self.high}"
        return {bool: "true or false", int: "an integer", float: "a number"}.get(
            type(self.default), "a text"
        )


class Settings:
    """The parameters of one node.

    The node must have been made with `automatically_declare_parameters_from_overrides=True`: that
    is the public way to see what the user gave on the command line or in a file. What is unknown
    or not allowed there does not end the process; it is kept in `problems`, and the defaults hold.
    """

    def __init__(
        self, node: Node, settings: Sequence[Setting], is_configured: Callable[[], bool]
    ) -> None:
        self.problems: list[str] = []
        self._node = node
        self._settings = {setting.name: setting for setting in settings}
        self._is_configured = is_configured
        given = {
            name: parameter.value
            for name, parameter in node.get_parameters_by_prefix("").items()
            if not name.startswith(_OF_RCLPY)
        }
        for name in given:
            node.undeclare_parameter(name)
        for setting in settings:
            self._declare(setting, given.pop(setting.name, setting.default))
        if given:
            self.problems.append(self.refuse_unknown(sorted(given)))
        node.add_on_set_parameters_callback(self._check)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        """Return the value that a parameter has now."""
        return self._node.get_parameter(name).value

    def in_their_type(self, parameters: Sequence[Parameter[Any]]) -> list[Parameter[Any]]:
        """Return the parameters, whole numbers as floats where the parameter is one."""
        return [
            Parameter(given.name, value=float(given.value))
            if type(given.value) is int and self._is_float(given.name)
            else given
            for given in parameters
        ]

    def unknown(self, parameters: Sequence[Parameter[Any]]) -> list[str]:
        """Return the names that the node does not have."""
        return [p.name for p in parameters if not self._node.has_parameter(p.name)]

    def refuse_unknown(self, names: Sequence[str]) -> str:
        """Return the line that says which parameters there are."""
        unknown = ", ".join(map(repr, names))
        return f"unknown parameter {unknown}: allowed are {', '.join(sorted(self._settings))}"

    def _is_float(self, name: str) -> bool:
        return name in self._settings and type(self._settings[name].default) is float

    def _declare(self, setting: Setting, given: object) -> None:
        value = setting.default
        try:
            value = setting.check(given)
        except SettingError as error:
            self.problems.append(str(error))
        self._node.declare_parameter(
            setting.name, value, setting.descriptor(), ignore_override=True
        )

    def _check(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        for parameter in parameters:
            setting = self._settings.get(parameter.name)
            if setting is None:
                continue
            try:
                setting.check(parameter.value)
            except SettingError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if setting.changes == "configure" and self._is_configured():
                reason = f"parameter {setting.name!r} is {_CHANGES['configure']}"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)
