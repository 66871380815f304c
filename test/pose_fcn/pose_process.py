"""The installed `pose_node` as its own process, and a client that talks to it over DDS."""

from __future__ import annotations

import array
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, PointCloud2

from pose_fcn.messages import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 30


@contextmanager
def pose_node(*parameters: str, stderr: Any = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401
    words = [word for parameter in parameters for word in ("-p", parameter)]
    program = Path(sys.executable).with_name("pose_node")
    process = subprocess.Popen([program, "--ros-args", *words], stderr=stderr, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def client() -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("client", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.spin_until = lambda done: spin_until(executor, done)
    node.listen = lambda seconds: listen(executor, seconds)
    try:
        yield node
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def spin_until(executor: SingleThreadedExecutor, done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "no answer"
        executor.spin_once(timeout_sec=0.1)


def listen(executor: SingleThreadedExecutor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)


def message(values: np.ndarray, encoding: str, second: int) -> Image:
    image = Image(height=values.shape[0], width=values.shape[1], encoding=encoding)
    image.header.frame_id = "camera_optical"
    image.header.stamp.sec = second
    image.step = values.strides[0]
    image.data = array.array("B", values.tobytes())
    return image


def read(cloud: PointCloud2) -> np.ndarray:
    assert [field.name for field in cloud.fields] == list(FIELDS)
    return np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, len(FIELDS))
