"""The range of shapes that a TensorRT plan is built for."""

from __future__ import annotations

import pytest

from edge_compression.tensorrt_builder import profile_shapes
from edge_runtime.bundle import TensorSpec


@pytest.mark.parametrize(
    ("example", "least", "most"),
    [
        ((1, 3, 192, 256), (64, 64), (384, 512)),
        ((1, 3, 160, 256), (32, 32), (320, 512)),
        ((1, 3, 256, 256), (64, 64), (512, 512)),
        ((2, 3, 30, 40), (2, 2), (60, 80)),
    ],
)
def test_the_range_of_shapes_keeps_what_divides_the_example(
    example: tuple[int, ...], least: tuple[int, int], most: tuple[int, int]
) -> None:
    spec = TensorSpec(name="image", shape=("batch", 3, "height", "width"), dtype="float32")
    found = profile_shapes([spec], [{"image": example}])["image"]
    assert found == ((1, 3, *least), example, (example[0], 3, *most))


def test_a_named_dimension_has_one_range_in_all_inputs() -> None:
    specs = [
        TensorSpec(name="image", shape=("batch", "height", "width"), dtype="float32"),
        TensorSpec(name="edges", shape=("edges", "height"), dtype="float32"),
    ]
    found = profile_shapes(specs, [{"image": (2, 48, 64), "edges": (12, 48)}])
    assert found["image"] == ((1, 4, 4), (2, 48, 64), (2, 96, 128))
    assert found["edges"] == ((4, 4), (12, 48), (24, 96))


def test_a_fixed_input_has_one_shape() -> None:
    spec = TensorSpec(name="image", shape=(1, 3, 30, 40), dtype="float32")
    assert set(profile_shapes([spec], [{"image": (1, 3, 30, 40)}])["image"]) == {(1, 3, 30, 40)}


def test_a_dimension_in_which_examples_differ_has_their_range() -> None:
    spec = TensorSpec(name="net", shape=("edges", 128, "height", "width"), dtype="float32")
    examples = [{"net": (edges, 128, 48, 64)} for edges in (24, 1, 96)]
    least, best, most = profile_shapes([spec], examples)["net"]
    assert least == (1, 128, 16, 16)
    assert best == (24, 128, 48, 64)
    assert most == (96, 128, 96, 128)
