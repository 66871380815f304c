"""Parameters of a node: declared with all that is known about them, anything else is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.parameter import Parameter

from edge_runtime.errors import SettingError
from edge_runtime.setting import CHANGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node

    from edge_runtime.setting import Setting

# Declared by rclpy itself.
_OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class NodeParameters:
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
        self._node.declare_parameter(setting.name, value, describe(setting), ignore_override=True)

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
                reason = f"parameter {setting.name!r} is {CHANGES['configure']}"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)


def describe(setting: Setting) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows."""
    descriptor = ParameterDescriptor(
        description=setting.description,
        read_only=setting.changes == "start",
        additional_constraints=setting.constraints,
    )
    if math.isfinite(setting.low):
        if isinstance(setting.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(setting.low), to_value=float(setting.high))
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(setting.low), to_value=int(setting.high), step=1)
            ]
    return descriptor
