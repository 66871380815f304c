"""The pages of `compress` say what their JSON says, whatever is missing from it."""

from __future__ import annotations

import re
from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest

from edge_compression.limits import Limit
from edge_compression.protocol import Metric
from edge_compression.report import bundled, fronts, render
from edge_compression.results import (
    CompressionReport,
    Failure,
    Graph,
    GroupSensitivity,
    PrunedLayer,
    PruningTrial,
    Sensitivity,
    SensitivityReport,
    Stage,
    TensorError,
    Variant,
    rows,
)
from edge_compression.sensitivity_report import render_sensitivity
from edge_compression.verdict import sensitivity_verdict, verdict
from edge_runtime.bundle import Source

if TYPE_CHECKING:
    from pathlib import Path

METRICS = {
    "share": Metric("of the pixels that are right"),
    "pixels": Metric("error", unit="px", better="lower"),
}
LIMITS = {"share": Limit(at_least="0.98x")}
END = ["What the metrics are", "Made from", "The recipe"]
_NASTY = '<script>alert("&")</script> $a^$'
_SOURCE = Source(
    checkpoint_sha256="c" * 64,
    recipe={"prune": {"macs": 0.5}, "fp16": "2e-2"},
    recipe_sha256="r" * 64,
    calibration="none",
)


def _variant(name: str, size: int, accuracy: float, file: str = "cpu.onnx") -> Variant:
    figures: dict[str, Any] = {
        "precision": "fp32",
        "parameters": size,
        "macs": 1000 * size,
        "bytes": 4 * size,
        "accuracy": {"share": accuracy, "pixels": 3.0},
        "latency_ms": {"p50": size / 10, "p95": size / 5},
    }
    return Variant(
        name=name,
        graphs={"blob": Graph(file=file, **figures)},
        **figures,
    )


_COSTS = [f"share against {cost}" for cost in ("MACs", "bytes", "time")]
_FIRST = _variant("original fp32", 1000, 0.99, "unpruned.onnx")


def _report(**changes: Any) -> CompressionReport:  # noqa: ANN401 - any field's
    fields: dict[str, Any] = {
        "skill": "blob",
        "name": "small",
        "created": "2026-11-22T12:00:00+00:00",
        "primary_metric": "share",
        "metrics": METRICS,
        "variants": [_FIRST],
        "failures": [],
        "stages": [],
        "layers": [],
        "aware_curve": [],
        "tensors": {},
        "export_difference": {},
        "source": _SOURCE,
        "bundle_digest": "d" * 64,
        "tools": {},
        "host": {},
        "limits": LIMITS,
        "forced": [],
        "macs_lost_to_input": 0.0,
        "macs_lost_to_pruning": 0.0,
    }
    return CompressionReport(**{**fields, **changes})


def _sensitivity(*groups: tuple[str, float]) -> Sensitivity:
    return Sensitivity(
        accuracy=0.99,
        groups=[
            GroupSensitivity(
                group=name,
                layers=[name, f"{name}.skip"],
                filters=8,
                sensitivity={"l1": share, "taylor": share / 2},
                trials=[
                    PruningTrial(
                        saliency=saliency,
                        rate=rate,
                        accuracy=0.99 - rate * share,
                        lost={"macs": rate / 10, "parameters": rate / 5},
                    )
                    for saliency in ("l1", "taylor")
                    for rate in (0.75, 0.25)
                ],
            )
            for name, share in groups
        ],
    )


def _page(report: CompressionReport, folder: Path) -> str:
    render(report, folder / "report.html")
    return (folder / "report.html").read_text()


def _table_rows(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(<td.*?)</tr>", page)
    return [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in _cells(row)] for row in rows]


def _cells(row: str) -> list[str]:
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def _titles(page: str) -> list[str]:
    """Titles of pictures and tables."""
    return re.findall(r"<(?:figcaption|h3|summary)>(.*?)(?: <span.*?)?</", page)


