"""What this device found out about a bundle: it lies in the user's cache, never in the bundle.

There is a file `bundles/DIGEST/DEVICE.zip` for each bundle and each kind of device, which is named
by processor or GPU and by the library's version, such as "orin-8mp-sm87-trt10.3.0". It holds
`entry.json` and the TensorRT plans, and may be copied to other robots of that kind.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Literal
from zipfile import ZIP_STORED, ZipFile

from pydantic import Field, ValidationError

from edge_runtime.caching import cache_directory
from edge_runtime.errors import BundleError, SettingError, first_problem
from edge_runtime.files import regular_size, write_whole
from edge_runtime.findings import Choice, Plan  # noqa: TC001 - pydantic evaluates them
from edge_runtime.records import Record, parse_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from edge_runtime.bundle import Bundle

_ENTRY = "entry.json"
_MOST_BYTES = 4 * 1024**2
_REMEDY = "`compress build` makes it anew"


class Entry(Record):
    """What one kind of device found out about one bundle.

    `bundle`: its digest. `plans` and `choices`: by model. `files`: SHA-256 of each model's plan.
    """

    schema_version: Literal[1] = 1
    bundle: str
    device: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]*$", max_length=200)]
    plans: dict[str, Plan] = Field(default_factory=dict)
    choices: dict[str, Choice] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


class DeviceCache:
    """The entries of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        """Find the place; nothing is made there.

        Raises:
            SettingError: see `cache_directory`.

        """
        self._bundle = bundle
        self.folder = cache_directory() / "bundles" / bundle.digest

    def entry(self, device: str) -> Entry | None:
        """Return what a kind of device found out; None if nothing.

        Raises:
            BundleError: the file is damaged, or of another bundle or device; says which file.

        """
        content = self._read(self._file(device), device, ())
        return None if content is None else content[0]

    def plan(self, device: str, model: str) -> tuple[Plan, bytes] | None:
        """Return a model's plan and its content, checked; errors as of `entry`."""
        content = self._read(self._file(device), device, [model])
        if content is None or model not in content[0].plans:
            return None
        return content[0].plans[model], content[1][model]

    def entries(self) -> dict[str, Entry]:
        """Return all entries that can be read, by device."""
        found = {}
        for file in sorted(self.folder.glob("*.zip")):
            with suppress(BundleError):
                entry = self.entry(file.stem)
                if entry is not None:
                    found[file.stem] = entry
        return found

    def keep_choice(self, device: str, model: str, choice: Choice) -> None:
        """Note a choice beside what the entry has; one that is damaged is replaced.

        Raises:
            SettingError: the cache cannot be written.

        """
        entry, plans = self._known(device)
        choices = {**entry.choices, model: choice}
        self._write(entry.model_copy(update={"choices": choices}), plans)

    def keep_plan(self, device: str, model: str, plan: Plan, content: bytes) -> None:
        """Keep a plan; otherwise as `keep_choice`."""
        entry, contents = self._known(device)
        self._write(
            entry.model_copy(update={"plans": {**entry.plans, model: plan}}),
            {**contents, model: content},
        )

    def require_writable(self) -> None:
        """Make the folder.

        Raises:
            SettingError: nothing can be written there.

        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror) from error
        if not os.access(self.folder, os.W_OK):
            raise self._unwritable("no permission")

    def pack(self, device: str, target: Path) -> None:
        """Write a device's entry into a file, for others of its kind.

        Raises:
            BundleError: there is no entry, or it is damaged.
            SettingError: the file cannot be written.

        """
        content = self._read(self._file(device), device)
        if content is None:
            msg = f"no plans for {device} to pack: `compress build --force` makes them"
            raise BundleError(msg)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, _packed(*content))
        except OSError as error:
            msg = f"'{target}' cannot be written ({error.strerror}): choose another file"
            raise SettingError(msg) from error

    def unpack(self, source: Path) -> Entry:
        """Take over what `pack` wrote, in place of an older entry of that device.

        Raises:
            BundleError: the file is damaged, or of another bundle.
            SettingError: there is no such file, or the cache cannot be written.

        """
        content = self._read(source, None)
        if content is None:
            msg = f"there is no '{source}': give a file that `compress build --pack` wrote"
            raise SettingError(msg)
        self._write(*content)
        return content[0]

    def _file(self, device: str) -> Path:
        return self.folder / f"{device}.zip"

    def _known(self, device: str) -> tuple[Entry, dict[str, bytes]]:
        with suppress(BundleError):
            content = self._read(self._file(device), device)
            if content is not None:
                return content
        return Entry(bundle=self._bundle.digest, device=device), {}

    def _write(self, entry: Entry, plans: Mapping[str, bytes]) -> None:
        hashes = {model: hashlib.sha256(plan).hexdigest() for model, plan in plans.items()}
        self.require_writable()
        try:
            write_whole(
                self._file(entry.device),
                _packed(entry.model_copy(update={"files": hashes}), plans),
            )
        except OSError as error:
            raise self._unwritable(error.strerror) from error

    def _read(
        self, file: Path, device: str | None, models: Collection[str] | None = None
    ) -> tuple[Entry, dict[str, bytes]] | None:
        """Read and check a file; of whatever device if None; and these models' plans, else all."""
        try:
            regular_size(file)
            entry, plans = _unpacked(file, models)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _damaged(file, str(error.strerror)) from error
        except ValidationError as error:
            raise _damaged(file, first_problem(error)) from error
        except Exception as error:  # whatever unpacking makes of wrong bytes
            raise _damaged(file, str(error)) from error
        self._check(file, entry, plans)
        if device is not None and entry.device != device:
            msg = f"{file} is of {entry.device}: {_REMEDY}"
            raise BundleError(msg)
        return entry, plans

    def _check(self, file: Path, entry: Entry, plans: Mapping[str, bytes]) -> None:
        manifest = self._bundle.manifest
        if entry.bundle != self._bundle.digest:
            msg = (
                f"{file} is of the bundle {entry.bundle[:12]}, this is {self._bundle.digest[:12]}: "
                f"{_REMEDY}"
            )
            raise BundleError(msg)
        for model, plan in plans.items():
            if hashlib.sha256(plan).hexdigest() != entry.files.get(model):
                raise _damaged(file, f"the plan of {model} was altered")
        for model, choice in entry.choices.items():
            if model in manifest.models and choice.file not in manifest.models[model].engines:
                raise _damaged(file, f"the bundle has no {choice.file}")

    def _unwritable(self, reason: str | None) -> SettingError:
        return SettingError(
            f"the cache {self.folder} cannot be written ({reason}): set XDG_CACHE_HOME to a folder "
            "where you may write"
        )


