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
from edge_runtime.files import sha256, whole_directory, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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

    `bytes` on disk; `accuracy` by metric; `latency_ms` by percentile (p50, p95, ...), one frame.
    """

    precision: Literal["fp32", "int8"]
    parameters: int
    macs: int
    bytes: int
    accuracy: dict[str, float]
    latency_ms: dict[str, float]


class Source(_Model):
    """What the engines were made from; `calibration` says which data set the INT8 ranges."""

    checkpoint_sha256: str
    recipe: dict[str, Any]
    recipe_sha256: str
    calibration: str


class Manifest(_Model):
    """Everything that is known about a bundle.

    `names`: keypoints or classes in the order of the network's channels. `settings`: the skill's
    own, validated by the skill. `engines`: by file name ("fp32.onnx", "cpu.onnx"). `created`:
    ISO 8601, UTC. `files`: SHA-256 of every file of the bundle but the manifest, by its path
    relative to the bundle; filled in by `write_bundle`.
    """

    schema_version: Literal[1] = 1
    skill: str
    name: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    names: list[str]
    settings: dict[str, Any]
    engines: dict[str, EngineFile]
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
    """Read and check a bundle: schema, skill, and the hash of every file.

    Raises:
        BundleError: no bundle there, a missing or altered file, another skill than `skill`, or a
            manifest that this version does not read.

    """
    if not path.is_dir():
        msg = f"no engine bundle at {path}: `compress run RECIPE --output DIR` makes DIR/bundle"
        raise BundleError(msg)
    try:
        text = (path / MANIFEST).read_bytes()
    except OSError as error:
        msg = f"{path} is not an engine bundle: {MANIFEST}: {error.strerror}"
        raise BundleError(msg) from error
    manifest = _parse(path, text)
    if skill is not None and manifest.skill != skill:
        msg = (
            f"bundle {path} is for the skill {manifest.skill!r}, not {skill!r}: choose a bundle "
            f"made by a recipe with `skill: {skill}`"
        )
        raise BundleError(msg)
    for name, expected in manifest.files.items():
        _check_file(path, name, expected)
    return Bundle(path, manifest, hashlib.sha256(text).hexdigest())


def write_bundle(target: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle whole or not at all, in place of an older one.

    Args:
        target: the bundle's directory.
        manifest: its `files` are ignored and filled in.
        files: content, or a file to copy, by path relative to the bundle.

    Raises:
        BundleError: an engine of the manifest is not among the files.

    """
    with whole_directory(target) as directory:
        for name, content in files.items():
            place = directory / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, place)
            else:
                place.write_bytes(content)
        hashes = {name: sha256(directory / name) for name in sorted(files)}
        complete = manifest.model_copy(update={"files": hashes})
        _check_names(target, complete)
        text = json.dumps(complete.model_dump(mode="json"), indent=2).encode()
        write_whole(directory / MANIFEST, text)
    return Bundle(target, complete, hashlib.sha256(text).hexdigest())


def _parse(path: Path, text: bytes) -> Manifest:
    try:
        content = json.loads(text)
    except ValueError as error:
        msg = f"bundle {path}: {MANIFEST} is not JSON ({error}): copy or build the bundle again"
        raise BundleError(msg) from error
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


def _check_names(path: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            msg = f"bundle {path}: {MANIFEST}: the file {name!r} is outside the bundle"
            raise BundleError(msg)
    missing = sorted(set(manifest.engines) - set(manifest.files))
    if missing:
        msg = f"bundle {path}: the engines {', '.join(missing)} are not among its files"
        raise BundleError(msg)


def _check_file(path: Path, name: str, expected: str) -> None:
    try:
        found = sha256(path / name)
    except OSError as error:
        msg = f"bundle {path}: {name}: {error.strerror}: copy or build the bundle again"
        raise BundleError(msg) from error
    if found != expected:
        msg = (
            f"bundle {path}: {name} was altered (sha256 {found[:12]}, the manifest says "
            f"{expected[:12]}): copy or build the bundle again"
        )
        raise BundleError(msg)