def test_the_table_says_what_is_worth_a_look_and_what_ships(tmp_path: Path) -> None:
    report = _report(
        variants=[
            _FIRST,
            _variant("pruned fp32", 100, 0.985, "fp32.onnx"),
            _variant("uniform", 90, 0.986),
            _variant("too far", 10, 0.90),
        ],
        failures=[
            Failure(variant="uniform", reason="for comparison only"),
            Failure(variant="too far", reason="share drops by 0.09"),
            Failure(variant="trt", reason="node Conv_3 has a zero point"),
        ],
    )

    page = _page(report, tmp_path)

    rows = {row[0]: row for row in _table_rows(page)[:4]}
    assert [row[-2:] for row in rows.values()] == [
        ["MACs, bytes, time", "no"],
        ["MACs, bytes, time", "yes"],
        ["rejected", "no"],
        ["rejected", "no"],
    ]
    assert rows["pruned fp32"][1:4] == ["0.9850", "100", "90.00 %"]
    assert [variant.name for variant in bundled(report)] == ["pruned fp32"]
    for failure in report.failures:
        assert [failure.variant, failure.reason] in _table_rows(page)
    assert f'<p class="verdict">{verdict(report)}.</p>' in page
    assert "<b>0.9850</b><span>share, pruned fp32</span><small>0.9900 before, limit 0.9702" in page
    assert "<b>100</b><span>parameters</span><small>1,000 before (90.0" in page
    assert "<pre>compress run small.yaml --output " in page


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {},
            "int8 ships: 0.5 points of share lost, 10.0 times as fast; limit share at least 0.98x",
        ),
        ({"limits": {}}, "int8 ships: 0.5 points of share lost, 10.0 times as fast; no limit"),
        ({"forced": ["int8"]}, "int8 ships by --force: 0.5 points of share lost, "),
        (
            {"bundle_digest": ""},
            "nothing ships, the smallest that was tried is int8: 0.5 points of",
        ),
    ],
)
def test_the_verdict_says_what_ships_at_what_price(changes: dict[str, Any], line: str) -> None:
    report = _report(**{"variants": [_FIRST, _variant("int8", 100, 0.985)], **changes})
    assert verdict(report).startswith(line)


def test_the_verdict_on_what_costs_nothing_gains_or_is_slow() -> None:
    for accuracy, words in [(0.99, "no loss of share"), (0.995, "0.5 points of share gained")]:
        slow = _variant("int8", 100, accuracy).model_copy(update={"latency_ms": {"p50": 150.0}})
        said = verdict(_report(variants=[_FIRST, slow], limits={}))
        assert said == f"int8 ships: {words}, 1.5 times as slow; no limit"
    lost = _variant("int8", 100, nan).model_copy(update={"latency_ms": {}})
    assert verdict(_report(variants=[_FIRST, lost], limits={})) == (
        "int8 ships: share has no value; no limit"
    )


@pytest.mark.parametrize(
    ("after", "words"),
    [(0.08, "0.03 m more error"), (0.02, "0.03 m less error"), (0.05, "no loss of error")],
)
def test_of_an_error_less_is_better(after: float, words: str) -> None:
    figures = {"error": Metric("of the path", unit="m", better="lower")}
    variants = [
        _variant(name, size, 0).model_copy(update={"accuracy": {"error": error}})
        for name, size, error in (("fp32", 100, 0.05), ("int8", 10, after))
    ]
    limits = {"error": Limit(at_most="1.05x")}
    report = _report(variants=variants, primary_metric="error", metrics=figures, limits=limits)

    assert verdict(report) == (
        f"int8 ships: {words}, 10.0 times as fast; limit error at most 1.05x"
    )
    assert fronts(report)["MACs"] == (["int8"] if after <= 0.05 else ["int8", "fp32"])


def test_metrics_are_explained_as_the_skill_does(tmp_path: Path) -> None:
    page = _page(_report(), tmp_path)
    assert ["share", "of the pixels that are right; higher is better"] in _table_rows(page)
    assert "dominated: for each of the three there is such another" in page


