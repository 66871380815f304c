"""The console script `compress`."""

from __future__ import annotations

import sys

from edge_runtime.interrupts import end_silently


def main() -> int:
    """Run it; return the exit code."""
    end_silently()
    from edge_compression.commands import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
