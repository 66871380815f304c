"""The training loop of `compress train` and of fine-tuning; it goes on where it was cut off."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from tqdm import tqdm

from edge_compression.checkpoint import save_checkpoint
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import BaseModel
    from torch import Tensor, nn

    from edge_compression.protocol import Batch, CompressibleSkill
    from edge_compression.recipe import TrainSettings

_WARM_UP = 0.1  # share of the steps in which the learning rate rises
_FIRST_RATE = 0.04  # of the highest
_LAST_RATE = 0.001
_CURVE_POINTS = 200
_PREFETCHED = 4

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_LOG_INTERVAL = 30.0  # seconds


@dataclass
class TrainingLog:
    """What a training leaves beside the weights.

    Attributes:
        curve: (step, mean loss since the point before), about 200 of them.
        seconds: spent in training, over all its sittings.
    """

    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


def train(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    settings: TrainSettings,
    state_file: Path,
    *,
    save_every: float = 60.0,
) -> TrainingLog:
    """Train the network in place; it is left in evaluation mode.

    The state is saved to `state_file` every `save_every` seconds and at the end. Where the file
    already is, training goes on from it, and the result is the same, bit for bit, as that of a
    training in one sitting on the same machine with the same number of threads. The file is also
    a checkpoint: it has the weights so far.

    Raises:
        SettingError: the state file is of another training, or the loss is not finite.
    """
    # Moments of filters at rest decay into denormal numbers, which the CPU handles slowly.
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    identity = _identity(skill, network, data, settings)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    log = TrainingLog()
    start = 0
    if state_file.exists():
        start = _resume(state_file, identity, network, optimiser, log)

    def save(step: int) -> None:
        save_checkpoint(
            state_file,
            skill,
            network,
            optimiser=optimiser.state_dict(),
            identity=identity,
            step=step,
            curve=log.curve,
            seconds=log.seconds,
        )

    began = saved = time.monotonic()
    earlier = log.seconds
    interval = max(1, settings.steps // _CURVE_POINTS)
    since_point: list[float] = []
    stream = skill.batches(data, "train", settings.batch_size, settings.seed, start)
    with (
        _Prefetcher(stream, settings.steps - start) as batches,
        _progress(settings.steps, start) as bar,
    ):
        for step, batch in enumerate(batches, start + 1):
            rate = settings.learning_rate * _one_cycle(step / settings.steps)
            since_point.append(_step(skill, network, optimiser, batch, settings, rate=rate))
            if not math.isfinite(since_point[-1]):
                message = (
                    f"the loss is {since_point[-1]} at step {step}: lower learning_rate "
                    f"(now {settings.learning_rate:g}) or look for bad values in the data"
                )
                raise SettingError(message)
            bar.update()
            # A save falls on a point of the curve only, so that no loss is lost between the two.
            if step % interval == 0 or step == settings.steps:
                log.curve.append((step, math.fsum(since_point) / len(since_point)))
                bar.set_postfix(loss=f"{log.curve[-1][1]:.4g}", lr=f"{rate:.2g}", refresh=False)
                since_point.clear()
                now = time.monotonic()
                log.seconds = earlier + now - began
                if now - saved >= save_every or step == settings.steps:
                    save(step)
                    saved = now
    network.eval()
    return log


def _progress(steps: int, start: int) -> tqdm[NoReturn]:
    # A file that the output goes to gets a line now and then, a terminal a moving bar.
    interval = 0.2 if sys.stderr.isatty() else _LOG_INTERVAL
    return tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True, mininterval=interval)


def _keep_freed_memory() -> None:
    """Reuse the memory of one step's activations for the next instead of returning it.

    With glibc's defaults every step takes large blocks from the system anew, and the page faults
    cost a sixth of the time. Other C libraries have no such switch and are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)


def _step(
    skill: CompressibleSkill,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainSettings,
    *,
    rate: float,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
        loss = skill.loss(network, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
    optimiser.step()
    return loss.item()


def _one_cycle(progress: float) -> float:
    """Share of the highest learning rate at this share of the steps (Smith and Topin 2018)."""
    if progress < _WARM_UP:
        return _FIRST_RATE + (1 - _FIRST_RATE) * progress / _WARM_UP
    fall = 0.5 + 0.5 * math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))
    return _LAST_RATE + (1 - _LAST_RATE) * fall


def weights_digest(network: nn.Module) -> str:
    """Return the sha256 of the names, shapes and values of the network's weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _identity(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel, settings: TrainSettings
) -> str:
    parts: dict[str, Any] = {
        "weights": weights_digest(network),
        "data": data.model_dump(mode="json"),
        "data content": skill.data_digest(data),
        "settings": settings.model_dump(mode="json"),
    }
    return json.dumps(parts, sort_keys=True)


def _resume(
    path: Path,
    identity: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    log: TrainingLog,
) -> int:
    try:
        state = torch.load(path, weights_only=True)
        theirs = json.loads(state["identity"])
    except Exception as error:
        message = f"'{path}' is no state of a training: delete it, or give another --output"
        raise SettingError(message) from error
    ours = json.loads(identity)
    changed = [key for key in ours if ours[key] != theirs.get(key)]
    if changed:
        message = (
            f"'{path}' belongs to a training with other {' and '.join(changed)}: "
            "give another --output, or start over with --restart"
        )
        raise SettingError(message)
    network.load_state_dict(state["state"])
    optimiser.load_state_dict(state["optimiser"])
    log.curve = [(int(step), float(loss)) for step, loss in state["curve"]]
    log.seconds = float(state["seconds"])
    return int(state["step"])


class _Prefetcher:
    """Takes `count` batches from a stream in a thread of its own, a few ahead."""

    def __init__(self, stream: Iterator[Batch], count: int) -> None:
        self._stream = stream
        self._count = count
        self._queue: queue.Queue[Batch | BaseException] = queue.Queue(_PREFETCHED)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)

    def __enter__(self) -> Iterator[Batch]:
        self._thread.start()
        return self._drain()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join()

    def _fill(self) -> None:
        try:
            for _ in range(self._count):
                batch = {key: _channels_last(tensor) for key, tensor in next(self._stream).items()}
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


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.dim() == 4 and tensor.is_floating_point():  # noqa: PLR2004 - NCHW
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor
