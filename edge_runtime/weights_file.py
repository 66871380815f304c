"""Files of weights as people have them: what a file is that is none, and what helps then."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from typing import IO, TYPE_CHECKING, Any

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HEAD = 1024  # bytes that tell what a file is
_SHOWN = 40  # characters of a text
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What torch.save wrote before 1.6: a pickle that begins with torch's magic number.
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_DAMAGED = "is damaged or no torch file: copy it again"
_UNPACK = "unpack it, and give the checkpoint that is in it"

_BY_HEAD = {
    rb"version https://git-lfs": "is a git-lfs pointer, not the weights: fetch them with "
    "`git lfs pull`",
    rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)": "is a web page, saved in the "
    "place of the weights: download the file itself (on GitHub by its `raw` address, on Hugging "
    "Face by `resolve`)",
    rb"(?s).{3}\0{5}\{": "is a safetensors file: convert it once, with the package safetensors, by "
    "`torch.save(safetensors.torch.load_file(PATH), NEW_PATH)`",
    rb"\x08[\x01-\x20][\x12\x3a]": "is an ONNX graph: give the checkpoint that it was made of",
    rb"\x89HDF": "is an HDF5 file, as Keras writes: give one that torch.save made",
    rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!": "is a compressed archive: "
    f"{_UNPACK}",
}
_BY_MEMBER = {
    "constants.pkl": "is a TorchScript program: save its weights by "
    "`torch.save(torch.jit.load(PATH).state_dict(), NEW_PATH)`",
    "archive_format": "is a program of torch.export: save its weights by "
    "`torch.save(torch.export.load(PATH).state_dict, NEW_PATH)`",
}


def read_weights_file(path: Path, load: Callable[[IO[bytes]], Any], otherwise: str) -> Any:  # noqa: ANN401 - whatever was saved
    """Return what torch.save wrote.

    Args:
        path: the file.
        load: reads it, and runs no code of it: torch.load with `weights_only`. It is handed in,
            because robots have no torch.
        otherwise: the remedy that always helps; it ends every message.

    Raises:
        SettingError: there is no such file, or it is something else; the message says what.
    """
    try:
        # A pipe or a device would be waited for.
        if path.exists() and not (path.is_file() or path.is_dir()):
            cause = "is no regular file: give one that torch.save made"
        else:
            with path.open("rb") as file:
                cause = _what_else(file) or ""
                if not cause:
                    file.seek(0)
                    return _loaded(path, file, load, otherwise)
    except OSError as error:
        cause = f"cannot be read ({error.strerror}): correct the path"
    raise _refusal(path, cause, otherwise)


def _loaded(
    path: Path,
    file: IO[bytes],
    load: Callable[[IO[bytes]], Any],
    otherwise: str,
) -> Any:  # noqa: ANN401
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about kinds of tensors
            return load(file)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({found[1]})" if found else ""
        cause = (
            f"holds more than weights{what}, which could run code: where it comes from a source "
            "that you trust, save the state_dict alone with torch.save"
        )
        raise _refusal(path, cause, otherwise) from error
    except Exception as error:  # damage makes the reader stumble in many ways
        raise _refusal(path, _DAMAGED, otherwise) from error


def _refusal(path: Path, cause: str, otherwise: str) -> SettingError:
    return SettingError(f"checkpoint '{path}' {cause}, or {otherwise}")


def _what_else(file: IO[bytes]) -> str | None:
    """Return what the file is and what to do about it; None where torch may read it."""
    head = file.read(_HEAD)
    if head.startswith(_ZIP):
        return _what_archive(file)
    if head.startswith(_OLD_TORCH):
        return None
    for sign, cause in _BY_HEAD.items():
        if re.match(sign, head):
            return cause
    text = head.decode("utf-8", errors="ignore")
    if text.strip() and all(letter.isprintable() or letter.isspace() for letter in text):
        shown = " ".join(text.split())[:_SHOWN]
        return f"is a text that begins '{shown}', no torch file: copy or download it again"
    return _DAMAGED


def _what_archive(file: IO[bytes]) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            # Below one folder, which is named after the file that torch.save wrote.
            members = {name.partition("/")[2] for name in archive.namelist()}
            for member, cause in _BY_MEMBER.items():
                if member in members:
                    return cause
            if "data.pkl" not in members:
                return f"is an archive of something else than torch's: {_UNPACK}"
            # torch.load passes over the sums that show whether a weight was damaged.
            return _DAMAGED if archive.testzip() else None
    except Exception:  # noqa: BLE001 - whatever unpacking makes of wrong bytes
        return _DAMAGED
