"""The scripts refuse what they cannot do in one line, before they touch any environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize("script", ["demo", "test"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_says_how_it_is_called(script: str, option: str) -> None:
    result = subprocess.run(
        [SCRIPTS / script, option], capture_output=True, text=True, check=False, timeout=10
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert f"\n    scripts/{script} [" in result.stdout
    assert "#" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["test", "--distro"], {}, "kilted or jazzy"),
        (["test", "--distro", "noetic"], {}, "'noetic': take kilted or jazzy"),
        (["test", "--distro=kilted"], {"PYTHON": "false"}, "no Python 3.10 to 3.13"),
        (["demo", "--output=there"], {}, "unknown option --output=there: scripts/demo --help"),
    ],
)
def test_refusal_is_one_line(arguments: list[str], variables: dict[str, str], said: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DISTRO"}
    result = subprocess.run(
        [SCRIPTS / arguments[0], *arguments[1:]],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert result.stdout == ""
