"""The program of a zygote, up to its first import of ours: in what order memory is taken.

A fork shares memory by pages, and CPython writes to an object when it merely looks at it. Two hundred objects that
every isolate looks at cost two hundred pages when they lie scattered among those that none does, and five when they lie
together. An interpreter moves nothing, so they have to be made together: first the names that plugins use, then the
standard library, and last, on pages of their own, our own modules. What that saves is in
docs/decisions/0007-fast-isolates.md.

Run by its path, so that nothing of the package is imported before it; it must import nothing but the standard library.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable

__all__ = ["UNWANTED", "fill_pools", "main"]

_HOT = (
    "abc types functools collections enum typing struct io re threading traceback linecache mmap marshal _struct "
    "_datetime importlib.abc importlib.machinery importlib.util importlib.resources.abc contextlib datetime warnings "
    "weakref dataclasses operator itertools keyword token tokenize"
).split()
"""What every isolate runs through, before what few do."""

# Each loaded library costs every fork about five mappings, so what has a substitute is left out: `_md5`, `_sha1`,
# `_sha256`, `_sha3` and `_sha512` (OpenSSL has them), the CJK codecs, the profiler, `_posixsubprocess`.
_EXTENSIONS = (
    "_asyncio _bisect _blake2 _bz2 _contextvars _csv _decimal _elementtree _hashlib _heapq _json _lzma _opcode _pickle "
    "_queue _random _socket _statistics _uuid _zoneinfo array binascii cmath fcntl math pyexpat resource select "
    "unicodedata zlib"
).split()

_MODULES = (
    "asyncio base64 bisect calendar collections.abc contextvars copy decimal gc hashlib heapq hmac html inspect json "
    "locale logging numbers os pathlib pickle queue string subprocess textwrap time urllib.parse uuid zoneinfo "
    "encodings.idna encodings.latin_1 encodings.ascii importlib.resources"
).split()

UNWANTED = ("ssl", "typing_extensions")
"""What must not be imported with what we import: OpenSSL's record layer, which asyncio would pull in though there are
no sockets; and a library that, where it happens to be installed, replaces parts of `typing` by slower ones. A plugin
may bring its own."""

_POOL_BYTES = 16 * 1024
_POOL_HEADER = 48
_CLASSES = range(16, 513, 16)
_ENOUGH = 20_000
_LARGE = (8192, 4096, 2048, 1536, 1024, 896, 768, 640, 528)
"""What the allocator leaves to the C library, whose holes are taken too."""
_IN_ORDER = 16


def _names(paths: list[str]) -> list[str]:
    """What is assigned, called or looked up by name in some files, each made an object now, those used often first."""
    used: dict[str, int] = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read() + " "
        start = -1
        for at, character in enumerate(text):
            if character.isalnum() or character == "_":
                if start < 0:
                    start = at
            elif start >= 0:
                word = text[start:at]
                if (character in ":=(" or text[start - 1] == ".") and word.isidentifier():
                    used[word] = used.get(word, 0) + 1
                start = -1
    return [sys.intern(word) for word in sorted(used, key=used.__getitem__, reverse=True)]


def _preload(names: Iterable[str]) -> None:
    for name in names:
        try:
            __import__(name)
        except ImportError:  # not every build has every extension
            continue


def fill_pools() -> list[bytes]:
    """Take what is left in every half-used pool of the allocator, so that what is made next lies together on fresh
    pages.

    Returns:
        The filling; keep it alive.
    """
    filling: list[bytes] = []
    overhead = sys.getsizeof(b"")
    for size in _CLASSES:
        length = size - overhead
        if length <= 0:
            # The smallest classes hold no bytes object; their pools are few.
            continue
        last = in_order = 0
        for _ in range(_ENOUGH):
            block = bytes(length)
            filling.append(block)
            # Three after the other from the start of a pool: it is a fresh one.
            in_order = in_order + 1 if id(block) == last + size and in_order else 0
            if (id(block) - _POOL_HEADER) % _POOL_BYTES == 0:
                in_order = 1
            last = id(block)
            if in_order == 3:
                break
    for size in _LARGE:
        highest = 0
        in_order = 0
        for _ in range(_ENOUGH):
            block = bytes(size - overhead)
            filling.append(block)
            in_order = in_order + 1 if id(block) > highest else 0
            highest = max(highest, id(block))
            if in_order == _IN_ORDER:
                break
    return filling


def main(paths: list[str], vocabulary: list[str]) -> None:
    """Take memory in order, then become the zygote.

    Args:
        paths: Folders that our packages are imported from.
        vocabulary: Files whose words are the names that plugins use.
    """
    for name in UNWANTED:
        sys.modules[name] = None  # pyright: ignore[reportArgumentType]  # how an import is made to fail
    gc.disable()
    kept: list[object] = [_names(vocabulary)]
    for names in (_HOT, [*_EXTENSIONS, *_MODULES]):
        _preload(names)
        gc.collect()
        kept.append(fill_pools())
    sys.path[:0] = paths
    from jackfield_sandbox import zygote

    zygote.main(kept)


if __name__ == "__main__":
    _border = sys.argv.index("--")
    main(sys.argv[2:_border], sys.argv[_border + 1 :])
