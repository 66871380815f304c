"""Engine bundles: a directory of network files and the manifest that vouches for them."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_runtime.errors import BundleError, first_problem
from edge_runtime.external_weights import external_files
from edge_runtime.files import regular_size, sha256, whole_directory, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "manifest.json"
SCHEMA_VERSION: Literal[2] = 2
# What we write has some kilobytes and five levels.
_MOST_BYTES = 4 * 1024**2
_MOST_LEVELS = 32

Precision = Literal["fp32", "fp16", "int8"]
"""Of the bulk of a network's arithmetic; inputs and outputs are float32 in all of them."""
Shape = tuple[int, ...]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Model(BaseModel):
    # A metric may have no value, such as the precision of a network that finds nothing: NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class TensorSpec(_Model):
    """One input or output of the network.

    `shape` has a name where a dimension is chosen at run time ("batch", "height"). An input made
    of pixels says how: layout "NCHW" or "NHWC", colour order, and
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


class EngineFile(_Model):
    """What was measured at export, on the manifest's host, with one network file.

    `bytes` on disk; `accuracy` by metric; `latency_ms` by percentile (p50, p95, ...), one frame;
    empty for one that only TensorRT runs as it should.
    """

    precision: Precision
    parameters: Count
    macs: Count
    bytes: Count
    accuracy: dict[str, float]
    latency_ms: dict[str, float]


class Guard(_Model):
    """The loss of accuracy that the recipe allows the engines.

    `of`: what the network came with, by `metric`. `forced`: engines that lose more than `max_drop`
    of it and are in the bundle because the user wanted them nevertheless.
    """

    metric: str
    of: float
    max_drop: float
    forced: list[str]


class Plan(_Model):
    """A TensorRT plan, built on the kind of device that its name says.

    `graph`: the engine it was built from. `shapes`: least, best and largest shape of every input.
    `difference` from what ONNX Runtime makes of the same graph, node by node: root mean square, as
    a share of the outputs. `latency_ms` by percentile, one frame.
    """

    graph: str
    precision: Precision
    shapes: dict[str, tuple[Shape, Shape, Shape]]
    difference: float
    latency_ms: dict[str, float]
    host: dict[str, str]
    created: str


class Choice(_Model):
    """Which engine is the fastest on one kind of processor; all were timed in turns there.

    `latency_ms`: the median of every engine that was timed, one frame.
    """

    file: str
    latency_ms: dict[str, float]
    library: str
    host: dict[str, str]
    created: str


class Source(_Model):
    """What the engines were made from; `calibration` says which data set the INT8 ranges."""

    checkpoint_sha256: str
    recipe: dict[str, Any]
    recipe_sha256: str
    calibration: str


class Manifest(_Model):
    """Everything that is known about a bundle.

    `names`: keypoints or classes in the order of the network's channels. `settings`: the skill's
    own, validated by the skill. `engines`: by file name ("fp32.onnx", "cpu.onnx", "fp16.onnx",
    "trt.onnx"). `example`: by input, the shape on which latencies were measured; empty in bundles
    of schema 1. `plans` (by path) and `choices` (by processor, as `describe_host` names it) are
    what `compress build` found out on devices. They stand here, and not in a file of their own, so
    that one hash vouches for everything that decides what runs. `created`: ISO 8601, UTC. `files`:
    SHA-256 of every file of the bundle but the manifest, by its path relative to the bundle;
    filled in by `write_bundle`.
    """

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    skill: str
    name: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    names: list[str]
    settings: dict[str, Any]
    engines: dict[str, EngineFile]
    guard: Guard | None = None
    example: dict[str, Shape] = {}
    plans: dict[str, Plan] = {}
    choices: dict[str, Choice] = {}
    source: Source
    tools: dict[str, str]
    host: dict[str, str]
    created: str
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = {}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were checked. `digest`: SHA-256 of manifest.json, names the bundle."""

    path: Path
    manifest: Manifest
    digest: str


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
    manifest = _parse(path, text)
    if skill is not None and manifest.skill != skill:
        msg = (
            f"bundle {path} is for the skill {manifest.skill!r}, not {skill!r}: choose a bundle "
            f"made by a recipe with `skill: {skill}`"
        )
        raise BundleError(msg)
    for name, expected in manifest.files.items():
        engine = manifest.engines.get(name)
        _check_file(path, name, expected, None if engine is None else engine.bytes)
    for name in manifest.engines:
        _check_weights(path, name, manifest)
    return Bundle(path, manifest, hashlib.sha256(text).hexdigest())


