"""JSON that may be damaged or from others: read with care, into typed records."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict

# What we write has seven levels.
_MOST_LEVELS = 32


class Record(BaseModel):
    """A typed part of such a file."""

    # A metric may have no value, such as the precision of a network that finds nothing: NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


def parse_json(text: bytes) -> object:
    """Return the content.

    Raises:
        ValueError: it is not JSON, cannot be printed, or is nested too deeply; says which.

    """
    try:
        content = json.loads(text)
        # Half a character, as "\\ud800" is, can be neither printed nor logged.
        json.dumps(content, ensure_ascii=False).encode()
        is_readable = not _is_deeper(content, _MOST_LEVELS)
    except RecursionError:
        content, is_readable = None, False
    except ValueError as error:
        msg = f"is not JSON ({error})"
        raise ValueError(msg) from error
    if not is_readable:
        msg = f"is nested in more than {_MOST_LEVELS} levels"
        raise ValueError(msg)
    return content


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inside)
