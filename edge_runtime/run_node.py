"""The main function of a node's executable: start, spin, and a clean end on a signal."""

from __future__ import annotations

import argparse
import gc
import inspect
import os
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
from edge_runtime.shared_memory import free_abandoned_segments
from edge_runtime.transport import profile_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.node import SkillNode

_FAILED = 1
_USAGE = 2
# How long the end may wait for a frame or a bundle in work; a launch insists after five.
_PATIENCE_S = 3.0
# What the C library adds to its message: the state of its lexer, and lines of its source.
_INTERNALS = re.compile(r"\. Error: Expected lexeme.*|, at /.*", re.DOTALL)
_SYNTAX = (
    "accepted after --ros-args are -p NAME:=VALUE, --params-file FILE and -r FROM:=TO, names of "
    "letters, digits and _"
)
_ENVIRONMENT = "correct the environment variables of ROS 2 and of its middleware (ROS_*, RMW_*)"


def run_node(node_class: type[SkillNode[Any]], argv: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT or SIGTERM; return the exit code.

    `argv` with the program's name first, like `sys.argv`. `--help` lists the parameters.
    """
    stop = threading.Event()
    # Handlers of our own: rclpy's shut the context down under the worker's publishers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    words = list(sys.argv if argv is None else argv)
    os.environ.update(profile_environment())
    free_abandoned_segments()
    try:
        _parser(node_class).parse_args(remove_ros_args(words)[1:])
        check_domain_id()
        fault = log_fault()
        arguments = [*words, *NO_LOG_FILE] if fault else words
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except SettingError as error:
        sys.stderr.write(f"{node_class.interface.name}: {error}\n")
        return _FAILED
    except Exception as error:  # noqa: BLE001 - rclpy raises what the C library says
        said = _said(error)
        # rclpy's own: RCLInvalidROSArgsError, UnknownROSArgsError.
        wrong_words = type(error).__name__.endswith("ROSArgsError")
        remedy = _SYNTAX if wrong_words else _ENVIRONMENT
        sys.stderr.write(f"{node_class.interface.name}: {said}: {remedy}\n")
        return _USAGE if wrong_words else _FAILED
    if fault:
        line = f"no log file: {fault}: let ROS_LOG_DIR name another folder"
        sys.stderr.write(f"{node_class.interface.name}: {line}\n")
    try:
        node = node_class()
    except Exception as error:  # noqa: BLE001 - rclpy raises what the middleware says
        sys.stderr.write(f"{node_class.interface.name}: {_said(error)}: {_ENVIRONMENT}\n")
        rclpy.shutdown()
        return _FAILED
    try:
        return _spin(node, stop)
    finally:
        rclpy.shutdown()
        # The interpreter's last collection looks through all that torch and Numba have made, for
        # seconds on a busy robot: longer than a launch waits before it insists.
        gc.freeze()


def _spin(node: SkillNode[Any], stop: threading.Event) -> int:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failures: list[Exception] = []

    def spin() -> None:
        try:
            node.start()
            serve(executor, stop, node.survive)
        except Exception as error:  # noqa: BLE001 - reported below, by the main thread
            failures.append(error)
            stop.set()

    # Python handles signals between bytecodes of the main thread, so that one only waits: the
    # executor waits in C, and a bundle may take long to load.
    thread = threading.Thread(target=spin, name="executor", daemon=True)
    thread.start()
    stop.wait()
    limit = threading.Timer(_PATIENCE_S, _give_up, [node, failures])
    limit.daemon = True
    limit.start()
    executor.wake()
    thread.join()
    for error in failures:
        node.get_logger().fatal(f"the executor stopped: {one_line(error)}")
    executor.shutdown()
    node.destroy_node()
    limit.cancel()
    return _FAILED if failures else 0


def _said(error: Exception) -> str:
    return " ".join(_INTERNALS.sub("", str(error)).split())


def _give_up(node: SkillNode[Any], failures: Sequence[Exception]) -> None:
    node.get_logger().warning(f"ends in the middle of work that takes over {_PATIENCE_S:g} s more")
    sys.stderr.flush()
    os._exit(_FAILED if failures else 0)


def _parser(node_class: type[SkillNode[Any]]) -> argparse.ArgumentParser:
    lines = [
        f"  {setting.name} (default {setting.default!r}): {setting.description}; "
        f"{setting.constraints}"
        for setting in node_class.interface.parameters
    ]
    parser = argparse.ArgumentParser(
        description=(inspect.getdoc(node_class) or "").partition("\n")[0],
        epilog="parameters, set by --ros-args -p NAME:=VALUE:\n" + "\n".join(lines),
        usage="%(prog)s [-h] [--version] [--ros-args ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    return parser
