from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from old_bundle import CHOICE, PLAN, make_old
from onnx import TensorProto, external_data_helper, helper

from edge_runtime.bundle import load_bundle, write_bundle
from edge_runtime.errors import BundleError
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.bundle import Manifest

    MakeManifest = Callable[..., Manifest]


def edit(bundle: Path, **changes: object) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_model(bundle: Path, **changes: object) -> None:
    models = json.loads((bundle / "manifest.json").read_text())["models"]
    edit(bundle, models={"brightness": {**models["brightness"], **changes}})


def test_a_written_bundle_is_loaded_as_it_was(tmp_path: Path, make_manifest: MakeManifest) -> None:
    source = tmp_path / "copied.bin"
    source.write_bytes(b"plan")
    files = {"fp32.onnx": b"graph", "plans/a.plan": source}
    written = write_bundle(tmp_path / "deep" / "bundle", make_manifest(), files)
    assert load_bundle(written.path, "brightness") == written
    assert set(written.manifest.files) == set(files)
    assert (written.path / "plans/a.plan").read_bytes() == b"plan"


def test_a_failed_write_leaves_the_old_bundle_and_no_rubbish(
    bundle_path: Path, make_manifest: MakeManifest
) -> None:
    before = load_bundle(bundle_path)
    with pytest.raises(BundleError, match=r"fp32\.onnx"):
        write_bundle(bundle_path, make_manifest(), {"other.onnx": b""})
    assert load_bundle(bundle_path) == before
    assert [path.name for path in bundle_path.parent.iterdir()] == [bundle_path.name]


