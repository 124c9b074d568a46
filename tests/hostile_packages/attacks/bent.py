"""Ways to bend an ordinary package."""

from __future__ import annotations

from typing import Any

from tests.hostile_packages.attacks import Package
from tests.sdk.crafted import (
    Entry,
    archive,
    canonical,
    contents,
    entries,
    gzip,
    listing,
    package,
    signature,
)

__all__ = [
    "list_of_another",
    "list_raw",
    "listed_and_absent",
    "overlapping",
    "renamed",
    "swapped_contents",
    "with_entry",
    "with_fields",
    "with_header_path",
    "with_manifest",
    "with_pair",
    "with_parts",
    "with_path",
    "with_signature",
    "with_size",
]


def with_path(path: str, data: bytes = b"x") -> Package:
    """A signed package with a file of this name; the header names it as well as a header can."""
    return package(contents({path: data}))


def with_header_path(path: str, **fields: bytes) -> Package:
    """An honest list, and an archive whose header says something else."""
    members = entries(contents())
    members[-1] = Entry(path, members[-1].data, fields)
    return gzip(archive(members))


def with_entry(kind: bytes, data: bytes = b"", place: int = 4, **fields: bytes) -> Package:
    members = entries(contents())
    members.insert(place, Entry("src/a.txt", data, {"type": kind, "link": b"../../../etc/passwd", **fields}))
    return gzip(archive(members))


def with_fields(**fields: bytes) -> Package:
    members = entries(contents())
    members[-1] = Entry(members[-1].path, members[-1].data, fields)
    return gzip(archive(members))


def with_size(size: int, *, signed: bool) -> Package:
    files = contents()
    plain = listing(files)
    if signed:
        plain["files"][-1][2] = size
    members = entries(files, raw_list=canonical(plain))
    members[-1] = Entry(members[-1].path, members[-1].data, size=size)
    return gzip(archive(members))


def with_pair(first: str, second: str) -> Package:
    return package(contents({first: b"a = 1\n", second: b"b = 1\n"}))


def with_manifest(raw: bytes) -> Package:
    return package(contents({"manifest.json": raw}))


def with_parts(parts: str) -> Package:
    """A manifest in canonical form with further parts, which sort before the others."""
    return with_manifest(b"{" + parts.encode() + b',"name":"Crafted","slug":"crafted","version":"1.0.0"}')


def with_signature(**changes: Any) -> Package:
    raw = canonical(listing(contents()))
    return gzip(archive(entries(contents(), raw_signature=signature(raw, **changes))))


def overlapping() -> Package:
    """A file that, by its signed size, holds the header and the contents of the next one."""
    files = contents({"src/b.txt": b"second"})
    inner = Entry("src/b.txt", b"second").encode()
    outer = {**files, "src/a.txt": b"first".ljust(512, b"\0") + inner}
    raw = canonical(listing(outer))
    members = entries(outer, raw_list=raw)
    at = next(index for index, member in enumerate(members) if member.path == "src/b.txt")
    del members[at]
    return gzip(archive(members))


def swapped_contents() -> Package:
    """Signed names, signed contents, in another order: renamed but signed."""
    files = contents({"src/a.txt": b"harmless!", "src/b.txt": b"dangerous"})
    members = entries(files)
    (a,) = [index for index, member in enumerate(members) if member.path == "src/a.txt"]
    members[a], members[a + 1] = (
        Entry("src/a.txt", members[a + 1].data),
        Entry("src/b.txt", members[a].data),
    )
    return gzip(archive(members))


def renamed(old: str, new: str) -> Package:
    members = [Entry(new if member.path == old else member.path, member.data) for member in entries(contents())]
    return gzip(archive(members))


def list_of_another() -> Package:
    """List and signature of one package, contents of another, both signed by the same key."""
    mine, other = entries(contents()), entries(contents({"src/plugin.py": b"import os\n"}))
    return gzip(archive([*mine[:2], *other[2:]]))


def listed_and_absent() -> Package:
    files = contents({"src/ghost.txt": b"boo"})
    members = [member for member in entries(files) if member.path != "src/ghost.txt"]
    return gzip(archive(members))


def list_raw(raw: bytes) -> Package:
    return gzip(archive(entries(contents(), raw_list=raw, raw_signature=signature(raw))))