def test_a_variant_that_was_forced_into_the_bundle_is_marked(tmp_path: Path) -> None:
    variants = [_FIRST, _variant("fine", 20, 0.98), _variant("silent", 10, nan)]
    report = _report(variants=variants, forced=["silent"])
    assert [row[-1] for row in _table_rows(_page(report, tmp_path))[:3]] == ["no", "yes", "forced"]


def test_what_is_not_timed_has_no_time_and_is_not_the_fastest(tmp_path: Path) -> None:
    untimed = _variant("trt", 10, 0.99, "trt.onnx").model_copy(update={"latency_ms": {}})
    report = _report(variants=[_FIRST, _variant("pruned", 100, 0.985), untimed])

    page = _page(report, tmp_path)

    assert fronts(report)["time"] == ["pruned", "original fp32"]
    assert fronts(report)["MACs"] == ["trt"]
    assert _table_rows(page)[2][8:11] == ["", "", ""]
    assert "figures above are of pruned" in page
    _, timed, row = rows(report.variants, "share")
    assert "speed" in timed
    assert "speed" not in row


def test_what_the_smaller_input_took_is_told_from_pruning(tmp_path: Path) -> None:
    line = (
        r"Of the MACs 60\.0.% are lost to the smaller input, and 85\.0.% of the rest to pruning\."
    )
    report = _report(macs_lost_to_input=0.6, macs_lost_to_pruning=0.85)
    assert re.search(line, _page(report, tmp_path))
    assert "smaller input" not in _page(_report(), tmp_path)


def test_a_variant_may_be_best_in_one_cost_and_beaten_in_another() -> None:
    slow = _variant("slow", 50, 0.98).model_copy(update={"latency_ms": {"p50": 500.0}})
    twin = slow.model_copy(update={"name": "twin"})
    found = fronts(_report(variants=[_FIRST, _variant("quick", 100, 0.985), slow, twin]))
    assert found["bytes"] == ["slow", "twin", "quick", "original fp32"]
    assert found["time"] == ["quick", "original fp32"]


def test_sections_without_content_are_left_out(tmp_path: Path) -> None:
    kept = PrunedLayer(layer="head", before=4, after=4, tied_to="")
    page = _page(_report(layers=[kept], tensors={"cpu.onnx": []}), tmp_path)
    always = [
        *_COSTS,
        "Time of one frame or decision",
        "Variants",
        "Every metric on held-out data",
    ]
    assert _titles(page) == [*always, *END]

    stage = Stage(
        sensitivity=None,
        rates={},
        lost={},
        pruned_accuracy=0.5,
        accuracy=nan,
        curve=[],
        evaluations=[],
        seconds=0,
    )
    page = _page(_report(stages=[stage]), tmp_path)
    stages = "Stages: share on the validation split"
    assert _titles(page) == [*always, stages, *END]
    assert ["stage 0", "-", "-", "0.5000", "-", "0.0"] in _table_rows(page)


def test_without_a_bundle_nothing_is_said_to_be_in_one(tmp_path: Path) -> None:
    report = _report(variants=[_FIRST, _variant("pruned", 9, nan)], bundle_digest="")
    page = _page(report, tmp_path)
    assert "No bundle was written" in page
    assert [row[-1] for row in _table_rows(page)[:2]] == ["no", "no"]
    assert fronts(report)["MACs"] == ["original fp32"]


def test_tensors_stand_worst_first_and_those_in_float_are_marked(tmp_path: Path) -> None:
    errors = {"fine": 40.0, "none": nan, "bad": 3.0, "perfect": inf, "worst": -1.0}
    tensors = [
        TensorError(tensor=name, low=0, high=1, sqnr_db=value, kept_float=name == "bad")
        for name, value in errors.items()
    ]
    rows = [r for r in _table_rows(_page(_report(tensors={"t": tensors}), tmp_path)) if len(r) == 5]
    assert [row[0] for row in rows[:3]] == ["worst", "bad", "fine"]
    assert [row[0] for row in rows if row[4]] == ["bad"]