def known_plan(bundle: Bundle, model: str, device: str) -> tuple[Plan, bytes, str]:
    """Return a model's plan for a kind of device, its content, and what was passed over for it.

    It comes from this device's cache, or from the bundle, if its manifest is of schema 2.

    Raises:
        BundleError: there is none; says which there are, or what is wrong with it.

    """
    others: list[str] = []
    passed_over = ""
    try:
        cache = DeviceCache(bundle)
        if found := cache.plan(device, model):
            return *found, ""
        others = [name for name, entry in cache.entries().items() if model in entry.plans]
    except (BundleError, SettingError) as error:
        passed_over = str(error)
    old = old_plan(bundle, device)
    if old:
        try:
            content = (bundle.path / old).read_bytes()
        except OSError as error:
            msg = f"{old}: {error.strerror}"
            raise BundleError(msg) from error
        return bundle.old_findings.plans[old], content, passed_over
    if passed_over:
        raise BundleError(passed_over)
    there = ", ".join([*others, *bundle.old_findings.plans]) or "none"
    msg = (
        f"no plan of {model} for {device} is known, only {there}: `compress build {bundle.path}` "
        "on this device makes it"
    )
    raise BundleError(msg)


def old_plan(bundle: Bundle, device: str) -> str:
    """Return the path in the bundle of a plan that its manifest, of schema 2, has; else ""."""
    name = f"plans/{device}.plan"
    return name if name in bundle.old_findings.plans else ""


def known_choice(bundle: Bundle, model: str, device: str, processor: str) -> tuple[str, str]:
    """Return the file that was found the fastest, or "", and what was passed over for it.

    As `known_plan`; manifests of schema 2 know only the processor's name.
    """
    passed_over = ""
    try:
        entry = DeviceCache(bundle).entry(device)
        if entry is not None and model in entry.choices:
            return entry.choices[model].file, ""
    except (BundleError, SettingError) as error:
        passed_over = str(error)
    old = bundle.old_findings.choices.get(processor)
    return "" if old is None else old.file, passed_over


def device_name(*parts: str) -> str:
    """Return parts of a device's name in small letters, with dashes in place of what is odd."""
    words = (re.sub(r"[^a-z0-9.+]+", "-", part.lower()).strip("-.+") for part in parts)
    return "-".join(word or "unknown" for word in words)


def _packed(entry: Entry, plans: Mapping[str, bytes]) -> bytes:
    memory = BytesIO()
    with ZipFile(memory, "w", ZIP_STORED) as archive:
        archive.writestr(_ENTRY, entry.model_dump_json(indent=2))
        for model, plan in plans.items():
            archive.writestr(f"{model}.plan", plan)
    return memory.getvalue()


def _unpacked(file: Path, models: Collection[str] | None) -> tuple[Entry, dict[str, bytes]]:
    with ZipFile(file) as archive:
        # Stored as they are, files have no more bytes than the archive.
        if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
            msg = "is compressed"
            raise ValueError(msg)
        if archive.getinfo(_ENTRY).file_size > _MOST_BYTES:
            msg = f"{_ENTRY} is too large"
            raise ValueError(msg)
        entry = Entry.model_validate(parse_json(archive.read(_ENTRY)))
        wanted = [model for model in entry.plans if models is None or model in models]
        return entry, {model: archive.read(f"{model}.plan") for model in wanted}


def _damaged(file: Path, reason: str) -> BundleError:
    return BundleError(f"{file} is damaged ({reason}): {_REMEDY}")
