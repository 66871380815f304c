"""A DDS domain of its own on loopback, so that a replay neither hears nor disturbs a robot."""

from __future__ import annotations

import os
import random
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_runtime.errors import SuiteError
from edge_runtime.transport import profile_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# RTPS 2.2, 9.6.1: unicast discovery of a domain's first participant listens on this UDP port.
_PORT_BASE = 7400
_PORTS_PER_DOMAIN = 250
_FIRST_PARTICIPANT = 10
# Above 101 the ports reach the range from which Linux hands out ephemeral ones.
_DOMAINS = range(1, 102)


@contextmanager
def private_domain() -> Iterator[int]:
    """Set the environment that this process and the node read, and yield the domain's id."""
    domain = _free_domain()
    ours = {"ROS_DOMAIN_ID": str(domain), "RCUTILS_COLORIZED_OUTPUT": "0"}
    if os.environ.get("ROS_DISTRO") == "humble":
        ours["ROS_LOCALHOST_ONLY"] = "1"
    else:
        ours["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with _environment(ours), _environment(profile_environment()):
        yield domain


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
