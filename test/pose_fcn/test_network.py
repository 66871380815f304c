from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra [compress]")

from pose_fcn.network import FCNPose  # noqa: E402


def test_size_is_the_published_one() -> None:
    assert sum(parameter.numel() for parameter in FCNPose().parameters()) == 131_705


@pytest.mark.parametrize("widths", [(32, 40, 40, 48, 48), (3, 5, 7, 9, 11)])
def test_maps_have_half_the_resolution_and_lie_in_0_to_1(widths: tuple[int, ...]) -> None:
    network = FCNPose(widths).eval()
    maps = network(torch.rand(2, 3, 96, 160))
    assert maps.shape == (2, 9, 48, 80)
    assert 0 <= maps.min() <= maps.max() <= 1


def test_depth_of_the_network_is_as_published() -> None:
    kinds = [type(module).__name__ for module in FCNPose().modules()]
    assert kinds.count("Conv2d") == 10
