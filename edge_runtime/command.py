"""The convention of our commands: one line on stderr per failure, exit codes 0, 1, 2, 130, 141."""

from __future__ import annotations

import os
import sys
from platform import python_version
from typing import TYPE_CHECKING

from edge_runtime.errors import SuiteError, one_line
from edge_runtime.host import tool_versions
from edge_runtime.install_hints import failed_import
from edge_runtime.interrupts import INTERRUPTED, interruptible

if TYPE_CHECKING:
    import argparse
    import signal
    from collections.abc import Sequence

_FAILED = 1
_NOBODY_READS = 141


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add `--version`, which prints the package's version and what it runs on."""
    versions = {**tool_versions("compressed_grasp", "onnxruntime"), "Python": python_version()}
    line = ", ".join(f"{name} {version}" for name, version in versions.items())
    parser.add_argument("--version", action="version", version=line, help="show versions")


def run_command(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
    *,
    interrupts: Sequence[signal.Signals] = (),
) -> int:
    """Parse and call `args.run(args)`; return the exit code.

    Sub-commands say what they run with `set_defaults(run=function)`. `--version` is added, and
    `--debug`, which is taken anywhere on the line and lets exceptions through with their traceback.
    Usage errors leave through argparse's own exit, with code 2. A reader that ends early, as `head`
    does, ends the command quietly, with the code that shells give for SIGPIPE. `interrupts` end it
    like Ctrl-C.
    """
    add_version(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks of failures")
    words = list(sys.argv[1:] if argv is None else argv)
    # Sub-commands have parsers of their own, which do not know the option: take it out first.
    debug = "--debug" in words
    args = parser.parse_args([word for word in words if word != "--debug"])
    args.debug = debug
    try:
        with interruptible(parser.prog, *interrupts):
            args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffers would fail again when the interpreter ends, with a complaint.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return _NOBODY_READS
    except KeyboardInterrupt:
        sys.stderr.write(f"{parser.prog}: interrupted\n")
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        if isinstance(error, ImportError):
            line = failed_import(error)
        elif isinstance(error, (SuiteError, OSError)):
            line = one_line(error)
        else:
            line = f"{one_line(error)}; --debug shows more"
        sys.stderr.write(f"{parser.prog}: {line}\n")
        return _FAILED
    return 0
