"""A DDS domain of its own on loopback, so that a replay neither hears nor disturbs a robot.

Also the transport of the images: Fast DDS sends them to processes of the same machine through a
shared memory segment of 512 KiB by default. A raw image does not fit in, and its fragments
overwrite each other before the node has read them: of 1280x720 images at 30 Hz half were lost on
a machine with two busy cores. The segment belongs to the sender, so the node under test keeps its
own configuration.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_runtime.errors import SuiteError
from edge_runtime.host import tool_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# RTPS 2.2, 9.6.1: unicast discovery of a domain's first participant listens on this UDP port.
_PORT_BASE = 7400
_PORTS_PER_DOMAIN = 250
_FIRST_PARTICIPANT = 10
# Above 101 the ports reach the range from which Linux hands out ephemeral ones.
_DOMAINS = range(1, 102)


_SEGMENT_BYTES = 128 * 1024**2
_PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
# Read up to Jazzy; from Kilted on (rclpy 9) it is deprecated, and Fast DDS complains of it.
_OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_RCLPY_OF_KILTED = 9
_PROFILE = f"""<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>memory</transport_id>
      <type>SHM</type>
      <segment_size>{_SEGMENT_BYTES}</segment_size>
      <maxMessageSize>{_SEGMENT_BYTES // 4}</maxMessageSize>
    </transport_descriptor>
    <transport_descriptor>
      <transport_id>loopback</transport_id>
      <type>UDPv4</type>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="replay" is_default_profile="true">
    <rtps>
      <userTransports>
        <transport_id>memory</transport_id>
        <transport_id>loopback</transport_id>
      </userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""


@contextmanager
def private_domain() -> Iterator[int]:
    """Set the environment that this process and the node read, and yield the domain's id."""
    domain = _free_domain()
    ours = {"ROS_DOMAIN_ID": str(domain), "RCUTILS_COLORIZED_OUTPUT": "0"}
    if os.environ.get("ROS_DISTRO") == "humble":
        ours["ROS_LOCALHOST_ONLY"] = "1"
    else:
        ours["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with _environment(ours):
        yield domain


@contextmanager
def large_messages() -> Iterator[None]:
    """Let participants that this process makes meanwhile send large messages without loss.

    A profile that the user has set stays; middlewares other than Fast DDS ignore it.
    """
    if _PROFILE_VARIABLE in os.environ or _OLD_PROFILE_VARIABLE in os.environ:
        yield
        return
    old = int(tool_versions("rclpy").get("rclpy", "0").partition(".")[0]) < _RCLPY_OF_KILTED
    names = (_PROFILE_VARIABLE, _OLD_PROFILE_VARIABLE) if old else (_PROFILE_VARIABLE,)
    with tempfile.NamedTemporaryFile("w", suffix=".xml", encoding="utf-8") as file:
        file.write(_PROFILE)
        file.flush()
        with _environment(dict.fromkeys(names, file.name)):
            yield


@contextmanager
def _environment(ours: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _free_domain() -> int:
    # At random, because two replays that start together would both find the lowest one free.
    for domain in random.sample(_DOMAINS, len(_DOMAINS)):
        port = _PORT_BASE + _PORTS_PER_DOMAIN * domain + _FIRST_PARTICIPANT
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return domain
    message = f"all DDS domains from {_DOMAINS[0]} to {_DOMAINS[-1]} are in use on this machine"
    raise SuiteError(message)
