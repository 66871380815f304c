"""A node's services: taken in the executor's thread, done in the worker's."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import ReentrantCallbackGroup

from edge_runtime.errors import one_line
from edge_runtime.ros_types import load_type
from edge_runtime.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from rclpy.node import Node

    from edge_runtime.interface import Service

    Handler = Callable[[Any, Any], None]
    """Does what a request (first) asks for and fills the response; what it raises refuses it."""

_POLL_S = 0.002


class Request(Job):
    """A job that a service callback awaits; what comes of it is why it was refused, "" if done."""

    def __init__(self, work: Callable[[], None], when_cancelled: str) -> None:
        self._work = work
        self._refusal = when_cancelled
        self._done = threading.Event()

    def run(self) -> None:
        """Do it. Called in the worker's thread."""
        try:
            self._work()
            self._refusal = ""
        except Exception as error:  # noqa: BLE001 - the client learns of it, the node lives on
            self._refusal = one_line(error)
        self._done.set()

    def cancel(self) -> None:
        """Let it be refused."""
        self._done.set()

    def __await__(self) -> Generator[None, None, str]:
        """Wait without holding up the executor."""
        # rclpy resumes a waiting callback as often as it can: without a pause it would take the
        # processor from the work that it waits for. Longer ones would delay the next image.
        while not self._done.wait(_POLL_S):
            yield
        return self._refusal


def offer_services(
    node: Node,
    handlers: Mapping[Service, Handler],
    ask: Callable[[Service, Request], str],
) -> None:
    """Create the services of a node.

    `ask` leaves a request with whoever does it, or returns why it is refused. The response's
    `success` and `message` tell the client.
    """
    # Of its own, so that one that waits holds up no other callback.
    group = ReentrantCallbackGroup()
    for service, handler in handlers.items():

        async def answer(
            asked: Any,  # noqa: ANN401
            response: Any,  # noqa: ANN401
            service: Service = service,
            handler: Handler = handler,
        ) -> Any:  # noqa: ANN401
            response.success = True
            request = Request(partial(handler, asked, response), "the node is no longer active")
            refusal = ask(service, request) or await request
            if refusal:
                response.success, response.message = False, refusal
            return response

        node.create_service(load_type(service.type), service.name, answer, callback_group=group)
