"""The start of a node's program: one line where ROS, or a library that it needs, is missing."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import SuiteError, one_line
from edge_runtime.install_hints import failed_import

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED = 1
_INTERRUPTED = 130


def start_node(module: str, name: str, argv: Sequence[str] | None = None) -> int:
    """Import the node class `name` of `module`, run the node, and return the exit code.

    `argv` with the program's name first, like `sys.argv`.
    """
    words = sys.argv if argv is None else argv
    try:
        node_class = getattr(importlib.import_module(module), name)
        run_node = importlib.import_module("edge_runtime.run_node").run_node
        return int(run_node(node_class, words))
    except ImportError as error:
        line = failed_import(error)
    except SuiteError as error:
        line = one_line(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    sys.stderr.write(f"{Path(words[0]).name}: {line}\n")
    return _FAILED
