"""Whether the shipped Fast DDS profile is taken, and by which name."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from edge_runtime import transport
from edge_runtime.transport import profile_environment

NEW, OLD = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NEW, OLD, "FASTDDS_BUILTIN_TRANSPORTS", "ROS_DISTRO", "ROS_LOCALHOST_ONLY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("rclpy", "names"), [("9.1.2", {NEW}), ("7.1.0", {NEW, OLD})])
def test_the_profile_is_named_as_the_distribution_reads_it(
    rclpy: str, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "tool_versions", lambda name: {name: rclpy})
    chosen = profile_environment()
    assert set(chosen) == names
    assert len(set(chosen.values())) == 1
    ET.parse(Path(chosen[NEW]))  # noqa: S314 - our own file


@pytest.mark.parametrize(
    "variables",
    [
        {NEW: "/etc/mine.xml"},
        {OLD: "/etc/mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"},
        {"ROS_DISTRO": "humble", "ROS_LOCALHOST_ONLY": "1"},
    ],
)
def test_what_the_user_chose_stays(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert profile_environment() == {}
