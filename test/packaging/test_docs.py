"""README.md and docs/ against the code: links, files, commands, the skill that they show."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rclpy.utilities import remove_ros_args

from compressed_grasp.interface import GRASP
from compressed_slam.interface import SLAM
from edge_compression import commands as compress
from edge_compression import recipe
from edge_compression.protocol import CompressibleSkill
from edge_replay import commands as replay
from edge_replay.protocol import ReplayableSkill
from edge_worlds.arm import recording
from edge_worlds.tabletop import robot
from pose_fcn.interface import ARM_POSE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edge_runtime.interface import NodeInterface

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "config|models|docs|benchmarks|scripts|launch|test|pose_fcn|compressed_slam|edge_[a-z]+"
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def text(name: str) -> str:
    return (ROOT / name).read_text()


def prose(name: str) -> str:
    return re.sub(r"^```.*?^```", "", text(name), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page.relative_to(ROOT).as_posix()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)\s]+)\)", prose(name))
    for link in (link for link in links if "://" not in link):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    for page in PAGES[1:]:
        assert f"](docs/{page.name})" in text("README.md"), page.name


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    for path in re.findall(rf"(?<![\w/.])((?:{FOLDERS})/[\w./-]*\w)", text(name)):
        assert (ROOT / path).exists(), path


# Commands

# The page that lists a command's sub-commands and options.
PAGE_OF = {"compress": "docs/compression.md", "replay": "docs/replay.md"}
NODES = {"pose": ARM_POSE, "grasp": GRASP, "slam": SLAM}
MAINS = {"compress": compress.main, "replay": replay.main}


def command_lines(name: str) -> Iterator[list[str]]:
    for block in re.findall(r"^```bash\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            yield words[2:] if words[:2] == ["ros2", "run"] else words


def parsed(parser: argparse.ArgumentParser, argv: list[str], **_: object) -> int:
    parser.parse_args([word for word in argv if word != "--debug"])
    return 0


@pytest.fixture
def _parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (compress, replay, recording, robot):
        monkeypatch.setattr(module, "run_command", parsed)


def check_launch(words: list[str]) -> None:
    node = NODES[words[0].removesuffix(".launch.py")]
    known = re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', text("edge_runtime/launching.py"))
    assert len(known) == 3
    known += [each.topic for each in node.inputs] + [each.name for each in node.parameters]
    for word in words[1:]:
        assert word == "--show-args" or word.partition(":=")[0] in known, word


def check_node(node: NodeInterface, words: list[str]) -> None:
    settings = {setting.name for setting in node.parameters}
    names = {name for word in words for name in re.findall(r"^(\w+):=", word)}
    assert names <= settings | {source.topic for source in node.inputs}
    assert remove_ros_args([node.executable, *words])[1:] in ([], ["--help"], ["--version"])


@pytest.mark.usefixtures("_parse_only")
@pytest.mark.parametrize("name", NAMES)
def test_commands_in_blocks_are_accepted(name: str) -> None:
    for words in command_lines(name):
        match words:
            case ["compressed_grasp", "compress", *rest] | ["compress", *rest]:
                assert compress.main(rest) == 0
            case ["replay", *rest]:
                assert replay.main(rest) == 0
            case ["python", "-m", "edge_worlds.arm.recording", *rest]:
                assert recording.main(rest) == 0
            case ["python", program, *_] if program != "-m":
                assert (ROOT / program).is_file(), program
            case ["ros2", "launch", "compressed_grasp", *rest]:
                check_launch(rest)
            case ["tabletop_robot", *rest]:
                assert robot.main(rest) == 0
            case ["pose_node" | "grasp_node" | "slam_node" as program, *rest]:
                check_node(NODES[program.removesuffix("_node")], rest)


def help_of(command: str, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        MAINS[command]([*words, "--help"])
    return capsys.readouterr().out


@pytest.mark.usefixtures("_parse_only")
@pytest.mark.parametrize("name", NAMES)
def test_commands_in_sentences_have_their_options(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = " ".join(prose(name).split())
    for command, rest in re.findall(r"`(compress|replay) ([a-z]+[^`]*)`", sentences):
        said = help_of(command, capsys, rest.split()[0])
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in said, f"{command} {rest}"


@pytest.mark.usefixtures("_parse_only")
@pytest.mark.parametrize(("command", "page"), PAGE_OF.items())
def test_every_option_is_listed_and_no_other(
    command: str, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sub_commands = re.findall(r"^    ([a-z]+)\b", help_of(command, capsys), re.MULTILINE)
    assert sub_commands
    known = set()
    for name in sub_commands:
        assert f"{command} {name}" in text(page)
        known |= set(re.findall(r"--[a-z-]+", help_of(command, capsys, name)))
    listed = set(re.findall(r"`(--[a-z-]+)", prose(page)))
    # Taken by all commands alike, before they parse.
    assert listed - {"--debug"} == known - {"--help"}


@pytest.mark.parametrize("name", NAMES)
def test_python_blocks_import_what_there_is(name: str) -> None:
    for block in re.findall(r"^ *```python\n(.*?)```", text(name), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            file = ROOT / f"{node.module.replace('.', '/')}.py"
            if re.match(FOLDERS, node.module):
                there = re.findall(r"^(?:class |def )?(\w+)\b", file.read_text(), re.MULTILINE)
                assert {alias.name for alias in node.names} <= set(there), node.module


def test_the_skill_of_the_docs_fits_the_protocols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package of docs/adding_a_skill.md, as a reader would copy it."""
    page = text("docs/adding_a_skill.md")
    files = re.findall(r"^`([\w./]+)`[^\n]*\n\n```\w+\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    for path, content in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    (tmp_path / "spot" / "spot" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "spot")
    try:
        skill = importlib.import_module("spot.skill").SpotSkill()
        node = importlib.import_module("spot.node").SpotNode
        assert isinstance(skill, CompressibleSkill)
        assert isinstance(skill, ReplayableSkill)
        assert not node.__abstractmethods__
        assert node.interface is skill.node
        assert skill.node.skill == skill.name
        for name in ("train.yaml", "compress.yaml"):
            recipe.load_recipe(tmp_path / name).data(skill.data_model)
        bgr, place = importlib.import_module("spot.skill").picture(skill.data_model(), "train", 0)
        stand_in = {"map": bgr[None, None, :, :, 1]}
        found = importlib.import_module("spot.detector").find_spot(lambda _: stand_in, bgr)
        assert found == pytest.approx(place, abs=2)
    finally:
        for module in [name for name in sys.modules if name.partition(".")[0] == "spot"]:
            del sys.modules[module]
