"""The test routine of `compress evaluate grasp`, as the command calls it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING

import pytest

from compressed_grasp.evaluation import GraspEvaluation
from compressed_grasp.intervals import bootstrap, wilson
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

CUBE = """
v -.02 -.02 -.02\nv .02 -.02 -.02\nv .02 .02 -.02\nv -.02 .02 -.02
v -.02 -.02 .02\nv .02 -.02 .02\nv .02 .02 .02\nv -.02 .02 .02
f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8
"""


def parsed(*words: str) -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("--bundle", default=None)
    GraspEvaluation().add_arguments(parser)
    return parser.parse_args(words)


def test_intervals_are_those_of_the_textbook() -> None:
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson(0, 10) == pytest.approx((0.0, 0.278), abs=1e-3)
    low, high = bootstrap([0.0, 1.0] * 50, lambda some: sum(some) / len(some))
    assert low == pytest.approx(0.4, abs=0.03)
    assert high == pytest.approx(0.6, abs=0.03)


def test_runs_are_put_together_by_policy_and_scene(tmp_path: Path) -> None:
    scenes, blocks = tmp_path / "scenes", tmp_path / "blocks"
    scenes.mkdir()
    blocks.mkdir()
    (blocks / "cube.obj").write_text(CUBE)
    (scenes / "far.txt").write_text("cube.obj 1 0 0 -.45 .1 .021 0 0 .3\n")
    args = parsed("--scenes", str(scenes), "--runs", "2", "--policy", "geometric", "random")
    routine = GraspEvaluation()
    trials = routine.trials(args)
    assert sorted(trials) == [
        f"{policy} far {run:03}" for policy in ("geometric", "random") for run in range(2)
    ]
    results = {name: trial() for name, trial in trials.items()}
    assert trials["geometric far 000"]() | {"seconds": 0, "decision": 0} == results[
        "geometric far 000"
    ] | {"seconds": 0, "decision": 0}
    found = routine.summarise(args, results)
    assert found.metrics["completion"] == 1
    assert found.metrics["efficiency"] > 0.5
    assert "geometric cleared 100.0% of 2 tables (34.2% to 100.0%)" in found.verdict
    policies, by_scene = found.tables.values()
    assert [row["policy"] for row in policies] == ["geometric", "random"]
    assert len(by_scene) == 2
    caption, picture = found.pictures[0]
    assert "far" in caption
    assert picture.shape[2] == 3


def test_rows_of_so_many_boxes_are_a_scene() -> None:
    args = parsed("--rows", "2", "3", "--runs", "1", "--policy", "random-grasp")
    trials = GraspEvaluation().trials(args)
    assert sorted(trials) == ["random-grasp row-2 000", "random-grasp row-3 000"]
    assert trials["random-grasp row-2 000"]()["objects"] == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "0 scenes"),
        (["--piles", "3", "--runs", "0"], "0 runs"),
        (["--piles", "3", "--policy", "learned"], "--bundle"),
        (["--piles", "3", "--policy", "vpg"], "--vpg"),
        (["--piles", "3", "--vpg", __file__], "no state dict of VPG"),
        (["--scenes", "nowhere"], "no scene in 'nowhere'"),
    ],
)
def test_what_cannot_be_run_is_refused(words: list[str], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        GraspEvaluation().trials(parsed(*words))
