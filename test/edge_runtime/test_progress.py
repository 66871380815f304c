"""A log of long work reads as lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_runtime.progress import progress

if TYPE_CHECKING:
    import pytest


def test_a_log_gets_whole_lines_without_bars(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress(range(9), desc="training", unit="step", mininterval=0, miniters=3):
        pass
    assert not list(progress([], desc="short", leave=False))

    text = capsys.readouterr().err

    counts = [re.match(r"training: +\d+% (\d+)/9 \[", line) for line in text.splitlines()]
    assert list(dict.fromkeys(count and count[1] for count in counts)) == ["0", "3", "6", "9"]
    assert text.endswith("\n")
    assert not set(text) & set("\r\x1b█")
