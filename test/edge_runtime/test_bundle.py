from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from onnx import TensorProto, external_data_helper, helper

from edge_runtime.bundle import Choice, Plan, add_choice, add_plan, load_bundle, write_bundle
from edge_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.bundle import Manifest

    MakeManifest = Callable[..., Manifest]


PLAN: dict[str, Any] = {
    "graph": "fp32.onnx",
    "precision": "fp16",
    "shapes": {"image": [[1, 4, 4, 3], [1, 8, 8, 3], [1, 16, 16, 3]]},
    "difference": 0.001,
    "latency_ms": {"p50": 1.5},
    "host": {"name": "robot"},
    "created": "2025-01-01T00:00:00+00:00",
}
CHOICE: dict[str, Any] = {
    "file": "cpu.onnx",
    "latency_ms": {"cpu.onnx": 1.0},
    "library": "onnxruntime 1",
    "host": {},
    "created": "2025-01-01T00:00:00+00:00",
}


def edit(bundle: Path, **changes: object) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


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


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, ["fp32.onnx", "altered", "again"]),
        (lambda path: (path / "fp32.onnx").unlink(), ["fp32.onnx", "No such file"]),
        (lambda path: (path / "manifest.json").unlink(), ["manifest.json", "not an engine bundle"]),
        (lambda path: (path / "manifest.json").write_text("{"), ["not JSON"]),
        (lambda path: (path / "manifest.json").write_text("[]"), ["manifest.json", "rebuild"]),
        (lambda path: edit(path, schema_version=3), ["newer version", "update compressed_grasp"]),
        (lambda path: edit(path, schema_version=0), ["schema_version"]),
        (lambda path: edit(path, skill="grasp"), ["'grasp'", "'brightness'"]),
        (lambda path: edit(path, inputs=[{"name": "x"}]), ["inputs.0.shape"]),
        (lambda path: edit(path, colour="red"), ["colour"]),
        (lambda path: edit(path, files={"../x": "0" * 64}), ["outside the bundle"]),
        (lambda path: edit(path, plans={"plans/a.plan": PLAN}), ["plans/a.plan are not among"]),
        (lambda path: edit(path, choices={"a cpu": CHOICE}), ["cpu.onnx is none of its engines"]),
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
    engine = make_manifest().engines["fp32.onnx"]
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


def test_a_manifest_of_the_first_schema_is_still_read(bundle_path: Path) -> None:
    path = bundle_path / "manifest.json"
    content = json.loads(path.read_text())
    for key in ("guard", "example", "plans", "choices"):
        del content[key]
    path.write_text(json.dumps({**content, "schema_version": 1}))
    bundle = load_bundle(bundle_path)
    assert (bundle.manifest.plans, bundle.manifest.choices) == ({}, {})
    added = add_plan(bundle_path, "plans/a.plan", Plan.model_validate(PLAN), b"plan")
    assert added.manifest.schema_version == 2
    assert load_bundle(bundle_path) == added


def test_plans_and_choices_are_added_to_what_is_there(bundle_path: Path) -> None:
    before = load_bundle(bundle_path)
    plan, choice = Plan.model_validate(PLAN), Choice.model_validate({**CHOICE, "file": "fp32.onnx"})
    add_plan(bundle_path, "plans/a.plan", plan, b"one")
    add_plan(bundle_path, "plans/b.plan", plan, b"two")
    add_choice(bundle_path, "a processor", choice)
    add_plan(bundle_path, "plans/a.plan", plan, b"three")
    after = load_bundle(bundle_path)
    assert after.manifest.plans == {"plans/a.plan": plan, "plans/b.plan": plan}
    assert after.manifest.choices == {"a processor": choice}
    assert (bundle_path / "plans/a.plan").read_bytes() == b"three"
    assert after.manifest.engines == before.manifest.engines
    assert after.manifest.files["fp32.onnx"] == before.manifest.files["fp32.onnx"]
    assert after.digest != before.digest


def test_what_cannot_be_added_leaves_the_bundle_as_it_was(bundle_path: Path) -> None:
    before = load_bundle(bundle_path)
    with pytest.raises(BundleError, match=r"cpu\.onnx is none of its engines"):
        add_choice(bundle_path, "a processor", Choice.model_validate(CHOICE))
    with pytest.raises(BundleError, match="outside the bundle"):
        add_plan(bundle_path, "plans/../../a.plan", Plan.model_validate(PLAN), b"")
    assert load_bundle(bundle_path) == before
    assert [path.name for path in bundle_path.parent.iterdir()] == [bundle_path.name]