def write_bundle(target: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle whole or not at all, in place of an older one.

    Args:
        target: the bundle's directory.
        manifest: its `files` and its engines' `bytes` are filled in; what `files` say of those to
            copy must be true.
        files: content, or a file to copy, by path relative to the bundle.

    Raises:
        BundleError: an engine or a plan of the manifest is not among the files, or one of these
            would lie outside the bundle; or a copied file is not what the manifest's `files` say.

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
        engines = {
            name: engine.model_copy(update={"bytes": regular_size(directory / name)})
            for name, engine in manifest.engines.items()
        }
        complete = manifest.model_copy(
            update={"files": hashes, "engines": engines, "schema_version": SCHEMA_VERSION}
        )
        text = json.dumps(complete.model_dump(mode="json"), indent=2).encode()
        write_whole(directory / MANIFEST, text)
    return Bundle(target, complete, hashlib.sha256(text).hexdigest())


def add_plan(path: Path, name: str, plan: Plan, content: bytes) -> Bundle:
    """Put a plan into a bundle, in place of an older one of that name.

    The bundle is read again and written whole; when that fails, the old one stays as it was.

    Raises:
        BundleError: see `load_bundle`.

    """
    bundle = load_bundle(path)
    plans = {**bundle.manifest.plans, name: plan}
    return _rewrite(bundle, bundle.manifest.model_copy(update={"plans": plans}), {name: content})


def add_choice(path: Path, processor: str, choice: Choice) -> Bundle:
    """Note in a bundle which engine a kind of processor takes; otherwise as `add_plan`."""
    bundle = load_bundle(path)
    choices = {**bundle.manifest.choices, processor: choice}
    return _rewrite(bundle, bundle.manifest.model_copy(update={"choices": choices}), {})


def _rewrite(bundle: Bundle, manifest: Manifest, more: Mapping[str, bytes]) -> Bundle:
    files = {name: bundle.path / name for name in bundle.manifest.files}
    return write_bundle(bundle.path, manifest, {**files, **more})


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


def _parse(path: Path, text: bytes) -> Manifest:
    try:
        content = json.loads(text)
        # Half a character, as "\\ud800" is, can be neither printed nor logged.
        json.dumps(content, ensure_ascii=False).encode()
        is_readable = not _is_deeper(content, _MOST_LEVELS)
    except RecursionError:
        content, is_readable = None, False
    except ValueError as error:
        msg = f"bundle {path}: {MANIFEST} is not JSON ({error}): copy or build the bundle again"
        raise BundleError(msg) from error
    if not is_readable:
        msg = (
            f"bundle {path}: {MANIFEST} is nested in more than {_MOST_LEVELS} levels: copy or "
            "build the bundle again"
        )
        raise BundleError(msg)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        msg = (
            f"bundle {path} was made by a newer version (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}): update compressed_grasp or rebuild the bundle"
        )
        raise BundleError(msg)
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        msg = f"bundle {path}: {MANIFEST}: {first_problem(error)}: rebuild the bundle"
        raise BundleError(msg) from error
    _check_names(path, manifest)
    return manifest


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inside)


def _check_names(path: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        if not name.isprintable():
            msg = f"bundle {path}: {MANIFEST}: {name!r} is no file name: rebuild the bundle"
            raise BundleError(msg)
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            msg = f"bundle {path}: {MANIFEST}: the file {name!r} is outside the bundle"
            raise BundleError(msg)
    missing = sorted({*manifest.engines, *manifest.plans} - set(manifest.files))
    if missing:
        msg = f"bundle {path}: the engines {', '.join(missing)} are not among its files"
        raise BundleError(msg)
    unknown = sorted({choice.file for choice in manifest.choices.values()} - set(manifest.engines))
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