@pytest.fixture
def nasty() -> CompressionReport:
    """Return a report of which every part is there, with names that try to be markup."""
    return _report(
        variants=[_FIRST, _variant(_NASTY, 10, 0.98), _variant("out", 5, 0.9)],
        failures=[Failure(variant="out", reason=_NASTY)],
        stages=[
            Stage(
                sensitivity=_sensitivity((_NASTY, 0.6), ("b", 0.4)),
                rates={_NASTY: 0.5},
                lost={"macs": 0.5, "parameters": 0.25},
                pruned_accuracy=0.3,
                accuracy=0.97,
                curve=[(1, 9.0), (2, 0.5)],
                evaluations=[(2, 0.97)],
                seconds=60,
            )
        ],
        layers=[PrunedLayer(layer=_NASTY, before=8, after=4, tied_to="")],
        aware_curve=[(1, 0.5)],
        tensors={_NASTY: [TensorError(tensor=_NASTY, low=-1, high=1, sqnr_db=9, kept_float=False)]},
        export_difference={_NASTY: 1e-7},
    )


def test_pages_need_nothing_else_and_read_no_name_as_markup(
    nasty: CompressionReport, tmp_path: Path
) -> None:
    page = _page(nasty, tmp_path)
    report = SensitivityReport(
        skill="blob",
        name="small",
        created="now",
        primary_metric=_NASTY,
        metrics={_NASTY: METRICS["share"]},
        sensitivity=_sensitivity((_NASTY, 1.0)),
        allocations={_NASTY: {_NASTY: 0.5}},
        source=_SOURCE,
        tools={_NASTY: "1"},
        host={},
    )
    render_sensitivity(report, tmp_path / "sensitivity.html")

    for part in ("during training", "Stages", "Groups by stage", "Layers", "every tensor"):
        assert any(part in title for title in _titles(page))
    for text in (page, (tmp_path / "sensitivity.html").read_text()):
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert not re.search(r"(src|href)=.(?!data:|#)|url\((?!#)|@import", text)


def test_the_most_sensitive_group_stands_first(tmp_path: Path) -> None:
    report = SensitivityReport(
        skill="blob",
        name="small",
        created="now",
        primary_metric="share",
        metrics=METRICS,
        sensitivity=_sensitivity(("calm", 0.1), ("touchy", 0.7), ("middling", 0.2)),
        allocations={"uniform": {"calm": 0.5}, "sensitivity": {"calm": 0.9, "touchy": 0.1}},
        source=_SOURCE,
        tools={},
        host={},
    )
    render_sensitivity(report, tmp_path / "sensitivity.html")
    page = (tmp_path / "sensitivity.html").read_text()

    assert sensitivity_verdict(report) == (
        "touchy matters most (70 % of what share lost in all trials), calm least (10 %)"
    )
    assert sensitivity_verdict(report) in page
    groups, trials = _table_rows(page)[:3], _table_rows(page)[3:15]
    assert [row[0] for row in groups] == ["touchy", "middling", "calm"]
    assert groups[0][1:] == [
        "touchy.skip",
        "8",
        *("70.0 %", "35.0 %"),
        *("2.5 % / 5.0 %", "7.5 % / 15.0 %"),
    ]
    assert trials[0] == ["touchy", "l1", "25.0 %", "0.8150", "2.5 %", "5.0 %"]
    assert {len(trial) for trial in trials} == {6}


def test_a_network_without_groups_has_a_page_of_its_own(tmp_path: Path) -> None:
    report = SensitivityReport(
        skill="blob",
        name="small",
        created="now",
        primary_metric="share",
        metrics=METRICS,
        sensitivity=Sensitivity(accuracy=0.9, groups=[]),
        allocations={},
        source=_SOURCE,
        tools={},
        host={},
    )
    render_sensitivity(report, tmp_path / "sensitivity.html")
    page = (tmp_path / "sensitivity.html").read_text()
    assert _titles(page) == END
    assert "no group of layers can be pruned" in page
