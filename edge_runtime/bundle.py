"""Engine bundles: a directory of network files and the manifest that vouches for them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from edge_runtime.errors import BundleError, first_problem
from edge_runtime.external_weights import external_files
from edge_runtime.files import regular_size, sha256, whole_directory, write_whole
from edge_runtime.findings import OldFindings, Precision, Shape
from edge_runtime.old_schemas import OLD_VERSIONS, upgrade
from edge_runtime.records import Record, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "manifest.json"
SCHEMA_VERSION: Literal[3] = 3
# What we write has some kilobytes.
_MOST_BYTES = 4 * 1024**2

Count = Annotated[int, Field(ge=0, lt=2**63)]
ModelName = Annotated[str, Field(pattern=r"^[\w.-]+$")]


class TensorSpec(Record):
    """One input or output of a network.

    `shape` has a name where a dimension is chosen at run time ("batch", "height", "edges"). An
    input made of pixels says how: layout "NCHW" or "NHWC", colour order, and
    normalised = (pixel * scale - mean) / std, per channel in that colour order.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    layout: str | None = None
    colour_order: Literal["RGB", "BGR"] | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class EngineFile(Record):
    """What was measured at export, on the manifest's host, with one network file.

    `macs` of one run; `bytes` on disk; `accuracy` by metric; `latency_ms` of one run, by percentile
    (p50, p95, ...); empty for one that only TensorRT runs as it should.
    """

    precision: Precision
    parameters: Count
    macs: Count
    bytes: Count
    accuracy: dict[str, float]
    latency_ms: dict[str, float]


class Model(Record):
    """One network of a bundle.

    `engines`: by path in the bundle; the file's name says for what it was made ("fp32.onnx",
    "cpu.onnx", "arm.onnx", "fp16.onnx", "trt.onnx"). `examples`: each the shapes of all inputs; on
    the first one was measured, and together they span what the skill uses, such as the least and
    the largest number of edges. None in bundles of schema 1. `calls`: runs for one frame or one
    decision, on average.
    """

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    engines: dict[str, EngineFile]
    examples: list[dict[str, Shape]] = Field(default_factory=list)
    calls: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @property
    def flavours(self) -> dict[str, str]:
        """Paths of the engines by their files' names."""
        return {PurePosixPath(path).name: path for path in self.engines}


class GuardLimit(Record):
    """What a metric of the engines may be; `of`: what the network came with."""

    metric: str
    of: float
    at_least: float | None = None
    at_most: float | None = None


class Guard(Record):
    """The limits that the recipe sets to the engines.

    `forced`: engines that are over a limit and are in the bundle because the user wanted them
    nevertheless.
    """

    limits: list[GuardLimit]
    forced: list[str]

    @model_validator(mode="before")
    @classmethod
    def _of_one_drop(cls, values: object) -> object:
        """Read what bundles before limits have: one metric, and by how much it may drop."""
        if not isinstance(values, dict) or "max_drop" not in values:
            return values
        old = dict(values)
        drop, of = old.pop("max_drop"), old.pop("of", None)
        numbers = isinstance(drop, int | float) and isinstance(of, int | float)
        lowest = of - drop if numbers else None
        return {
            "limits": [{"metric": old.pop("metric", None), "of": of, "at_least": lowest}],
            **old,
        }


class Source(Record):
    """What the engines were made from; `calibration` says which data set the INT8 ranges."""

    checkpoint_sha256: str
    recipe: dict[str, Any]
    recipe_sha256: str
    calibration: str


