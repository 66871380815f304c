"""What is said of runs: the verdict, and which of several is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_replay.comparison import write_comparison
from edge_replay.protocol import Score
from edge_replay.report import write_page
from edge_replay.results import RunReport
from edge_replay.summary import playback_figures, run_names, run_table
from edge_replay.verdict import verdict


def report(
    p99: float = 20.0, bundle: str = "arm", score: Score | None = None, **playback: object
) -> RunReport:
    """A run at 30 Hz of 100 frames that were all answered, unless `playback` says otherwise."""
    counts = {"published": 100, "answered": 100, "received": 100}
    counts |= dict.fromkeys(("lost", "dropped", "rejected", "failed", "late"), 0)
    played = {"requested": "bag", "seconds": 3.3, "published_hz": 30.0, "answered_hz": 30.0}
    times = {"p50": 12.0, "p95": 15.0, "p99": p99, "max": 30.0}
    recording = {"path": "/data/bag", "sha256": "0", "topics": {}, "images": 100, "seconds": 3.3}
    usage = {"cpu_percent": 50, "rss_first_mib": 1, "rss_last_mib": 1, "rss_max_mib": 1}
    return RunReport.model_validate(
        {
            "skill": "pose",
            "created": "",
            "settings": {"bag": "/data/bag", "param provider": "cpu"},
            "recording": recording,
            "node": {"bundle": bundle},
            "playback": {**counts, **played, **playback},
            "latency_ms": {"end to end": times, "outside node": times},
            "usage": usage,
            "search": (),
            "score": score and score.model_dump(),
            "notes": (),
            "host": {"name": "host"},
            "tools": {},
        }
    )


def scored(pck: float, error: float) -> Score:
    return Score(
        metrics={"pck@0.5": pck, "mean_error_px": error, "odd": pck},
        primary_metric="pck@0.5",
        labelled=90,
        answered=80,
        better={"pck@0.5": "higher", "mean_error_px": "lower"},
        notes=("scored on 3 keypoints",),
    )


@pytest.mark.parametrize(
    ("playback", "says"),
    [
        ({}, "Keeps up: all 100 frames answered at 30.0 Hz; answers after 12.0 ms (median), 20"),
        (
            {"answered": 97, "dropped": 3},
            "Keeps up: 3.0 % of 100 frames lost at 30.0 Hz, most of them in the node, which was b",
        ),
        (
            {"answered": 60, "lost": 30, "dropped": 10},
            "Loses frames: 40.0 % of 100 frames lost at 30.0 Hz, most of them on the way to the",
        ),
        (
            {"answered": 0, "rejected": 100},
            "Answers nothing: 100 frames published, 100 % lost, most of them refused by the node",
        ),
    ],
)
def test_the_verdict_says_what_was_lost_and_where(playback: dict[str, Any], says: str) -> None:
    assert verdict(report(**playback)).startswith(says)


def test_a_page_begins_with_the_verdict_and_explains_its_figures(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(page, report(score=scored(0.9, 4.0)), [])
    text = page.read_text()
    said = "pck@0.5 0.900 over 80 of 90 labelled frames."
    assert text.index(said) < text.index('class="keys"')
    assert "Note: scored on 3 keypoints." in text
    assert "within half the length, in that picture, of the arm&#39;s reference link" in text
    assert "end to end less the node&#39;s total" in text
    lost = "<b>0.0 %</b><span>of the frames lost</span><small>0 of 100; less than 5 % are allowed"
    assert lost in text
    assert "<pre>replay run --skill pose --bag /data/bag --param provider:=cpu --output " in text


def test_runs_are_named_and_the_better_value_is_marked(tmp_path: Path) -> None:
    runs = [
        report(p99=20.0, bundle="int8", score=scored(0.912, 4.0)),
        report(p99=18.0, bundle="fp32", score=scored(0.934, 3.0), answered=99, lost=1),
    ]
    names = run_names(runs, [tmp_path / "a" / "report.json", tmp_path / "b"])
    assert names == ["a (int8)", "b (fp32)"]
    table = run_table(runs, names)
    rows = {line.split("  ")[0]: line.split("  ")[1:] for line in table.splitlines()}
    cells = {name: [cell.strip() for cell in row if cell.strip()] for name, row in rows.items()}
    assert cells["run"] == names
    assert cells["pck@0.5"] == ["0.912", "0.934*"]
    assert cells["mean_error_px"] == ["4.000", "3.000*"]
    assert cells["odd"] == ["0.912", "0.934"]  # nobody said which is better
    assert cells["end to end p50 / p99 [ms]"] == ["12.00 / 20.00", "12.00 / 18.00*"]
    assert cells["lost [% of the frames]"] == ["0.0*", "1.0"]
    write_comparison(tmp_path / "page.html", runs, names, [Path("a"), Path("b")])
    page = (tmp_path / "page.html").read_text()
    assert "<th>b (fp32)</th>" in page
    assert "0.934*" in page
    assert "* the better value" in page
    assert "Better values, of those that differ: b (fp32) 4, a (int8) 2." in page
    assert "<b>0.934*</b><span>pck@0.5, b (fp32)</span><small>a (int8) 0.912" in page
    assert "<pre>replay compare a b --output " in page


def test_runs_of_unlike_kind_are_not_ranked() -> None:
    runs = [report(p99=20.0), report(p99=10.0, requested="max")]
    assert "*" not in run_table(runs, ["a", "b"])


def test_runs_in_folders_of_one_name_are_told_apart() -> None:
    runs = [report(), report()]
    paths = [Path("/x/one/out"), Path("/x/two/out")]
    assert run_names(runs, paths) == ["one/out (arm)", "two/out (arm)"]
    assert run_names(runs, [paths[0], paths[0]]) == ["1: one/out (arm)", "2: one/out (arm)"]


@pytest.mark.parametrize(
    ("node", "provider", "precision"),
    [
        ({"provider": "cpu", "precision": "int8"}, "cpu", "int8"),
        (
            {
                "fnet provider": "cpu",
                "fnet precision": "fp32",
                "update provider": "cpu",
                "update precision": "int8",
            },
            "cpu",
            "fnet: fp32, update: int8",
        ),
        ({}, "-", "-"),
    ],
)
def test_what_the_engines_of_all_models_are_is_said(
    node: dict[str, str], provider: str, precision: str
) -> None:
    shown = playback_figures(report().model_copy(update={"node": node}))
    assert (shown["provider"], shown["precision"]) == (provider, precision)
