"""What metrics may become: `limits` of a recipe, absolute or relative to the network as it came."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

_FACTOR = r"(\d+\.?\d*|\.\d+)x"


def _bound(value: float | str) -> float | str:
    good = re.fullmatch(_FACTOR, value) if isinstance(value, str) else math.isfinite(value)
    if not good:
        message = "give a number, or a factor of what the metric was before, such as 0.98x"
        raise ValueError(message)
    return value


Bound = Annotated[
    float | str,
    AfterValidator(_bound),
    WithJsonSchema({"type": ["number", "string"], "pattern": f"^{_FACTOR}$"}),
]
"""A number, or one with an x behind it: that many times the metric of the network as it came."""


class Limit(BaseModel):
    """How bad a metric may become."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: Bound | None = Field(default=None, description="for a metric that is to be high")
    at_most: Bound | None = Field(default=None, description="for a metric that is to be low")

    @model_validator(mode="after")
    def _has_a_bound(self) -> Limit:
        if self.at_least is None and self.at_most is None:
            message = "give at_least or at_most"
            raise ValueError(message)
        return self

    def bounds(self, reference: float) -> tuple[float, float]:
        """Return the lowest and the highest allowed value; `reference` is what 1x means."""
        return (
            -math.inf if self.at_least is None else _value(self.at_least, reference),
            math.inf if self.at_most is None else _value(self.at_most, reference),
        )


def over_limit(
    limits: Mapping[str, Limit], reference: Mapping[str, float], metrics: Mapping[str, float]
) -> str:
    """Say which limits are not met, or nothing where all are; no value meets no limit.

    Args:
        limits: by metric.
        reference: metrics of the network as it came.
        metrics: of what is made of it.
    """
    reasons = []
    for name, limit in limits.items():
        value, before = metrics.get(name, math.nan), reference.get(name, math.nan)
        low, high = limit.bounds(before)
        if not value >= low:  # which also holds where there is no number
            reasons.append(_missed(name, value, f"at least {low:.4f}", limit.at_least, before))
        if not value <= high:
            reasons.append(_missed(name, value, f"at most {high:.4f}", limit.at_most, before))
    return "; ".join(reasons)


def _missed(name: str, value: float, wanted: str, bound: object, before: float) -> str:
    relative = f" ({bound} of {before:.4f})" if isinstance(bound, str) else ""
    return f"{name} is {value:.4f}, {wanted} is wanted{relative}"


def _value(bound: float | str, reference: float) -> float:
    return float(bound[:-1]) * reference if isinstance(bound, str) else bound