class Manifest(Record):
    """Everything that is known about a bundle when it is made; nothing is added later.

    `models`: by name. `names`: keypoints or classes in the order of the network's channels.
    `settings`: the skill's own, validated by the skill. `created`: ISO 8601, UTC. `files`: SHA-256
    of every file of the bundle but the manifest, by its path relative to the bundle; filled in by
    `write_bundle`.
    """

    schema_version: Literal[3] = SCHEMA_VERSION
    skill: str
    name: str
    models: Annotated[dict[ModelName, Model], Field(min_length=1)]
    names: list[str]
    settings: dict[str, Any]
    guard: Guard | None = None
    source: Source
    tools: dict[str, str]
    host: dict[str, str]
    created: str
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model of a bundle that has one.

        Raises:
            BundleError: there are several.

        """
        if len(self.models) != 1:
            msg = (
                f"bundle {self.name} has the models {', '.join(self.models)}, where one is "
                f"expected: choose a bundle of one"
            )
            raise BundleError(msg)
        [only] = self.models.values()
        return only

    @property
    def engines(self) -> dict[str, EngineFile]:
        """The engines of all models, by path."""
        return {
            path: engine for model in self.models.values() for path, engine in model.engines.items()
        }


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were checked. `digest`: SHA-256 of manifest.json, names the bundle.

    `old_findings`: of devices, where the manifest is of schema 2 and has some. Now they lie in each
    device's cache: see `edge_runtime.device_cache`.
    """

    path: Path
    manifest: Manifest
    digest: str
    old_findings: OldFindings = field(default_factory=OldFindings)


def load_bundle(path: Path, skill: str | None = None) -> Bundle:
    """Read and check a bundle: schema, skill, the size and the hash of every file.

    Raises:
        BundleError: no bundle there, a missing or altered file, one that the manifest does not
            name, another skill than `skill`, or a manifest that this version does not read.

    """
    if not path.is_dir():
        msg = f"no engine bundle at {path}: `compress run RECIPE --output DIR` makes DIR/bundle"
        raise BundleError(msg)
    text = _read_manifest(path)
    manifest, old_findings = _parse(path, text)
    if skill is not None and manifest.skill != skill:
        msg = (
            f"bundle {path} is for the skill {manifest.skill!r}, not {skill!r}: choose a bundle "
            f"made by a recipe with `skill: {skill}`"
        )
        raise BundleError(msg)
    engines = manifest.engines
    for name, expected in manifest.files.items():
        engine = engines.get(name)
        _check_file(path, name, expected, None if engine is None else engine.bytes)
    for name in engines:
        _check_weights(path, name, manifest)
    return Bundle(path, manifest, hashlib.sha256(text).hexdigest(), old_findings)


