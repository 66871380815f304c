"""What the `replay` command line refuses, and how it says so."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from edge_replay.commands import main

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Suite

RUN = ["run", "--skill", "spot", "--bag", "b", "--output", "o"]
CONVERT = ["convert", "folder", "bag"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([*RUN, "--rate", "abc"], "--rate: 'abc' is not allowed: give a rate in Hz above 0, or 'b"),
        ([*RUN, "--rate", "-1"], "--rate: '-1' is not allowed: give a rate in Hz above 0, or 'bag"),
        ([*RUN, "--seconds", "soon"], "--seconds: 'soon' is not allowed: give a number above 0"),
        ([*RUN, "--seconds", "inf"], "--seconds: 'inf' is not allowed: give a number above 0"),
        ([*RUN, "--param", "delay_ms=1"], "--param: 'delay_ms=1' is not NAME:=VALUE"),
        ([*CONVERT, "--rate", "nan"], "--rate: 'nan' is not allowed: give a number above 0"),
        ([*CONVERT, "--camera", "1,2,x,4"], "--camera: '1,2,x,4' is not allowed: give FX,FY,CX,CY"),
        ([*CONVERT, "--camera", "1,2,3"], "--camera: '1,2,3' is not allowed: give FX,FY,CX,CY"),
        ([*CONVERT, "--camera", "0,1,2,3"], "--camera: '0,1,2,3' is not allowed: give FX,FY,CX,CY"),
    ],
)
def test_a_wrong_value_is_told_what_is_allowed(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert line in capsys.readouterr().err.splitlines()[-1]


def test_a_skill_without_a_node_is_refused(suite: Suite, tmp_path: Path) -> None:
    said = suite.replay(
        "run", "--skill", "nodeless", "--bag", tmp_path, "--output", tmp_path, code=1
    )
    assert re.fullmatch(
        r"replay: the skill 'nodeless' has no node .*edge_replay\.protocol\.ReplayableSkill\n", said
    )


@pytest.mark.ros
def test_every_result_is_given_as_json_and_nothing_else(
    suite: Suite, folder: Path, tmp_path: Path
) -> None:
    def result(*words: object) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(suite.replay(*words, "--json"))

    bag, output = tmp_path / "bag", tmp_path / "out"
    converted = result("convert", folder, bag, "--skill", "spot")
    assert (converted["bag"], converted["images"], converted["labelled"]) == (str(bag), 5, True)
    run = result(
        "run", "--skill", "spot", "--bag", bag, "--bundle", suite.bundle, "--output", output
    )
    assert run == json.loads((output / "report.json").read_text())
    assert result("show", output) == run
    assert result("compare", output, output) == [run, run]


@pytest.mark.ros
def test_an_output_that_is_a_file_is_refused(suite: Suite, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    said = suite.replay(
        "run", "--skill", "spot", "--folder", folder, "--bundle", suite.bundle,
        "--output", file, code=1,
    )  # fmt: skip
    assert said == f"replay: --output {file} cannot be written (File exists): give another folder\n"
    assert file.read_text() == "mine"


@pytest.mark.ros
@pytest.mark.parametrize("slop", ["soon", "-1", "nan"])
def test_a_slop_that_nodes_refuse_is_refused_before(
    suite: Suite, tmp_path: Path, slop: str
) -> None:
    said = suite.replay(
        "run", "--skill", "spot", "--bag", tmp_path, "--output", tmp_path / "out",
        "--param", f"slop:={slop}", code=1,
    )  # fmt: skip
    assert re.fullmatch(r"replay: parameter 'slop' is \S+: .*0\.0 to 10\.0\n", said)


def test_a_page_is_refused_where_it_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "none" / "page.html"
    assert main(["compare", str(tmp_path), "--output", str(nowhere)]) == 1
    line = f"replay: --output {nowhere}: there is no folder {nowhere.parent}; make it"
    assert capsys.readouterr().err.startswith(line)
    assert main(["compare", str(tmp_path), "--output", str(tmp_path)]) == 1
    assert f"--output {tmp_path} is a folder: give a file" in capsys.readouterr().err
