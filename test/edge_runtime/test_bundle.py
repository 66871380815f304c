from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.bundle import load_bundle, write_bundle
from edge_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.bundle import Manifest

    MakeManifest = Callable[..., Manifest]


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


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, ["fp32.onnx", "altered", "again"]),
        (lambda path: (path / "fp32.onnx").unlink(), ["fp32.onnx", "No such file"]),
        (lambda path: (path / "manifest.json").unlink(), ["manifest.json", "not an engine bundle"]),
        (lambda path: (path / "manifest.json").write_text("{"), ["not JSON"]),
        (lambda path: (path / "manifest.json").write_text("[]"), ["manifest.json", "rebuild"]),
        (lambda path: edit(path, schema_version=2), ["newer version", "update compressed_grasp"]),
        (lambda path: edit(path, schema_version=0), ["schema_version"]),
        (lambda path: edit(path, skill="grasp"), ["'grasp'", "'brightness'"]),
        (lambda path: edit(path, inputs=[{"name": "x"}]), ["inputs.0.shape"]),
        (lambda path: edit(path, colour="red"), ["colour"]),
        (lambda path: edit(path, files={"../x": "0" * 64}), ["outside the bundle"]),
        (lambda path: edit(path, files={"fp32.onnx": "1"}), ["files.fp32.onnx"]),
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


def test_a_missing_bundle_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="compress run"):
        load_bundle(tmp_path / "nowhere")