def write_bundle(target: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle whole or not at all, in place of an older one.

    Args:
        target: the bundle's directory.
        manifest: its `files` and its engines' `bytes` are filled in; what `files` say of those to
            copy must be true.
        files: content, or a file to copy, by path relative to the bundle.

    Raises:
        BundleError: an engine of the manifest is not among the files, or one of these would lie
            outside the bundle; or a copied file is not what the manifest's `files` say.

    """
    _check_names(target, manifest.model_copy(update={"files": dict.fromkeys(files, "")}))
    with whole_directory(target) as directory:
        for name, content in files.items():
            place = directory / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, place)
                if name in manifest.files:
                    _check_file(directory, name, manifest.files[name])
            else:
                place.write_bytes(content)
        hashes = {name: sha256(directory / name) for name in sorted(files)}
        models = {name: _with_bytes(directory, model) for name, model in manifest.models.items()}
        complete = manifest.model_copy(update={"files": hashes, "models": models})
        text = json.dumps(complete.model_dump(mode="json"), indent=2).encode()
        write_whole(directory / MANIFEST, text)
    return Bundle(target, complete, hashlib.sha256(text).hexdigest())


def _with_bytes(directory: Path, model: Model) -> Model:
    engines = {
        path: engine.model_copy(update={"bytes": regular_size(directory / path)})
        for path, engine in model.engines.items()
    }
    return model.model_copy(update={"engines": engines})


def _read_manifest(path: Path) -> bytes:
    try:
        size = regular_size(path / MANIFEST)
        if size <= _MOST_BYTES:
            return (path / MANIFEST).read_bytes()
    except OSError as error:
        msg = f"{path} is not an engine bundle: {MANIFEST}: {error.strerror}"
        raise BundleError(msg) from error
    msg = (
        f"bundle {path}: {MANIFEST} has {size} bytes, at most {_MOST_BYTES} are read: copy or "
        "build the bundle again"
    )
    raise BundleError(msg)


def _parse(path: Path, text: bytes) -> tuple[Manifest, OldFindings]:
    try:
        content = parse_json(text)
    except ValueError as error:
        msg = f"bundle {path}: {MANIFEST} {error}: copy or build the bundle again"
        raise BundleError(msg) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        msg = (
            f"bundle {path} was made by a newer version (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}): update compressed_grasp or rebuild the bundle"
        )
        raise BundleError(msg)
    found: dict[str, Any] = {}
    if isinstance(content, dict) and version in OLD_VERSIONS:
        content, found = upgrade(content, SCHEMA_VERSION)
    try:
        manifest = Manifest.model_validate(content)
        old_findings = OldFindings.model_validate(found)
    except ValidationError as error:
        msg = f"bundle {path}: {MANIFEST}: {first_problem(error)}: rebuild the bundle"
        raise BundleError(msg) from error
    _check_names(path, manifest, old_findings)
    return manifest, old_findings


def _check_names(path: Path, manifest: Manifest, old_findings: OldFindings | None = None) -> None:
    for name in manifest.files:
        if not name.isprintable():
            msg = f"bundle {path}: {MANIFEST}: {name!r} is no file name: rebuild the bundle"
            raise BundleError(msg)
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            msg = f"bundle {path}: {MANIFEST}: the file {name!r} is outside the bundle"
            raise BundleError(msg)
    for name, model in manifest.models.items():
        counts = Counter(PurePosixPath(engine).name for engine in model.engines)
        if twice := [file for file, count in counts.items() if count > 1]:
            msg = f"bundle {path}: {MANIFEST}: the model {name} has two engines {twice[0]}"
            raise BundleError(msg)
    found = old_findings or OldFindings()
    missing = sorted({*manifest.engines, *found.plans} - set(manifest.files))
    if missing:
        msg = f"bundle {path}: the engines {', '.join(missing)} are not among its files"
        raise BundleError(msg)
    unknown = sorted({choice.file for choice in found.choices.values()} - set(manifest.engines))
    if unknown:
        msg = (
            f"bundle {path}: {MANIFEST}: the chosen {', '.join(unknown)} is none of its engines: "
            "copy or build the bundle again"
        )
        raise BundleError(msg)


def _check_weights(path: Path, name: str, manifest: Manifest) -> None:
    vouched = {PurePosixPath(file) for file in manifest.files}
    for location in sorted(external_files((path / name).read_bytes())):
        if PurePosixPath(name).parent / location not in vouched:
            msg = (
                f"bundle {path}: {name} takes weights from {location!r}, which is none of its "
                "files: build the bundle again, with the weights in the graph"
            )
            raise BundleError(msg)


def _check_file(path: Path, name: str, expected: str, size: int | None = None) -> None:
    """Refuse a file whose SHA-256 is not the expected one; or, sooner, whose size is not."""
    try:
        found_size = regular_size(path / name)
        found = sha256(path / name) if size in {None, found_size} else ""
    except OSError as error:
        msg = f"bundle {path}: {name}: {error.strerror}: copy or build the bundle again"
        raise BundleError(msg) from error
    if not found:
        msg = (
            f"bundle {path}: {name} has {found_size} bytes, the manifest says {size}: copy or "
            "build the bundle again"
        )
        raise BundleError(msg)
    if found != expected:
        msg = (
            f"bundle {path}: {name} was altered (sha256 {found[:12]}, the manifest says "
            f"{expected[:12]}): copy or build the bundle again"
        )
        raise BundleError(msg)
