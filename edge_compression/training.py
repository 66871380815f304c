"""The training loop of `compress train` and of fine-tuning; it goes on where it was cut off."""

from __future__ import annotations

import copy
import ctypes
import math
import time
from typing import TYPE_CHECKING, Any

import torch

from edge_compression import metrics
from edge_compression.evaluation import evaluate_network
from edge_compression.normalising import Normalised
from edge_compression.prefetching import Prefetcher, channels_last
from edge_compression.protocol import DistillableSkill
from edge_compression.teacher import Teacher
from edge_compression.training_state import TrainingLog, resume, training_identity
from edge_runtime.errors import SettingError
from edge_runtime.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.protocol import Batch, SupervisedSkill
    from edge_compression.recipe import TrainSettings

_WARM_UP = 0.1  # share of the steps in which the learning rate rises
_FIRST_RATE = 0.04  # of the highest
_LAST_RATE = 0.001
_CURVE_POINTS = 200
_DRAWS = 2**32  # between the random numbers of one seed and those of the next

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def train(
    skill: SupervisedSkill,
    network: nn.Module,
    data: BaseModel,
    settings: TrainSettings,
    state_file: Path,
    *,
    teacher: nn.Module | None = None,
    share: float = 0.0,
    conditions: Mapping[str, Any] | None = None,
    save_every: float = 60.0,
) -> TrainingLog:
    """Train the network in place; it is left in evaluation mode.

    The state is saved to `state_file` every `save_every` seconds and at the end. Where the file
    already is, training goes on from it, and the result is the same, bit for bit, as that of a
    training in one sitting on the same machine with the same number of threads. The file is also
    a checkpoint: it has the weights so far.

    With `settings.evaluate_every` the network is evaluated on the validation split now and then,
    and is left with the best weights that were seen. From the outputs of `teacher`, if there is
    one, comes `share` of what is to be learnt. `conditions` are what else the result depends on,
    JSON values by name: a state that was made under others is not gone on from.

    On a GPU, which `settings.device` asks for, evaluations run there, too, and the same training
    gives the same weights only as far as its kernels do. The network ends on the processor.

    Raises:
        SettingError: the state file is of another training, the loss is not finite, or there is no
            such device.
    """
    # Moments of filters at rest decay into denormal numbers, which the CPU handles slowly.
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    identity = training_identity(
        skill, network, data, settings, teacher, conditions=conditions or {}
    )
    device = _device(settings)
    for parameter in network.parameters():
        parameter.data = channels_last(parameter.data)
    network.to(device).train()
    excluded = [part for module in skill.unprunable(network) for part in module.modules()]
    trained = Normalised(network, normalise=settings.normalise, excluded=excluded).to(device)
    optimiser = torch.optim.AdamW(
        trained.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    state = resume(state_file, identity, trained, optimiser)
    log = state.log
    began = saved = time.monotonic()
    earlier = log.seconds
    interval = max(1, settings.steps // _CURVE_POINTS)
    since_point: list[float] = []
    left = 0 if state.ended else settings.steps - state.step
    guide = _guide(skill, teacher, share, device)
    stream = skill.batches(data, settings.batch_size, settings.seed, state.step)
    with (
        trained.attached(),
        Prefetcher(stream, left) as batches,
        progress(total=settings.steps, initial=state.step, desc="training", unit="step") as bar,
    ):
        for made in batches:
            state.step += 1
            step = state.step
            rate = settings.learning_rate * _one_cycle(step / settings.steps)
            # For what is drawn inside a network or a loss, such as dropout, whenever this step is.
            torch.manual_seed((_DRAWS * settings.seed + step) % 2**63)
            batch = {key: tensor.to(device, non_blocking=True) for key, tensor in made.items()}
            if guide is not None:
                with _autocast(settings):
                    batch = guide.distillation_batch(batch)
            since_point.append(_step(skill, trained, optimiser, batch, settings, rate=rate))
            _require_finite(since_point[-1], step, settings)
            bar.update()
            if settings.evaluate_every and (
                step % settings.evaluate_every == 0 or step == settings.steps
            ):
                value = evaluate_network(skill, network, data)[skill.primary_metric]
                state.evaluated(value, metrics.primary(skill), trained, settings.patience)
            last = state.ended or step == settings.steps
            # A save falls on a point of the curve only, so that no loss is lost between the two.
            if step % interval == 0 or last:
                log.curve.append((step, math.fsum(since_point) / len(since_point)))
                bar.set_postfix(loss=f"{log.curve[-1][1]:.4g}", lr=f"{rate:.2g}", refresh=False)
                since_point.clear()
                now = time.monotonic()
                log.seconds = earlier + now - began
                if now - saved >= save_every or last:
                    state.save(state_file, identity, skill, trained, optimiser)
                    saved = now
            if state.ended:
                break
    network.load_state_dict(state.best or trained.weights())
    network.cpu().eval()
    return log


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
    skill: SupervisedSkill,
    trained: Normalised,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainSettings,
    *,
    rate: float,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    with _autocast(settings):
        loss = skill.loss(trained.network, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(trained.parameters(), settings.clip_norm)
    optimiser.step()
    return loss.item()


def _autocast(settings: TrainSettings) -> torch.autocast:
    enabled = settings.precision == "bf16"
    return torch.autocast(settings.device, dtype=torch.bfloat16, enabled=enabled)


def _device(settings: TrainSettings) -> torch.device:
    if settings.device == "cuda" and not torch.cuda.is_available():
        message = "device = cuda, but torch finds no GPU: choose cpu, or install its CUDA build"
        raise SettingError(message)
    return torch.device(settings.device)


def _require_finite(loss: float, step: int, settings: TrainSettings) -> None:
    if not math.isfinite(loss):
        message = (
            f"the loss is {loss} at step {step}: lower learning_rate (now "
            f"{settings.learning_rate:g}) or look for bad values in the data"
        )
        raise SettingError(message)


def _guide(
    skill: SupervisedSkill, teacher: nn.Module | None, share: float, device: torch.device
) -> Teacher | None:
    if teacher is None or not share:
        return None
    if not isinstance(skill, DistillableSkill):
        message = (
            f"distil needs a teacher's outputs, which the skill '{skill.name}' does not give (see "
            "edge_compression.protocol.DistillableSkill): leave it out of the recipe"
        )
        raise SettingError(message)
    return Teacher(skill, copy.deepcopy(teacher).to(device), share)


def _one_cycle(progress: float) -> float:
    """Share of the highest learning rate at this share of the steps (Smith and Topin 2018)."""
    if progress < _WARM_UP:
        return _FIRST_RATE + (1 - _FIRST_RATE) * progress / _WARM_UP
    fall = 0.5 + 0.5 * math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))
    return _LAST_RATE + (1 - _LAST_RATE) * fall
