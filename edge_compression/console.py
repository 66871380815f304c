"""What the commands print: progress to stderr, results to stdout."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel


def say(text: str) -> None:
    """Tell what begins now."""
    sys.stderr.write(f"{text} ...\n")
    sys.stderr.flush()


def note(text: str) -> None:
    """Tell what the user may not expect."""
    sys.stderr.write(f"note: {text}\n")


def show(text: str) -> None:
    """Print a result."""
    sys.stdout.write(f"{text}\n")


def show_json(values: object) -> None:
    """Print a result for programs."""
    # A checkpoint may hold what JSON has no word for.
    show(json.dumps(values, indent=2, default=str))


def show_report(report: BaseModel) -> None:
    """Print a report for programs, as its file has it."""
    show(report.model_dump_json(indent=2))


def show_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows (column -> cell) with aligned columns; numbers to the right."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[_shown(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[at]) for line in [columns, *cells]) for at in range(len(columns))]
    right = [all(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    for line in [columns, ["-" * width for width in widths], *cells]:
        padded = (
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(line, widths, right, strict=True)
        )
        show("  ".join(padded).rstrip())


def show_facts(facts: Mapping[str, object]) -> None:
    """Print name and value, one line each."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        show(f"{name.ljust(width)}  {_shown(value)}")


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
