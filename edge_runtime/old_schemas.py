"""Manifests of the schemas 1 and 2, which had one model and kept what devices found out."""

from __future__ import annotations

from typing import Any

OLD_VERSIONS = (1, 2)
_OF_THE_MODEL = ("inputs", "outputs", "engines")
_OF_DEVICES = ("plans", "choices")


def upgrade(content: dict[str, Any], version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a manifest's content as schema `version` has it, and what it says of devices.

    The model is called as the skill. What is missing or wrong stays so: validation will name it.
    """
    rest = dict(content)
    model = {key: rest.pop(key) for key in _OF_THE_MODEL if key in rest}
    if example := rest.pop("example", {}):
        model["examples"] = [example]
    found = {key: rest.pop(key) for key in _OF_DEVICES if key in rest}
    return {**rest, "schema_version": version, "models": {str(rest.get("skill")): model}}, found
