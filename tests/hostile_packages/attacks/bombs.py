"""Packages that mean to fill memory, disk or time. They come in chunks, and cost next to nothing to make."""

from __future__ import annotations

import functools
import gzip as standard_gzip
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jackfield_sdk.package import MAX_FILE_BYTES
from tests.hostile_packages.attacks import attack
from tests.hostile_packages.attacks.bent import list_raw
from tests.sdk.crafted import (
    Entry,
    archive,
    canonical,
    contents,
    entries,
    gzip,
    header,
    listing,
    package,
)

__all__ = ["BOMBS", "LARGE"]

HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Again:
    """The same bytes many times over, without the work of compressing them each time."""

    data: bytes
    count: int


def deflated(parts: Iterable[bytes | Again]) -> Iterator[bytes]:
    """One gzip member, without its end: nobody gets so far."""
    yield HEAD
    for part in parts:
        data, count = (part.data, part.count) if isinstance(part, Again) else (part, 1)
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        # Flushed whole, a piece refers to nothing before it, so it can be repeated.
        piece = deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH)
        at_once = max(1, MEGABYTE // 16 // len(piece))
        while count:
            yield piece * min(count, at_once)
            count -= min(count, at_once)


def zeros(megabytes: int) -> Again:
    return Again(bytes(MEGABYTE), megabytes)


def signed_head(files: Mapping[str, bytes], plain: Mapping[str, Any]) -> bytes:
    """List, signature and the files up to the last, as they lie in the archive."""
    return b"".join(member.encode() for member in entries(files, raw_list=canonical(plain)))


def ratio_bomb() -> Iterator[bytes]:
    """An honest package, with a gigabyte of zeros behind it."""
    return deflated([archive(entries(contents())), zeros(1024)])


def ratio_bomb_in_a_file() -> Iterator[bytes]:
    """A signed file of eight mebibytes, which goes on for a gigabyte."""
    files = contents({"src/z.dat": b""})
    plain = listing(files)
    plain["files"][-1][2] = MAX_FILE_BYTES
    head = signed_head({path: data for path, data in files.items() if path != "src/z.dat"}, plain)
    return deflated([head, header("src/z.dat", MAX_FILE_BYTES), zeros(1024)])


def ratio_bomb_before_the_list() -> Iterator[bytes]:
    return deflated([header("jackfield.list", 8**11 - 1), zeros(1024)])


def ratio_bomb_as_the_list() -> Iterator[bytes]:
    return deflated([header("jackfield.list", 2 * MEGABYTE), zeros(1024)])


def zeros_alone() -> Iterator[bytes]:
    return deflated([zeros(1024)])


def full_of_large_files() -> Iterator[bytes]:
    """Nine files of eight mebibytes on the list: more than all may have together."""
    files = contents({f"src/{number}.dat": b"" for number in range(9)})
    plain = listing(files)
    for row in plain["files"]:
        if row[0].endswith(".dat"):
            row[2] = MAX_FILE_BYTES
    head = [member.encode() for member in entries(files, raw_list=canonical(plain))[:2]]
    return deflated([*head, zeros(64)])


def nested_bomb() -> Iterator[bytes]:
    """A bomb that is a package that is a bomb."""
    inner = b"".join(ratio_bomb_in_a_file())
    return deflated([standard_gzip.compress(inner, 9), zeros(64)])


def own_image() -> bytes:
    """What it inflates to is what it is: one step of a quine, which is as far as anybody reads."""
    return gzip(gzip(archive(entries(contents()))))


def many_members() -> Iterator[bytes]:
    yield package()
    empty = standard_gzip.compress(b"")
    for _ in range(1000):
        yield empty * 100


def empty_blocks() -> Iterator[bytes]:
    """Eight mebibytes of deflate blocks with nothing in them."""
    yield HEAD
    for _ in range(128):
        yield b"\x00\x00\x00\xff\xff" * 13_107


def noise() -> Iterator[bytes]:
    """What does not compress, up to the limit of an upload and over it."""
    yield HEAD
    source_of = random.Random(7)
    for _ in range(17):
        block = source_of.randbytes(65_535)
        for _ in range(16):
            yield b"\x00\xff\xff\x00\x00" + block


def million_headers() -> Iterator[bytes]:
    """A million entries that no list names."""
    members = entries(contents())
    extra = Again(header("src/extra.txt", 0) * 1000, 1000)
    return deflated([b"".join(member.encode() for member in members), extra])


def million_listed() -> Iterator[bytes]:
    """A list of a million files: ninety mebibytes of it, signed."""
    row = b'["src/%07d.txt","' + b"0" * 64 + b'",0],'
    size = len(row % 0) * 1_000_000
    rows = b"".join(row % number for number in range(1000))
    return deflated([header("jackfield.list", size), Again(rows, 1000)])


def as_many_as_a_list_holds() -> Iterator[bytes]:
    """The longest signed list: over twenty thousand files."""
    rows = [[f"src/{number:05}.txt", "0" * 64, 0] for number in range(23_000)]
    raw = canonical(listing(contents(), files=rows))
    return deflated([member.encode() for member in entries(contents(), raw_list=raw)[:2]])


def as_many_as_are_allowed() -> Iterator[bytes]:
    """Five thousand files with the longest and deepest names there may be, the last of which lies."""
    long = "/".join(["n" * 9] * 13)
    files = contents({f"src/{long}/{number:04}{'x' * 60}.txt": b"" for number in range(4990)})
    members = entries(files)
    members[-1] = Entry(members[-1].path, b"surprise")
    return deflated([archive(members)])


def all_that_is_allowed(*, ending: bytes) -> Iterator[bytes]:
    """Fifty-six mebibytes in seven files, every one of them as it was signed; then how it ends."""
    return deflated([_large_archive()[:-1024], ending])


@functools.cache
def _large_archive() -> bytes:
    return archive(entries(contents({f"src/{number}.dat": bytes(MAX_FILE_BYTES) for number in range(7)})))


def large_and_false() -> bytes:
    """As much as there may be, good in form; its byte code is not what its source compiles to."""
    files = contents({f"src/{number}.dat": bytes(MAX_FILE_BYTES) for number in range(7)})
    return package({**files, "code/src/plugin.pyc": b"\xe3"})


def large_and_another() -> bytes:
    """The same, and its code says that it is another plugin: it has to be made into an image to be found out."""
    files = contents({f"src/{number}.dat": bytes(MAX_FILE_BYTES) for number in range(7)}, name="Another")
    return package(files)


def dribble() -> Iterator[bytes]:
    """A byte at a time, and not all of them."""
    return (bytes([byte]) for byte in package()[:-30])


def deep_list() -> bytes:
    return list_raw(b'{"files":' + b"[" * MEGABYTE)


BOMBS = (
    attack("gigabyte behind the end", "package-trailing-data package-too-large", ratio_bomb),
    attack("gigabyte in a file", "package-hash-mismatch", ratio_bomb_in_a_file),
    attack(
        "gigabyte announced before the list", "package-too-large package-header-invalid", ratio_bomb_before_the_list
    ),
    attack(
        "gigabyte as the list", "package-list-invalid package-header-invalid package-unsigned", ratio_bomb_as_the_list
    ),
    attack("gigabyte of zeros", "package-header-invalid", zeros_alone),
    attack("files too large together", "package-too-large", full_of_large_files),
    attack("bomb in a bomb", "package-header-invalid", nested_bomb),
    attack("inflates to itself", "package-header-invalid", own_image),
    attack("a hundred thousand members", "package-trailing-data", many_members),
    attack("blocks with nothing in them", "package-truncated", empty_blocks),
    attack("noise without end", "package-header-invalid body-too-large package-too-large", noise),
    attack("a million entries", "package-file-unlisted", million_headers),
    attack("a million on the list", "package-too-large", million_listed),
    attack("as many as a list holds", "package-too-many-files", as_many_as_a_list_holds),
    attack("as many as are allowed", "package-size-mismatch", as_many_as_are_allowed),
    attack(
        "all that is allowed, then too much",
        "package-trailing-data",
        lambda: all_that_is_allowed(ending=b"\0" * 1024 + b"x" * 512),
    ),
    attack("all that is allowed, then nothing", "package-truncated", lambda: all_that_is_allowed(ending=b"")),
    attack("a byte at a time", "package-truncated", dribble),
    attack("brackets without end", "package-list-invalid", deep_list),
)
"""Meant to fill memory, disk or time."""

LARGE = (
    attack("large, with other byte code", "bytecode-mismatch", large_and_false),
    attack("large, with other code", "manifest-mismatch", large_and_another),
)
"""Good in form and as large as may be, so the platform has to look at all of it."""
