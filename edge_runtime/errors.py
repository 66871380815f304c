"""Failures that a user can cause and repair; each message is one line with value and remedy."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

# Of a line that quotes a message: what it began with, and at the end what is accepted.
_HEAD, _TAIL = 200, 600
_LONGEST = 1000


class SuiteError(Exception):
    """Base of every expected failure: commands print it and exit 1, nodes log it and go on."""

    def __init__(self, message: str) -> None:
        """Keep the message on one line, whatever text of a library went into it."""
        super().__init__(" ".join(message.split()))


class BundleError(SuiteError):
    """An engine bundle is missing, damaged, too new, or made for another skill."""


class EngineError(SuiteError):
    """A network cannot be opened or run, or was given inputs that it does not take."""


class MessageError(SuiteError):
    """A message from a topic cannot be used; it is dropped and the node goes on.

    `kind` groups like messages: they are counted together and logged at most once in a while.
    """

    def __init__(self, message: str, kind: str = "content") -> None:
        """Say what was wrong and what is accepted, and the word under which it is counted."""
        super().__init__(shortened(message))
        self.kind = kind


class SettingError(SuiteError):
    """A value chosen by the user (recipe, parameter, option) is not allowed."""


def first_problem(error: ValidationError) -> str:
    """Return "key.of.the.value: what is wrong" of a refused document; unknown keys come first."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in problems[0]["loc"])
    return f"{where}: {problems[0]['msg']}" if where else problems[0]["msg"]


def one_line(error: Exception) -> str:
    """Return what to show of any exception; an unexpected one also says where it happened."""
    text = " ".join(str(error).split())
    if isinstance(error, (SuiteError, OSError)):
        return text
    text = shortened(text)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def shortened(text: str) -> str:
    """Return a text that a message may have brought, without its middle where it is too long."""
    if len(text) <= _LONGEST:
        return text
    left_out = len(text) - _HEAD - _TAIL
    return f"{text[:_HEAD]} ... ({left_out} characters) ... {text[-_TAIL:]}"
