"""Tables of docs/ against what the code declares: a failure prints the table to paste."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rclpy

from compressed_grasp.node import GraspNode
from compressed_slam import settings as slam
from compressed_slam.node import SlamNode
from edge_compression import recipe
from edge_compression.limits import Limit
from edge_runtime import bundle
from edge_runtime.errors import MessageError
from edge_runtime.images import to_bgr
from edge_runtime.share import shipped_bundle
from edge_worlds.arm.model import ArmDescription, SceneRanges
from pose_fcn.data import Negatives, PoseData
from pose_fcn.node import ArmPoseNode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from edge_runtime.interface import NodeInterface
    from edge_runtime.node import SkillNode

ROOT = Path(__file__).resolve().parents[2]


def text(name: str) -> str:
    return (ROOT / name).read_text()


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    # A bare <topic> would be taken for HTML.
    lines = [list(head), *([cell.replace("<", "&lt;") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(
        f"|{'|'.join(row)}|\n" if row[0] == "---" else f"| {' | '.join(row)} |\n" for row in lines
    )


def assert_has(name: str, expected: str) -> None:
    assert expected in text(name), f"{name} must have\n\n{expected}"


def takes(schema: dict[str, Any]) -> str:
    """Say of a JSON schema which values it allows."""
    if "anyOf" in schema:
        kinds = [takes(each) for each in schema["anyOf"] if each != {"type": "null"}]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        return "section"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {takes(schema['items'])}" if "items" in schema else "list"
    if schema["type"] == ["number", "string"]:
        return "number or factor (`1.05x`)"
    kinds = {"string": "text", "object": "mapping", "boolean": "true, false"}
    kind = schema.get("format") or kinds.get(schema["type"], schema["type"])
    bounds = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below"}
    bounds |= {"maximum": "up to", "multipleOf": "multiple of"}
    limits = [f"{word} {schema[key]:g}" for key, word in bounds.items() if key in schema]
    return ", ".join([kind, *limits])


def default(schema: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    value = schema.get("default")
    return (
        "-"
        if value in (None, {}, [])
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def section(model: type[BaseModel], besides: Iterable[str] = ()) -> str:
    schema = model.model_json_schema()
    rows = [
        (
            f"`{name}`",
            takes(field),
            default(field, required=name in schema.get("required", ())),
            field.get("description", ""),
        )
        for name, field in schema["properties"].items()
        if name not in besides
    ]
    return table(("key", "takes", "default", ""), rows)


SECTIONS = {
    "docs/compression.md": [
        (recipe.Recipe, ()),
        (recipe.TrainSettings, ()),
        (recipe.TuneSettings, recipe.TrainSettings.model_fields),
        (recipe.PruneSettings, ()),
        (recipe.QuantiseSettings, ()),
        (Limit, ()),
        (PoseData, ()),
        (Negatives, ()),
    ],
    "docs/slam.md": [(slam.SlamSettings, ("frontend", "backend")), (slam.ProximitySettings, ())],
}


@pytest.mark.parametrize(
    ("name", "model", "besides"),
    [(name, *rest) for name, models in SECTIONS.items() for rest in models],
)
def test_tables_of_keys_are_those_of_the_models(
    name: str, model: type[BaseModel], besides: Iterable[str]
) -> None:
    assert_has(name, section(model, besides))


NODES = {"docs/pose.md": ArmPoseNode, "docs/grasp.md": GraspNode, "docs/slam.md": SlamNode}


def parameters(node: NodeInterface) -> str:
    rows = []
    for setting in node.parameters:
        allowed = setting.constraints.partition(";")[0]
        value = (
            str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
        )
        allowed = allowed.replace(" or ", ", ").replace("'", "`") if setting.allowed else allowed
        rows.append(
            (
                f"`{setting.name}`",
                f"{value}" or "empty",
                allowed,
                setting.changes,
                setting.description,
            )
        )
    return table(("parameter", "default", "takes", "changes", ""), rows)


@pytest.mark.parametrize(("name", "kind"), NODES.items())
def test_table_of_parameters_is_that_of_the_node(name: str, kind: type[SkillNode[Any]]) -> None:
    assert_has(name, parameters(kind.interface))


@pytest.mark.ros
@pytest.mark.parametrize(("name", "kind"), NODES.items())
def test_table_of_topics_is_that_of_the_node(
    name: str, kind: type[SkillNode[Any]], domain_id: int
) -> None:
    if not shipped_bundle(kind.interface.skill).is_dir():
        pytest.skip(f"no bundle of {kind.interface.skill} ships: the node cannot listen")
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = kind(context=context)
    try:
        node.start()
        ends = [*node.subscriptions, *node.publishers]
        topics = {end.topic_name: end.msg_type for end in ends}
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    own = f"/{kind.interface.name}/"
    usual = {"/parameter_events", "/rosout", f"{own}transition_event"}
    actual = {
        topic.replace(own, "~/") if topic.startswith(own) else topic: type_
        for topic, type_ in topics.items()
        if topic not in usual
    }
    found = re.findall(r"^\| `([\w~/]+)`( \(in\))? \| `(\w+)/(\w+)`", text(name), re.MULTILINE)
    listed = {
        f"/{topic}" if inward else topic: (package, kind) for topic, inward, package, kind in found
    }
    assert listed == {
        topic: (type_.__module__.partition(".")[0], type_.__name__)
        for topic, type_ in actual.items()
    }


def test_every_encoding_is_listed() -> None:
    unknown = types.SimpleNamespace(
        encoding="?", height=1, width=1, step=1, data=b"", is_bigendian=0
    )
    with pytest.raises(MessageError) as refused:
        to_bgr(unknown)
    encodings = str(refused.value).partition("accepted are ")[2].split(", ")
    assert len(encodings) > 20
    for encoding in encodings:
        assert f"`{encoding}`" in text("docs/pose.md"), encoding


@pytest.mark.parametrize(
    ("name", "models"),
    [
        (
            "docs/bundle.md",
            [
                bundle.Manifest,
                bundle.Model,
                bundle.TensorSpec,
                bundle.EngineFile,
                bundle.Guard,
                bundle.GuardLimit,
                bundle.Source,
            ],
        ),
        ("docs/own_arm.md", [ArmDescription, SceneRanges]),
    ],
)
def test_every_key_is_named(name: str, models: list[type[BaseModel]]) -> None:
    named = set(re.findall(r"`(\w+)`", text(name)))
    assert {key for model in models for key in model.model_fields} <= named
