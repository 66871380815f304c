"""The `train` section of the skill's recipes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Round(BaseModel):
    """Trials to be made, then steps of learning from all trials so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: int = Field(ge=0, description="of trials to be made, about 1,500 in each")
    steps: int = Field(gt=0, description="of learning")


class GraspTraining(BaseModel):
    """The recipe's `train` section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: tuple[Round, ...] = Field(
        min_length=1,
        description="the first learns to grasp, from random trials; those after it learn to push, "
        "too, and half of their trials are what the network of the round before would do",
    )
    discount: float = Field(default=0.5, gt=0, lt=1, description="of the grasp after a push")
    batch_size: int = Field(default=16, gt=0, description="states; some 40 trials each")
    learning_rate: float = Field(default=0.008, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    seed: int = Field(default=1, ge=0)
    processes: int | None = Field(
        default=None, gt=0, description="that make trials; left out: one for each core"
    )
    device: str = Field(
        default="cpu", pattern="^(cpu|cuda)$", description="that learns: cpu or cuda"
    )
    bfloat16: bool = Field(default=True, description="learn under autocast")
