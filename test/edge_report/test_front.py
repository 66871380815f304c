"""The front holds what a reader could sensibly choose, and nothing else."""

from __future__ import annotations

from math import inf, nan

from edge_report.front import pareto_front


def test_a_point_that_another_one_beats_is_not_on_the_front() -> None:
    points = {
        "big": (9.0, 0.99),
        "as dear, worse": (9.0, 0.98),
        "dearer, no better": (10.0, 0.99),
        "small": (1.0, 0.90),
        "between": (5.0, 0.95),
        "worse than between": (6.0, 0.94),
    }
    assert pareto_front(points) == ["small", "between", "big"]


def test_of_an_error_less_is_better() -> None:
    points = {"big": (9.0, 0.01), "small": (1.0, 0.1), "worse": (9.0, 0.02)}
    assert pareto_front(points, "lower") == ["small", "big"]


def test_equal_points_are_all_on_the_front() -> None:
    assert sorted(pareto_front({"a": (1, 0.5), "b": (1, 0.5), "c": (2, 0.5)})) == ["a", "b"]


def test_points_without_numbers_neither_stand_nor_beat() -> None:
    assert pareto_front({"a": (1, nan), "b": (nan, 0.9), "c": (0, inf), "d": (2, 0.1)}) == ["d"]
    assert pareto_front({}) == []