def flip_a_byte(bundle: Path) -> None:
    content = bytearray((bundle / "fp32.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "fp32.onnx").write_bytes(content)


def put_a_pipe(bundle: Path, name: str) -> None:
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name)


def put_a_device(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).symlink_to("/dev/zero")


def write_manifest(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)


LOST = {**CHOICE, "file": "lost.onnx"}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, ["fp32.onnx", "altered", "again"]),
        (lambda path: (path / "fp32.onnx").unlink(), ["fp32.onnx", "No such file"]),
        (lambda path: (path / "manifest.json").unlink(), ["manifest.json", "not an engine bundle"]),
        (lambda path: (path / "manifest.json").write_text("{"), ["not JSON"]),
        (lambda path: (path / "manifest.json").write_text("[]"), ["manifest.json", "rebuild"]),
        (lambda path: edit(path, schema_version=4), ["newer version", "update compressed_grasp"]),
        (lambda path: edit(path, schema_version=0), ["schema_version"]),
        (lambda path: edit(path, skill="grasp"), ["'grasp'", "'brightness'"]),
        (lambda path: edit_model(path, inputs=[{"name": "x"}]), ["inputs.0.shape"]),
        (lambda path: edit_model(path, calls=0), ["models.brightness.calls"]),
        (lambda path: edit(path, models={}), ["models"]),
        (lambda path: edit(path, models={"a/b": {}}), ["models.a/b"]),
        (lambda path: edit(path, plans={}), ["plans"]),
        (lambda path: edit(path, colour="red"), ["colour"]),
        (lambda path: edit(path, files={"../x": "0" * 64}), ["outside the bundle"]),
        (lambda path: edit(make_old(path), plans={"a.plan": PLAN}), ["a.plan are not among"]),
        (lambda path: edit(make_old(path), choices={"a cpu": LOST}), ["lost.onnx is none of its"]),
        (lambda path: edit(path, files={"fp32.onnx": "1"}), ["files.fp32.onnx"]),
        (lambda path: edit(path, files={"a\0b": "0" * 64}), [r"'a\x00b'", "no file name"]),
        (lambda path: edit(path, name="\ud800"), ["not JSON", "surrogates"]),
        (lambda path: put_a_pipe(path, "fp32.onnx"), ["fp32.onnx", "not a regular file"]),
        (lambda path: put_a_pipe(path, "manifest.json"), ["manifest.json", "not a regular file"]),
        (lambda path: put_a_device(path, "fp32.onnx"), ["fp32.onnx", "not a regular file"]),
        (lambda path: os.truncate(path / "fp32.onnx", 1 << 43), ["8796093022208 bytes", "again"]),
        (lambda path: os.truncate(path / "manifest.json", 300 << 20), ["at most 4194304", "again"]),
        (lambda path: write_manifest(path, "[" * 1_000_000), ["nested", "32 levels"]),
        (lambda path: write_manifest(path, "[" * 33 + "]" * 33), ["nested", "32 levels"]),
        (lambda path: write_manifest(path, "1" * 5000), ["not JSON"]),
    ],
)
def test_damage_is_named_in_one_line(
    bundle_path: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(bundle_path)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle_path, "brightness")
    assert str(bundle_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def outside() -> bytes:
    """A graph whose only weights lie in `more/weights.bin`."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, (1,), b"\0\0\x80?", raw=True)
    external_data_helper.set_external_data(weights, "./weights.bin")
    weights.ClearField("raw_data")
    # Also where weights may hide: in a graph within a node's attribute.
    inner = helper.make_graph([], "inner", [], [], [weights])
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner)
    return helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()


def test_weights_outside_the_graph_are_among_the_files(
    tmp_path: Path, make_manifest: MakeManifest, outside: bytes
) -> None:
    engine = make_manifest().model.engines["fp32.onnx"]
    manifest = make_manifest(engines={"more/a.onnx": engine})
    files = {"more/a.onnx": outside, "more/weights.bin": b"\0\0\x80?"}
    bundle = write_bundle(tmp_path / "named", manifest, files)
    assert load_bundle(bundle.path) == bundle
    write_bundle(tmp_path / "bundle", manifest, {"more/a.onnx": outside})
    (tmp_path / "bundle" / "more" / "weights.bin").write_bytes(b"\0\0\x80?")
    with pytest.raises(BundleError, match=r"more/a\.onnx takes weights from '\./weights\.bin'"):
        load_bundle(tmp_path / "bundle")


def test_a_missing_bundle_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="compress run"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("version", [1, 2])
def test_manifests_of_older_schemas_have_one_model_that_is_called_as_the_skill(
    bundle_path: Path, make_manifest: MakeManifest, version: int
) -> None:
    written = write_bundle(
        bundle_path, make_manifest(examples=[{"image": (1, 8, 8, 3)}]), files_of(bundle_path)
    )
    before = (make_old(bundle_path, version) / "manifest.json").read_bytes()
    bundle = load_bundle(bundle_path)
    model = written.manifest.model
    if version == 1:
        model = model.model_copy(update={"examples": []})
    assert bundle.manifest.models == {"brightness": model}
    assert bundle.digest == hashlib.sha256(before).hexdigest()
    assert (bundle_path / "manifest.json").read_bytes() == before
    assert load_bundle(write_bundle(bundle_path, bundle.manifest, files_of(bundle_path)).path)


def files_of(bundle: Path) -> dict[str, bytes]:
    return {"fp32.onnx": (bundle / "fp32.onnx").read_bytes()}


def test_the_shipped_bundle_loads_and_its_digest_is_that_of_its_file() -> None:
    path = shipped_bundle("pose")
    bundle = load_bundle(path, "pose")
    assert list(bundle.manifest.models) == ["pose"]
    assert bundle.manifest.model.examples == [{"image": (1, 3, 128, 160)}]
    assert bundle.digest == hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()


def test_a_bundle_of_several_models_names_them_where_one_is_expected(
    tmp_path: Path, make_manifest: MakeManifest
) -> None:
    model = make_manifest().model
    engine = model.engines["fp32.onnx"]
    models = {
        name: model.model_copy(update={"engines": {f"{name}/fp32.onnx": engine}})
        for name in ("fnet", "update")
    }
    manifest = make_manifest(models=models)
    files = {f"{name}/fp32.onnx": name.encode() for name in models}
    bundle = write_bundle(tmp_path / "bundle", manifest, files)
    assert load_bundle(bundle.path) == bundle
    assert bundle.manifest.engines["update/fp32.onnx"].bytes == len("update")
    assert bundle.manifest.models["update"].flavours == {"fp32.onnx": "update/fp32.onnx"}
    with pytest.raises(BundleError, match="has the models fnet, update, where one is expected"):
        _ = bundle.manifest.model
    twice = {"a/fp32.onnx": engine, "b/fp32.onnx": engine}
    models = {"fnet": model.model_copy(update={"engines": twice})}
    with pytest.raises(BundleError, match=r"the model fnet has two engines fp32\.onnx"):
        write_bundle(tmp_path / "twice", make_manifest(models=models), dict.fromkeys(twice, b""))
