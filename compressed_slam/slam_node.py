"""The executable `slam_node`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edge_runtime.start_node import start_node

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node `slam`; return the exit code."""
    return start_node("compressed_slam.node", "SlamNode", argv)


if __name__ == "__main__":
    sys.exit(main())
