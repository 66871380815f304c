"""Batches made ahead of the training that uses them."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from edge_compression.protocol import Batch

_PREFETCHED = 4


class Prefetcher:
    """Takes `count` batches from a stream in a thread of its own, a few ahead.

    In a `with` block it is the iterator of these batches; an error of the stream is raised there.
    """

    def __init__(self, stream: Iterator[Batch], count: int) -> None:
        """The thread begins with the block."""
        self._stream = stream
        self._count = count
        self._queue: queue.Queue[Batch | BaseException] = queue.Queue(_PREFETCHED)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)

    def __enter__(self) -> Iterator[Batch]:
        """Begin to take batches."""
        if self._count:
            # What a skill makes once for all batches, such as their rendering, is made here: the
            # caller's `joblib.parallel_config` holds for the caller's thread alone.
            self._queue.put(self._next())
        self._thread.start()
        return self._drain()

    def __exit__(self, *_: object) -> None:
        """End, whether or not all were used."""
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join()

    def _next(self) -> Batch:
        return {key: channels_last(tensor) for key, tensor in next(self._stream).items()}

    def _fill(self) -> None:
        try:
            for _ in range(1, self._count):
                batch = self._next()
                while not self._stopped.is_set():
                    try:
                        self._queue.put(batch, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if self._stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the batches are used
            self._queue.put(error)

    def _drain(self) -> Iterator[Batch]:
        for _ in range(self._count):
            batch = self._queue.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch


def channels_last(tensor: Tensor) -> Tensor:
    """Put a tensor of pictures or of their filters into the order that convolutions want."""
    if tensor.dim() == 4 and tensor.is_floating_point():  # noqa: PLR2004 - NCHW
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor
