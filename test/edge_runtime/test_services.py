"""A node that is asked: its services, its reset, and answers on request."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from node_harness import Client, NodeProcess, image, wait_until
from std_srvs.srv import SetBool, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]

PROGRAM = Path(__file__).with_name("deciding.py")


@pytest.fixture
def start(bundle_path: Path) -> Iterator[Any]:
    """Start the node with parameters; give it and a client that it listens to."""
    running = []

    def begin(**values: object) -> tuple[NodeProcess, Client]:
        given = {"bundle": bundle_path, "camera_pose": "0 0 1.5 1 0 0 0", **values}
        words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
        node = NodeProcess("--ros-args", *words, program=PROGRAM)
        client = Client(name="deciding")
        running.extend([client, node])
        publishers = (client.image, client.depth, client.info)
        wait_until(lambda: all(p.get_subscription_count() for p in publishers), "subscriptions")
        wait_until(lambda: client.is_there("/deciding/mean"), "its output")
        time.sleep(0.5)
        return node, client

    yield begin
    for one in running:
        one.__exit__(None, None, None)


def answered(client: Client, stamp: float, size: int = 4) -> Any:  # noqa: ANN401
    """Send an image and ask until it is the newest that has arrived."""
    message = image(size, size)
    client.send(message, stamp)
    want = f"{message.header.stamp.sec}.{message.header.stamp.nanosec:09d}"
    wait_until(lambda: want in client.call(Trigger, "decide").message, f"a decision on {want}")
    while (result := client.result()).header.stamp != message.header.stamp:
        pass
    return result


def test_a_decision_answers_the_newest_image_when_it_is_asked_for(start: Any) -> None:  # noqa: ANN401
    _, client = start()
    refused = client.call(Trigger, "decide")
    assert not refused.success
    assert refused.message.startswith("no image yet: none came on /image")
    for second in (1, 2, 3):
        client.send(image(4, 4), second)
    time.sleep(0.5)
    assert client.results.empty()
    # Twice at once: both are answered, one after the other.
    futures = [client.begin(Trigger, "decide") for _ in range(2)]
    wait_until(lambda: all(future.done() for future in futures), "both decisions")
    assert [future.result().success for future in futures] == [True, True]
    assert {future.result().message for future in futures} == {
        "answered the image of 3.000000000 s"
    }
    answers = [client.result() for _ in futures]
    assert [answer.header.stamp.sec for answer in answers] == [3, 3]
    assert [answer.point.y for answer in answers] == [1, 2]
    assert [answer.point.z for answer in answers] == [1.5, 1.5]


def test_a_request_that_takes_long_holds_up_nothing_else(start: Any) -> None:  # noqa: ANN401
    _, client = start()
    answered(client, 1)
    assert client.set("delay_s", 4.0) == ""
    slow = client.begin(Trigger, "decide")
    begun = time.monotonic()
    assert client.set("latency_budget_ms", 5.0) == ""
    assert client.state() == "active"
    assert time.monotonic() - begun < 2
    assert not slow.done()
    # What is deactivated finishes what is in work, and refuses what waits.
    late = client.begin(SetBool, "save", data=True)
    time.sleep(0.5)  # services keep no order among them
    assert client.change("deactivate")
    wait_until(lambda: slow.done() and late.done(), "both answers")
    assert slow.result().success
    assert not late.result().success
    assert late.result().message == "the node is no longer active"
    refused = client.call(Trigger, "decide")
    assert refused.message == "~/decide is refused: the node is inactive; activate it first"
    assert not refused.success


def test_what_a_service_raises_is_its_answer_and_the_node_lives(start: Any) -> None:  # noqa: ANN401
    node, client = start()
    assert client.call(SetBool, "save", data=True).message == "kept 0"
    refused = client.call(SetBool, "save", data=False)
    assert not refused.success
    assert refused.message == "nothing was kept: data is false; ask with true"
    node.wait_for("[WARN]", "~/save: nothing was kept")
    client.send(image(13, 13), 1)
    time.sleep(0.3)
    failed = client.call(Trigger, "decide")
    assert not failed.success
    assert failed.message.startswith("RuntimeError: unlucky (deciding.py:")
    client.send(image(4, 4, step=3), 2)
    time.sleep(0.3)
    assert "at least 4" in client.call(Trigger, "decide").message
    assert answered(client, 3).point.x == pytest.approx(100.0)
    assert not node.matching("Traceback")


def test_a_reset_reaches_the_algorithm(start: Any) -> None:  # noqa: ANN401
    _, client = start(mode="continuous")
    stamps = itertools.count(10)
    wait_until(lambda: _asked(client, next(stamps)), "the first answer")
    before = client.ask(image(4, 4), next(stamps)).point.y
    assert client.ask(image(4, 4), next(stamps)).point.y == before + 1
    assert client.call(Trigger, "reset").success
    # What began anew may have any stamp.
    assert client.ask(image(4, 4), 5).point.y == 1
    assert client.ask(image(4, 4), 6).point.y == 2
    # A bag that begins again: its first image is refused, the next one is the first of the new.
    client.send(image(4, 4), 1)
    wait_until(lambda: client.counts("input")["rejected"] == "1", "the refusal")
    assert client.ask(image(4, 4), 2).point.y == 1
    assert client.change("deactivate")
    assert client.change("activate")
    wait_until(lambda: _asked(client, next(stamps)), "an answer after the activation")
    assert client.result().point.y < 3
    assert "every image is answered" in client.call(Trigger, "decide").message


def _asked(client: Client, stamp: float) -> bool:
    client.send(image(4, 4), stamp)
    time.sleep(0.1)
    return not client.results.empty()
