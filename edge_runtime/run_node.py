"""The main function of a node's executable: start, spin, and a clean end on a signal."""

from __future__ import annotations

import argparse
import inspect
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from edge_runtime.command import add_version
from edge_runtime.errors import SettingError, one_line
from edge_runtime.ros_environment import NO_LOG_FILE, check_domain_id, log_fault
from edge_runtime.serving import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.node import SkillNode

_FAILED = 1
_USAGE = 2
# What the C library adds to its message: the state of its lexer, and lines of its source.
_INTERNALS = re.compile(r"\. Error: Expected lexeme.*|, at /.*", re.DOTALL)
_SYNTAX = (
    "accepted after --ros-args are -p NAME:=VALUE, --params-file FILE and -r FROM:=TO, names of "
    "letters, digits and _"
)


def run_node(node_class: type[SkillNode[Any]], argv: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT or SIGTERM; return the exit code.

    `argv` with the program's name first, like `sys.argv`. `--help` lists the parameters.
    """
    words = list(sys.argv if argv is None else argv)
    try:
        _parser(node_class).parse_args(remove_ros_args(words)[1:])
        check_domain_id()
        fault = log_fault()
        arguments = [*words, *NO_LOG_FILE] if fault else words
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except SettingError as error:
        sys.stderr.write(f"{node_class.node_name}: {error}\n")
        return _FAILED
    except Exception as error:  # noqa: BLE001 - rclpy raises what the C library says
        said = _INTERNALS.sub("", str(error))
        sys.stderr.write(f"{node_class.node_name}: {' '.join(said.split())}: {_SYNTAX}\n")
        return _USAGE
    if fault:
        line = f"{node_class.node_name}: no log file: {fault}: let ROS_LOG_DIR name another folder"
        sys.stderr.write(f"{line}\n")
    try:
        return _spin(node_class)
    finally:
        rclpy.shutdown()


def _spin(node_class: type[SkillNode[Any]]) -> int:
    stop = threading.Event()
    # Handlers of our own: rclpy's shut the context down under the worker's publishers. They run
    # between bytecodes of the main thread, so the executor, which waits in C, gets another one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node = node_class()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.start()
    failures: list[Exception] = []

    def spin() -> None:
        try:
            serve(executor, stop, node.survive)
        except Exception as error:  # noqa: BLE001 - reported below, by the main thread
            failures.append(error)
            stop.set()

    thread = threading.Thread(target=spin, name="executor")
    thread.start()
    stop.wait()
    executor.wake()
    thread.join()
    for error in failures:
        node.get_logger().fatal(f"the executor stopped: {one_line(error)}")
    executor.shutdown()
    node.destroy_node()
    return _FAILED if failures else 0


def _parser(node_class: type[SkillNode[Any]]) -> argparse.ArgumentParser:
    lines = [
        f"  {setting.name} (default {setting.default!r}): {setting.description}; "
        f"{setting.descriptor().additional_constraints}"
        for setting in node_class.all_settings()
    ]
    parser = argparse.ArgumentParser(
        description=(inspect.getdoc(node_class) or "").partition("\n")[0],
        epilog="parameters, set by --ros-args -p NAME:=VALUE:\n" + "\n".join(lines),
        usage="%(prog)s [-h] [--version] [--ros-args ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    return parser
