from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from edge_runtime.command import run_command
from edge_runtime.disk_space import enough_space
from edge_runtime.errors import SettingError
from edge_runtime.share import share_directory
from edge_runtime.skills import load_skill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def parser(run: Callable[[argparse.Namespace], object]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compress")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("run").set_defaults(run=run)
    return parser


def fail(_: argparse.Namespace) -> None:
    raise SettingError("rate is 2:\nallowed are 0 to 1")


def crash(_: argparse.Namespace) -> None:
    raise ValueError("broken")


def test_exit_codes_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(parser(lambda args: args), ["run"]) == 0
    assert run_command(parser(fail), ["run"]) == 1
    assert capsys.readouterr().err == "compress: rate is 2: allowed are 0 to 1\n"
    assert run_command(parser(crash), ["run"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ValueError: broken (test_command.py:" in error
    assert "--debug" in error
    with pytest.raises(SystemExit) as caught:
        run_command(parser(fail), ["walk"])
    assert caught.value.code == 2


@pytest.mark.parametrize("words", [["run", "--debug"], ["--debug", "run"]])
def test_debug_shows_the_traceback_wherever_it_stands(words: list[str]) -> None:
    with pytest.raises(SettingError):
        run_command(parser(fail), words)


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("torch.nn", "'torch' is not installed: pip install '.[compress]' in the source tree"),
        ("mujoco", "pip install '.[train]'"),
        ("rosbags.highlevel", "pip install '.[replay]'"),
        ("matplotlib", "pip install '.[compress]' in the source tree or pip install '.[replay]'"),
        ("tqdm", "pip install '.' in the source tree"),
        ("distributed.client", "pip install '.[dask]' in the source tree"),
        ("rclpy", "source a ROS 2 installation, or pip install '.[ros]'"),
        ("sensor_msgs.msg", "source a ROS 2 installation, or pip install '.[ros]'"),
        ("somebodys_skill", "install the Python package that has it"),
    ],
)
def test_a_missing_module_names_what_brings_it(
    module: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_it(_: argparse.Namespace) -> None:
        raise ModuleNotFoundError(name=module)

    assert run_command(parser(import_it), ["run"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert remedy in error


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_command(parser(fail), ["--version"])
    line = capsys.readouterr().out
    assert line.startswith(f"compressed_grasp {metadata.version('compressed_grasp')}, ")
    assert f"Python {platform.python_version()}" in line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ModuleNotFoundError(
                "No module named 'rclpy._rclpy_pybind11'\nThe C extension 'x.so' isn't present on "
                "the system. Please refer to 'https://docs.ros.org'",
                name="rclpy._rclpy_pybind11",
            ),
            ["cannot load 'rclpy' of ROS 2", "start with the Python that rclpy is made for"],
        ),
        (
            ImportError("librcl_action.so: cannot open shared object file", name="rclpy._rclpy"),
            ["librcl_action.so: cannot open", "source that ROS 2 installation"],
        ),
        (
            ImportError("cannot import name 'field_validator' from 'pydantic'", name="pydantic"),
            ["'field_validator' from 'pydantic'", "pip install '.' in the source tree"],
        ),
    ],
)
def test_a_module_of_the_wrong_version_is_no_missing_one(
    error: ImportError, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def import_it(_: argparse.Namespace) -> None:
        raise error

    assert run_command(parser(import_it), ["run"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in words), said
    assert "Error:" not in said
    assert "not installed" not in said


def test_an_interrupt_has_the_shells_code() -> None:
    def interrupt(_: argparse.Namespace) -> None:
        raise KeyboardInterrupt

    assert run_command(parser(interrupt), ["run"]) == 130


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_ends_early_ends_the_command_quietly(stream: str, lines: int) -> None:
    program = (
        "import argparse, sys; from edge_runtime.command import run_command\n"
        "parser = argparse.ArgumentParser()\n"
        f"parser.set_defaults(run=lambda _: sys.{stream}.write('line\\n' * {lines}))\n"
        "sys.exit(run_command(parser, []))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    done = subprocess.run([sys.executable, "-c", program], check=False, **streams)
    os.close(writer)
    assert done.returncode == 141
    assert not done.stdout
    assert not done.stderr


def test_an_unknown_skill_lists_the_installed_ones() -> None:
    with pytest.raises(SettingError, match=r"'cook': installed are .*compressed_grasp\.skills"):
        load_skill("cook")


def test_the_shared_files_are_found() -> None:
    assert (share_directory() / "package.xml").is_file()


def test_an_interrupt_during_an_import_ends_the_command_with_one_line(tmp_path: Path) -> None:
    """Libraries swallow it, or print a traceback of theirs."""
    (tmp_path / "library.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException:\n    raise ImportError('compile me first') from None\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        "import argparse, signal, sys\n"
        "from edge_runtime.command import run_command\n"
        # A shell has its background jobs ignore interrupts, which is inherited.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "parser = argparse.ArgumentParser(prog='compress')\n"
        "parser.set_defaults(run=lambda args: __import__('library'))\n"
        "sys.exit(run_command(parser))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "compress: interrupted\n")


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), sqlite3.OperationalError("disk is full")]
)
def test_a_full_disk_is_said_with_the_folder_and_what_to_do(error: Exception) -> None:
    with (
        pytest.raises(SettingError, match=r"(?i)(no space|full).*: free space for --output DIR"),
        enough_space("--output DIR"),
    ):
        raise error
    with pytest.raises(FileNotFoundError), enough_space("--output DIR"):
        raise FileNotFoundError(2, "No such file")
