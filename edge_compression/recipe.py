"""The recipe: one validated YAML file that says what is trained, pruned, tuned and quantised."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic.json_schema import GenerateJsonSchema

from edge_compression.limits import Limit  # noqa: TC001 - pydantic reads it
from edge_compression.protocol import OwnTrainer, RecipePath
from edge_runtime.errors import SettingError
from edge_runtime.share import share_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_compression.protocol import CompressibleSkill

_Model = TypeVar("_Model", bound=BaseModel)

Share = Annotated[float, Field(gt=0, lt=1)]
Saliency = Literal["l1", "taylor"]
Evaluated = Literal["all", "this_processor"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainSettings(_Section):
    """AdamW with a one-cycle learning rate."""

    steps: int = Field(gt=0, description="optimiser steps")
    batch_size: int = Field(gt=0, description="images per step")
    learning_rate: float = Field(gt=0, le=1, description="highest of the one-cycle schedule")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's decoupled decay")
    clip_norm: float = Field(default=1.0, gt=0, description="longest gradient, larger is scaled")
    seed: int = Field(default=0, ge=0, description="of the first weights and of the data stream")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="bf16: forward pass under autocast, weights stay float32"
    )
    device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="where it trains and is evaluated meanwhile; cuda: a GPU"
    )
    normalise: bool = Field(
        default=False,
        description="batch normalisation behind the convolutions while they train, which bears a "
        "higher learning_rate; it ends up in their weights and costs the network nothing",
    )
    evaluate_every: int | None = Field(
        default=None,
        gt=0,
        description="steps between evaluations on the validation split, of which the best weights "
        "are kept; left out: the last weights are",
    )
    patience: int | None = Field(
        default=None,
        gt=0,
        description="evaluations without a better one after which training ends early",
    )

    @model_validator(mode="after")
    def _patience_waits_for_something(self) -> TrainSettings:
        if self.patience is not None and self.evaluate_every is None:
            message = "patience counts evaluations: give evaluate_every, too"
            raise ValueError(message)
        return self


class TuneSettings(TrainSettings):
    """Training of a network that has been made smaller."""

    distil: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of a larger network's outputs in what the small one is to learn: of "
        "the unpruned one or that of an earlier stage, whichever validates best",
    )
    interpolation: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the tuned weights in the result, the rest being those from before: "
        "a network that learns more forgets less (WiSE-FT, Wortsman et al. 2022). Not with prune",
    )
    before: int | None = Field(
        default=None,
        gt=0,
        description="steps before anything is pruned: a network that is used to smaller pictures "
        "shows better which filters it needs, and teaches better; default: none",
    )
    between: int | None = Field(
        default=None, gt=0, description="steps after a stage that is not the last; default: steps"
    )


class PruneSettings(_Section):
    """Which filters go, and how many of each layer."""

    macs: Share | None = Field(default=None, description="share of the MACs to lose")
    parameters: Share | None = Field(
        default=None, description="share of the parameters to lose; with `macs` both are met"
    )
    saliency: Saliency = Field(
        default="l1",
        description="what ranks a layer's filters. l1: magnitude of the weights; taylor: what the "
        "loss would change without the filter, to first order",
    )
    allocation: Literal["sensitivity", "uniform", "ranked"] = Field(
        default="sensitivity",
        description="how the loss is shared out. sensitivity: layers that cost much and matter "
        "little lose most; uniform: all lose the same share; ranked: the least salient filters go, "
        "wherever they are",
    )
    stages: int = Field(
        default=1, gt=0, description="pruned and tuned in turns, the same share each time"
    )
    trial_rates: tuple[Share, ...] = Field(
        default=(0.25, 0.5, 0.75),
        min_length=1,
        description="shares of a layer's filters that sensitivity trials prune",
    )
    multiple_of: int = Field(
        default=1, gt=0, description="of which every layer keeps a multiple, for SIMD kernels"
    )

    @model_validator(mode="after")
    def _has_a_target(self) -> PruneSettings:
        if not self.targets:
            message = "nothing is to be pruned: give macs or parameters, or leave `prune` out"
            raise ValueError(message)
        return self

    @property
    def targets(self) -> dict[str, float]:
        """Shares to lose by what they are of: "macs", "parameters"."""
        wanted = {"macs": self.macs, "parameters": self.parameters}
        return {name: share for name, share in wanted.items() if share is not None}


class QuantiseSettings(_Section):
    """Static INT8 quantisation of the exported graph."""

    calibration_images: int = Field(
        default=64, gt=0, description="frames or decisions that set the ranges"
    )
    method: Literal["minmax", "entropy", "percentile", "best"] = Field(
        default="minmax",
        description="how an activation's range is found from what was observed; best: all three, "
        "and the one that validates best ships",
    )
    seed: int = Field(default=0, ge=0, description="of the choice of images")
    keep_float: tuple[str, ...] | dict[str, tuple[str, ...]] = Field(
        default=(),
        description="tensors of the exported graph that are not quantised; with several models a "
        "list for each",
    )
    saturate: dict[str, dict[str, Annotated[float, Field(gt=0)]]] = Field(
        default_factory=dict,
        description="by model, activations of the exported graph and where their range ends at the "
        "latest, whatever the calibration saw: larger values count as that, so that small ones are "
        "told apart",
    )
    limits: dict[str, Limit] = Field(
        default_factory=dict,
        description="by metric, of quantising alone, on the validation split; 1x is the float "
        "engine's: while one is not met, the tensors with the worst error are kept in float",
    )
    aware: TrainSettings | None = Field(
        default=None, description="training with simulated quantisation before it is done"
    )


class Recipe(_Section):
    """One recipe file. Paths are relative to it."""

    skill: str = Field(description="entry-point name in the group compressed_grasp.skills")
    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="of the bundle")
    checkpoint: RecipePath | None = Field(
        default=None, description="weights that `compress run` and `compress train` start from"
    )
    network: dict[str, Any] = Field(
        default_factory=dict,
        description="what `compress train` makes, described as in the skill's checkpoints; left "
        "out: the checkpoint's, or the skill's default. With `checkpoint`: wider than that, and "
        "computing the same to begin with, where the skill can (slam)",
    )
    data: dict[str, Any] = Field(default_factory=dict, description="the skill's own section")
    train: dict[str, Any] | None = Field(
        default=None,
        description="for `compress train`: as below, or as the skill's own trainer wants it",
    )
    prune: PruneSettings | None = Field(default=None, description="absent: nothing is pruned")
    finetune: TuneSettings | None = Field(
        default=None, description="after every stage of pruning; absent: no training after"
    )
    fp16: bool = Field(default=False, description="also make an engine in half precision")
    quantise: QuantiseSettings | None = Field(default=None, description="absent: no int8 engine")
    evaluate: Evaluated = Field(
        default="all",
        description="which engines are evaluated on held-out data. this_processor: those that this "
        "machine's processor has kernels for; the others (half precision, for Arm, for TensorRT) "
        "take long here, and ship without figures, under no limit",
    )
    limits: dict[str, Limit] = Field(
        default_factory=dict,
        description="by metric, on held-out data; 1x is the checkpoint's: an engine that does not "
        "meet them is not put into the bundle, unless --force is given",
    )

    @model_validator(mode="after")
    def _stages_fit_the_pruning(self) -> Recipe:
        if self.finetune is not None and self.finetune.before and self.prune is None:
            message = (
                "finetune.before counts the steps before pruning, and there is no `prune`: give "
                "`steps` alone"
            )
            raise ValueError(message)
        if self.finetune is not None and self.finetune.interpolation < 1 and self.prune is not None:
            message = (
                "finetune.interpolation mixes the tuned weights with those from before, which "
                "pruning has spoilt: leave one of the two out"
            )
            raise ValueError(message)
        between = self.finetune.between if self.finetune is not None else None
        if between is not None and (self.prune is None or self.prune.stages == 1):
            message = (
                "finetune.between counts the steps between stages of pruning: give prune.stages = "
                "2 or more, or leave `between` out"
            )
            raise ValueError(message)
        return self


class LoadedRecipe:
    """A recipe, the text that it was read from and the skill's data section.

    Attributes:
        recipe: the validated recipe.
        source: the YAML as plain values, as written, for the manifest.
        sha256: of the source, whatever its spacing, comments and order of keys.
    """

    def __init__(self, path: Path, recipe: Recipe, source: dict[str, Any]) -> None:
        """Keep the parts together."""
        self.path = path
        self.recipe = recipe
        self.source = source
        canonical = json.dumps(source, sort_keys=True, default=str)
        self.sha256 = hashlib.sha256(canonical.encode()).hexdigest()

    def data(self, model: type[BaseModel]) -> BaseModel:
        """Validate the `data` section with the skill's model.

        Raises:
            SettingError: a value is refused; the message names it.
        """
        return _validated(model, self.recipe.data, self.path, prefix="data.")

    def train(self, model: type[BaseModel]) -> BaseModel | None:
        """Validate the `train` section, if there is one.

        Raises:
            SettingError: a value is refused; the message names it.
        """
        if self.recipe.train is None:
            return None
        return _validated(model, self.recipe.train, self.path, prefix="train.")


def train_model(skill: CompressibleSkill) -> type[BaseModel]:
    """Return what the `train` section of a skill's recipes is made of."""
    return skill.train_model if isinstance(skill, OwnTrainer) else TrainSettings


