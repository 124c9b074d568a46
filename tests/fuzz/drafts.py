"""Packages that are changed step by step: a step may leave the signature behind, or sign what it made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.sdk.crafted import FIELDS, Entry, archive, canonical, contents, entries, gzip, listing, signature

__all__ = ["BASE", "STEPS", "Draft", "Step", "draft_of_recipe"]

BASE = contents({"vendor/dep/__init__.py": b"x = 1\n", "src/data.csv": b"a,b\n"})

STEPS = (
    "header", "swap-header", "checksum", "size", "drop", "copy", "move", "edit", "edit-signed", "rename",
    "rename-signed", "list", "list-row", "list-raw", "sign-other", "edit-archive", "edit-packed", "cut", "splice",
    "end", "manifest", "edit-end", "padding",
)  # fmt: skip
"""Every kind of step. `…-signed`: the list follows and is signed anew."""

_HEADERS = tuple(sorted(FIELDS))
_LIST_FIELDS = ("format", "slug", "version", "python", "magic", "files", "other")
_VALUES: tuple[Any, ...] = (None, True, 0, 1, -1, 2**63, 1.5, "", "1.0.1", "crafted", "other", [], {}, ["x"], "\x00")


@dataclass(frozen=True)
class Step:
    """One change: a kind, three numbers that say where, and bytes to put there."""

    kind: str
    a: int = 0
    b: int = 0
    c: int = 0
    data: bytes = b""


@dataclass
class Draft:
    """A package that is being changed."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(BASE))
    list_changes: dict[str, Any] = field(default_factory=dict[str, Any])
    rows: dict[int, tuple[int, Any]] = field(default_factory=dict[int, tuple[int, Any]])
    late: list[Step] = field(default_factory=list[Step])

    def build(self) -> bytes:
        """The package file."""
        plain = listing(self.files, **self.list_changes)
        for index, (column, value) in self.rows.items():
            rows = plain["files"]  # another step may have put anything in its place
            if isinstance(rows, list) and rows and isinstance(row := rows[index % len(rows)], list):
                row[column % 3] = value
        raw_list = canonical(plain)
        for step in self.late:
            if step.kind == "list-raw":
                raw_list = _edited(raw_list, step)
        raw_signature = signature(raw_list)
        if any(step.kind == "sign-other" for step in self.late):
            raw_signature = signature(raw_list + b" ")
        members = entries(self.files, raw_list=raw_list, raw_signature=raw_signature)
        end = bytes(1024)
        for step in self.late:
            members = _members(members, step)
            if step.kind == "end":
                end = step.data * (1 + step.a % 3) if step.b % 2 else bytes(step.a % 2049)
        raw = archive(members, end=end)
        for step in self.late:
            if step.kind == "padding":
                raw = _turned(raw, step.a, _between_files(members))
            elif step.kind == "edit-archive":
                raw = _edited(raw, step)
            elif step.kind == "splice":
                at, start = step.a % (len(raw) + 1), step.b % (len(raw) + 1)
                raw = raw[:at] + raw[start:]
        packed = gzip(raw)
        for step in self.late:
            if step.kind == "edit-packed":
                packed = _edited(packed, step)
            elif step.kind == "edit-end":
                packed = _edited(packed, replace(step, a=max(0, len(packed) - step.a % 12)))
            elif step.kind == "cut":
                packed = packed[: step.a % (len(packed) + 1)]
        return packed

    def take(self, steps: Iterable[Step]) -> Draft:
        """Take steps; the draft itself."""
        for step in steps:
            self._take(step)
        return self

    def _take(self, step: Step) -> None:
        paths = sorted(self.files)
        path = paths[step.a % len(paths)]
        if step.kind == "edit-signed":
            self.files[path] = _edited(self.files[path], replace(step, a=step.c))
        elif step.kind == "manifest":
            self.files["manifest.json"] = _edited(self.files.get("manifest.json", b""), step)
        elif step.kind == "rename-signed":
            name = step.data.decode("utf-8", "replace")
            self.files[f"{path.rpartition('/')[0]}/{name}" if step.b % 4 else name] = self.files.pop(path)
        elif step.kind == "list":
            self.list_changes[_LIST_FIELDS[step.a % len(_LIST_FIELDS)]] = _VALUES[step.b % len(_VALUES)]
        elif step.kind == "list-row":
            text = step.data.decode("utf-8", "replace")
            self.rows[step.a] = (step.b, (text, step.c, _VALUES[step.c % len(_VALUES)])[step.c % 3])
        else:
            self.late.append(step)


def _members(members: list[Entry], step: Step) -> list[Entry]:
    """The archive's entries after a step that the signature does not follow. A header's checksum always does."""
    if not members:
        return members
    members = list(members)
    at, other = step.a % len(members), step.b % len(members)
    entry = members[at]
    fields = dict(entry.fields or {})
    if step.kind == "header":
        name = _HEADERS[step.b % len(_HEADERS)]
        members[at] = replace(entry, fields={**fields, name: step.data})
    elif step.kind == "checksum":
        members[at] = replace(entry, fields={**fields, "checksum": step.data})
    elif step.kind == "swap-header":
        mine, theirs = replace(entry, path=members[other].path), replace(members[other], path=entry.path)
        if step.c % 2:
            mine, theirs = replace(entry, size=len(members[other].data)), members[other]
        members[at], members[other] = mine, theirs
    elif step.kind == "size":
        members[at] = replace(entry, size=step.c)
    elif step.kind == "drop":
        del members[at]
    elif step.kind == "copy":
        members.insert(other, entry)
    elif step.kind == "move":
        members.insert(other, members.pop(at))
    elif step.kind == "edit":
        members[at] = replace(entry, data=_edited(entry.data, replace(step, a=step.c)))
    elif step.kind == "rename":
        members[at] = replace(entry, path=step.data.decode("utf-8", "surrogateescape"))
    return members


def _between_files(members: Iterable[Entry]) -> list[int]:
    """Where an archive has the zeros that fill up its blocks."""
    at, zeros = 0, list[int]()
    for entry in members:
        end = at + 512 + len(entry.data)
        at = end + -len(entry.data) % 512
        zeros += range(end, at)
    return zeros


def _turned(data: bytes, number: int, places: list[int]) -> bytes:
    if not places or (at := places[number % len(places)]) >= len(data):
        return data
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _edited(data: bytes, step: Step) -> bytes:
    """Some bytes replaced by others; a single bit turned when there are none to put there."""
    at = step.a % (len(data) + 1)
    if not step.data and data:
        turned = bytearray(data)
        turned[at % len(data)] ^= 1 << step.b % 8
        return bytes(turned)
    return data[:at] + step.data + data[at + step.b % 64 :]


def draft_of_recipe(data: bytes) -> Draft:
    """Steps out of any bytes: eight of numbers, then as many as the eighth says to be put somewhere."""
    steps: list[Step] = []
    while len(data) >= 8 and len(steps) < 8:
        a, b, c = (int.from_bytes(data[at : at + 2], "little") for at in (1, 3, 5))
        steps.append(Step(STEPS[data[0] % len(STEPS)], a, b, c, data[8 : 8 + data[7]]))
        data = data[8 + data[7] :]
    return Draft().take(steps)
