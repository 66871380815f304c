"""`compress schema`: what an editor is told of recipes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_compression.commands import main

if TYPE_CHECKING:
    import pytest


def test_schema_tells_an_editor_every_key_of_a_skills_recipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema", "blob"]) == 0
    schema = json.loads(capsys.readouterr().out)

    assert schema["additionalProperties"] is False
    assert {"checkpoint", "train", "finetune", "quantise"} <= set(schema["properties"])
    assert set(schema["required"]) == {"skill", "name"}
    assert schema["properties"]["skill"]["const"] == "blob"
    assert schema["$defs"]["PruneSettings"]["properties"]["allocation"]["enum"] == [
        "sensitivity",
        "uniform",
        "ranked",
    ]
    data = schema["$defs"][schema["properties"]["data"]["$ref"].rpartition("/")[2]]
    assert data["additionalProperties"] is False
    assert data["properties"]["noise"]["default"] == 0.3


def test_schema_without_a_skill_leaves_the_data_open(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)

    assert schema["properties"]["data"]["additionalProperties"] is True
    assert "const" not in schema["properties"]["skill"]