def recipe_schema(skill: CompressibleSkill | None) -> dict[str, Any]:
    """Return the JSON schema of recipes, by which editors complete and check what is typed.

    With a skill, it is that of the skill's recipes, whose `data` section is known.
    """
    model: type[BaseModel] = create_model(
        "Recipe", __base__=Recipe, train=(TrainSettings | None, None)
    )
    if skill is not None:
        data = skill.data_model
        train: Any = train_model(skill)
        required = any(field.is_required() for field in data.model_fields.values())
        model = create_model(
            "Recipe",
            __base__=Recipe,
            skill=(str, Field(json_schema_extra={"const": skill.name})),
            data=(data, ...) if required else (data, Field(default_factory=data)),
            train=(train | None, None),
        )
    return {"$schema": GenerateJsonSchema.schema_dialect, **model.model_json_schema()}


def load_recipe(path: Path) -> LoadedRecipe:
    """Read and validate a recipe.

    Raises:
        SettingError: no such file, no YAML, or a value is refused; the message names it.
    """
    try:
        source = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one
    except OSError as error:
        shipped = share_directory() / "config" / "recipes"
        message = (
            f"recipe '{path}' cannot be read ({error.strerror}): give a YAML file; those that ship "
            f"are in {shipped}"
        )
        raise SettingError(message) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        message = f"recipe '{path}' is not YAML: {reason}"
        raise SettingError(message) from error
    if not isinstance(source, dict):
        message = f"recipe '{path}' must be a mapping with the keys {_keys(Recipe)}"
        raise SettingError(message)
    recipe = _validated(Recipe, source, path, prefix="")
    try:
        return LoadedRecipe(path, recipe, source)
    except (TypeError, ValueError) as error:
        message = f"recipe '{path}' cannot be noted as JSON ({error}): let all keys be words"
        raise SettingError(message) from error


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML's readers take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - its text or None
        node = super().compose_mapping_node(anchor)
        words = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, key in enumerate(words):
            if key.value in {other.value for other in words[:place]}:
                message = f"the key '{key.value}' is there twice"
                raise yaml.composer.ComposerError(None, None, message, key.start_mark)
        return node


def _validated(model: type[_Model], values: object, path: Path, prefix: str) -> _Model:
    try:
        return model.model_validate(values, context={"folder": path.resolve().parent})
    except ValidationError as error:
        first = error.errors()[0]
        key = prefix + ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            parent = _section(model, first["loc"][:-1])
            message = f"recipe '{path}': unknown key '{key}'; allowed: {_keys(parent)}"
        elif first["type"] == "missing":
            message = f"recipe '{path}': the key '{key}' is missing: add it"
        elif not first["loc"]:  # several keys do not go together
            message = f"recipe '{path}' is refused: {first['msg']}"
        else:
            message = f"recipe '{path}': {key} = {first['input']!r} is refused: {first['msg']}"
        raise SettingError(" ".join(message.split())) from error


def _section(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """Follow field names into nested models, through `Model | None`, lists and mappings of them."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is not None:  # and not a place in a list or a mapping
            model = next(_models(field.annotation), model)
    return model


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)
