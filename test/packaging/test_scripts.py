"""The scripts refuse what they cannot do in one line, before they touch any environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--distro"], {}, "kilted or jazzy"),
        (["--distro", "noetic"], {}, "'noetic': take kilted or jazzy"),
        (["--distro=kilted"], {"PYTHON": "false"}, "no Python 3.10 to 3.13"),
    ],
)
def test_refusal_is_one_line(arguments: list[str], variables: dict[str, str], said: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DISTRO"}
    result = subprocess.run(
        [SCRIPTS / "test", *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert result.stdout == ""
