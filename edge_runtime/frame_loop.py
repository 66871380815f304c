"""The thread in which a node answers: frames, and between them what its services are asked for."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from edge_runtime.common_settings import MODE, ON_REQUEST
from edge_runtime.errors import MessageError, SettingError
from edge_runtime.interface import decision_message
from edge_runtime.latency import Stopwatch
from edge_runtime.services import Request
from edge_runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.frame import CameraFrame
    from edge_runtime.interface import Input
    from edge_runtime.pictures import Picture
    from edge_runtime.reporter import Reporter

Result = TypeVar("Result")


class Algorithm(Protocol[Result]):
    """What answers a frame: see `SkillNode`."""

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> Result:
        """Compute the result of a frame."""

    def publish(self, frame: CameraFrame, result: Result) -> None:
        """Publish it."""

    def reset(self) -> None:
        """Forget earlier frames."""


class FrameLoop(Generic[Result]):
    """Decodes, answers and times the newest frames, or the newest one on request.

    `pictures`: drawn after the answer, in a thread of their own, so that no answer waits for one.
    """

    def __init__(
        self,
        algorithm: Algorithm[Result],
        images: Sequence[Input],
        topic: str,
        reporter: Reporter,
    ) -> None:
        """Answer by `algorithm` what comes of `images`, the first one on `topic`."""
        self.pictures: list[Picture[Result]] = []
        self._algorithm = algorithm
        self._images = {image.topic: image for image in images}
        self._topic = topic
        self._reporter = reporter
        self._newest: CameraFrame | None = None
        self._worker = Worker(self._serve, self._failed)
        self._painter = Worker(self._paint, reporter.fail)

    def start(self, max_pixels: int, *, on_request: bool) -> None:
        """Begin to answer; compressed images are decoded up to `max_pixels`."""
        self._max_pixels = max_pixels
        self._on_request = on_request
        self._worker.start()
        self._painter.start()

    def stop(self) -> None:
        """Finish the frame in work, refuse the requests that wait, and forget the frames."""
        self._worker.stop()
        self._painter.stop()
        self._newest = None

    def deliver(self, frames: Sequence[CameraFrame]) -> None:
        """Take frames, oldest first: they replace those that wait."""
        if self._on_request:
            self._newest = frames[-1]
        elif dropped := self._worker.give(frames):
            self._reporter.counters.add("dropped", dropped)

    def ask(self, request: Request) -> None:
        """Do what a service is asked for after all that waits now."""
        self._worker.ask(request)

    def forget_newest(self) -> None:
        """Have the next request answered by a frame that is yet to come."""
        self._newest = None

    def begin_anew(self) -> None:
        """Reset the algorithm after all that waits now, without anybody having asked."""
        self.forget_newest()
        self.ask(Request(self._reset_algorithm, ""))

    def reset(self, _request: object, response: Any) -> None:  # noqa: ANN401
        """Do the service `RESET`."""
        self._reset_algorithm()
        response.message = "the next image is a first one"

    def decide(self, _request: object, response: Any) -> None:  # noqa: ANN401
        """Do the service `DECIDE`."""
        asked = time.monotonic()
        if not self._on_request:
            msg = f"the parameter {MODE.name!r} is not {ON_REQUEST!r}: every image is answered"
            raise SettingError(msg)
        newest = self._newest
        if newest is None:
            msg = f"no image yet: none came on {self._topic} since the start or a reset"
            raise MessageError(msg, "no image")
        try:
            self._serve(replace(newest, received=asked, images={}, calibration={}, unusable=[]))
        except Exception as error:
            self._failed(error)
            raise
        stamp = newest.header.stamp
        response.message = decision_message(stamp.sec, stamp.nanosec)

    def _reset_algorithm(self) -> None:
        try:
            self._algorithm.reset()
        except Exception as error:
            self._reporter.fail(error)
            raise

    def _failed(self, error: Exception) -> None:
        if isinstance(error, MessageError):
            self._reporter.reject(error.kind, str(error))
        else:
            self._reporter.fail(error)

    def _serve(self, frame: CameraFrame) -> None:
        stopwatch = Stopwatch()
        stopwatch.add("queue", (time.monotonic() - frame.received) * 1e3)
        with stopwatch.stage("decode"):
            frame.decode(self._images, self._max_pixels)
        for error in frame.unusable:
            self._reporter.incomplete(error.kind, str(error))
        result = self._algorithm.process(frame, stopwatch)
        with stopwatch.stage("publish"):
            self._algorithm.publish(frame, result)
        stopwatch.add("total", (time.monotonic() - frame.received) * 1e3)
        self._reporter.processed(frame.header, stopwatch.stages)
        if any(picture.is_watched for picture in self.pictures):
            self._painter.give([(frame, result)])

    def _paint(self, answered: tuple[CameraFrame, Result]) -> None:
        for picture in self.pictures:
            picture.publish(*answered)
