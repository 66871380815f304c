"""Entries of a device's cache that somebody else wrote, or changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
from old_bundle import PLAN

from edge_runtime.bundle import load_bundle
from edge_runtime.device_cache import DeviceCache
from edge_runtime.errors import BundleError
from edge_runtime.findings import Plan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def packed(bundle_path: Path, own_cache: Path, tmp_path: Path) -> Path:
    cache = DeviceCache(load_bundle(bundle_path))
    cache.keep_plan("gpu", "brightness", Plan.model_validate(PLAN), b"a plan")
    cache.pack("gpu", tmp_path / "gpu.zip")
    (own_cache / cache.folder.name / "gpu.zip").unlink()
    return tmp_path / "gpu.zip"


def rewrite(file: Path, compression: int = ZIP_STORED, plan: bytes = b"", **changes: Any) -> None:  # noqa: ANN401
    with ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["entry.json"] = json.dumps({**json.loads(content["entry.json"]), **changes}).encode()
    if plan:
        content["brightness.plan"] = plan
    with ZipFile(file, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": b"another"}, "the plan of brightness was altered"),
        ({"device": "../../gpu"}, "device: String should match"),
        ({"schema_version": 2}, "schema_version"),
        ({"bundle": "0" * 64}, "is of the bundle 000000000000, this is "),
        ({"compression": ZIP_DEFLATED}, "is compressed"),
        ({"plans": {"update": PLAN}}, "no item named 'update.plan'"),
        ({"plans": json.loads("[" * 33 + "]" * 33)}, "more than 32 levels"),
    ],
)
def test_what_others_wrote_is_checked_before_it_is_taken_over(
    packed: Path, bundle_path: Path, changes: dict[str, Any], words: str
) -> None:
    cache = DeviceCache(load_bundle(bundle_path))
    rewrite(packed, **changes)
    with pytest.raises(BundleError) as caught:
        cache.unpack(packed)
    assert words in str(caught.value)
    assert str(packed) in str(caught.value)
    assert not cache.folder.exists() or not list(cache.folder.iterdir())


def test_what_was_packed_is_taken_over_whole(packed: Path, bundle_path: Path) -> None:
    cache = DeviceCache(load_bundle(bundle_path))
    cache.unpack(packed)
    assert cache.plan("gpu", "brightness") == (Plan.model_validate(PLAN), b"a plan")
    assert cache.plan("gpu", "update") is None
    assert cache.plan("another-gpu", "brightness") is None
