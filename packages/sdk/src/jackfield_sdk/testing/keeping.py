"""What an installation keeps beside its tables, in memory: storage, cache, files. By the platform's rules, without its
limits on space."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jackfield_sdk import wire
from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.testing.plain import check_plain

__all__ = ["Keeping", "Operation"]

Operation = tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]
"""Type of the arguments, the permission for them, what is done."""

_VALUE_BYTES = 256 * 1024
_PAGE_BYTES = 1024 * 1024
_PART_BYTES = 240 * 1024
_FILE_BYTES = 16 * 1024 * 1024
_UPLOADS = 8
_SWEPT_AT_ONCE = 1000
_OVERHEAD = 200
_DAY_S = 24 * 3600

_TEXT = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z"
_KeyText = Annotated[str, Meta(min_length=1, max_length=256, pattern=_TEXT)]
_PrefixText = Annotated[str, Meta(max_length=256, pattern=_TEXT)]
_Ttl = Annotated[float, Meta(ge=0.001, le=10 * 366 * _DAY_S)]
_CacheTtl = Annotated[float, Meta(ge=0.001, le=_DAY_S)]
_Role = Literal["member", "admin", "owner"]

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff]")
_TYPE_TOKEN = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,79}"  # noqa: S105  # RFC 6838's word for it
_CONTENT_TYPE = re.compile(rf"{_TYPE_TOKEN}/{_TYPE_TOKEN}(?:; ?charset=[A-Za-z0-9_-]{{1,32}})?\Z")
_canonical = msgspec.msgpack.Encoder(order="deterministic").encode


class _Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all arguments."""


class _Key(_Arguments, frozen=True, kw_only=True):
    key: _KeyText


class _Keys(_Arguments, frozen=True, kw_only=True):
    keys: Annotated[list[_KeyText], Meta(min_length=1, max_length=100)]


class _Set(_Key, frozen=True, kw_only=True):
    value: Any
    ttl_s: _Ttl | None = None


class _SetMany(_Arguments, frozen=True, kw_only=True):
    items: Annotated[dict[_KeyText, Any], Meta(min_length=1, max_length=100)]
    ttl_s: _Ttl | None = None


class _CompareAndSet(_Set, frozen=True, kw_only=True):
    expected: Any = None
    version: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,16}\Z")] | None = None


class _Increment(_Key, frozen=True, kw_only=True):
    by: int | float = 1
    initial: int | float = 0
    ttl_s: _Ttl | None = None


class _Range(_Arguments, frozen=True, kw_only=True):
    prefix: _PrefixText = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: _PrefixText | None = None


class _Prefixed(_Arguments, frozen=True, kw_only=True):
    prefix: _KeyText


class _CacheSet(_Key, frozen=True, kw_only=True):
    value: Any
    ttl_s: _CacheTtl = 300.0


class _CacheIncrement(_Key, frozen=True, kw_only=True):
    by: int | float = 1
    initial: int | float = 0
    ttl_s: _CacheTtl = 300.0


class _AtPath(_Arguments, frozen=True, kw_only=True):
    path: Annotated[str, Meta(min_length=1, max_length=256)]


class _Heading(_AtPath, frozen=True, kw_only=True):
    content_type: Annotated[str, Meta(max_length=200)] = "application/octet-stream"
    role: _Role = "admin"


class _Write(_Heading, frozen=True, kw_only=True):
    data: Annotated[bytes, Meta(max_length=_PART_BYTES)]


class _Upload(_Arguments, frozen=True, kw_only=True):
    upload: Annotated[str, Meta(min_length=1, max_length=64)]


class _Send(_Upload, frozen=True, kw_only=True):
    number: Annotated[int, Meta(ge=0, le=_FILE_BYTES // _PART_BYTES)]
    data: Annotated[bytes, Meta(min_length=1, max_length=_PART_BYTES)]


class _Read(_AtPath, frozen=True, kw_only=True):
    number: Annotated[int, Meta(ge=0, le=_FILE_BYTES // _PART_BYTES)] = 0
    content: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class _Stored:
    """A file, or one on its way."""

    def __init__(self, id: str, heading: _Heading, now: float) -> None:
        self.id = id
        self.heading = heading
        self.data = b""
        self.parts = 0
        self.created_at = self.updated_at = now

    def told(self) -> dict[str, Any]:
        return {
            "path": self.heading.path, "content": self.id, "content_type": self.heading.content_type,
            "size_bytes": len(self.data), "role": self.heading.role, "created_at": self.created_at,
            "updated_at": self.updated_at,
        }  # fmt: skip


class Keeping:
    """All three.

    Args:
        now: Seconds since 1970.

    Attributes:
        storage: Key → value; tests may put something in.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.storage: dict[str, Any] = {}
        self.files: dict[str, _Stored] = {}
        self._now = now
        self._numbers = itertools.count(1)
        self._versions: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._cached: dict[str, tuple[Any, float]] = {}
        self._uploads: dict[str, _Stored] = {}

    def held(self) -> Callable[[], None]:
        """Note what is in storage now; what this returns brings it back."""
        storage, versions, ends = dict(self.storage), dict(self._versions), dict(self._ends)

        def bring_back() -> None:
            # Tests may hold on to what is shown as `storage`.
            self.storage.clear()
            self.storage.update(storage)
            self._versions, self._ends = versions, ends

        return bring_back

    def operations(self) -> dict[str, Operation]:
        """All of them, by name."""
        kept: dict[str, dict[str, tuple[type[Any], Callable[[Any], Any]]]] = {
            "storage": {
                "get": (_Key, self._get), "get_many": (_Keys, self._get_many), "entry": (_Key, self._entry),
                "set": (_Set, self._set), "set_many": (_SetMany, self._set_many),
                "compare_and_set": (_CompareAndSet, self._compare_and_set),
                "increment": (_Increment, self._increment), "delete": (_Key, self._delete),
                "delete_prefix": (_Prefixed, self._delete_prefix), "keys": (_Range, self._keys),
                "items": (_Range, self._items),
            },
            "cache": {
                "get": (_Key, self._cache_get), "set": (_CacheSet, self._cache_set),
                "increment": (_CacheIncrement, self._cache_increment), "delete": (_Key, self._cache_delete),
            },
            "files": {
                "stat": (_AtPath, self._stat), "list": (_Range, self._list), "read": (_Read, self._read),
                "write": (_Write, self._write), "begin": (_Heading, self._begin), "send": (_Send, self._send),
                "finish": (_Upload, self._finish), "abort": (_Upload, self._abort),
                "delete": (_AtPath, self._delete_file),
            },
        }  # fmt: skip
        return {
            f"{capability}.{name}": (type_, _always(capability), run)
            for capability, operations in kept.items()
            for name, (type_, run) in operations.items()
        }

    def purge(self) -> None:
        """Remove all of it."""
        for held in (self.storage, self._versions, self._ends, self._cached, self.files, self._uploads):
            held.clear()

    # -- storage -------------------------------------------------------------------------------------------------------

    def _live(self, key: str) -> bool:
        if self._ends.get(key, math.inf) <= self._now():
            self._drop(key)
        return key in self.storage

    def _drop(self, key: str) -> None:
        for held in (self.storage, self._versions, self._ends):
            held.pop(key, None)

    def _put(self, key: str, value: Any, ttl_s: float | None) -> None:
        self.storage[key] = value
        self._versions[key] = next(self._numbers)
        self._ends.pop(key, None)
        if ttl_s is not None:
            self._ends[key] = self._now() + ttl_s

    def _get(self, arguments: _Key) -> dict[str, Any]:
        found = self._live(arguments.key)
        return {"found": found, "value": copy.deepcopy(self.storage.get(arguments.key))}

    def _get_many(self, arguments: _Keys) -> dict[str, Any]:
        keys = [key for key in dict.fromkeys(arguments.keys) if self._live(key)]
        asked, rest = self._fitting(keys)
        return {"found": {key: copy.deepcopy(self.storage[key]) for key in asked}, "rest": rest}

    def _entry(self, arguments: _Key) -> dict[str, Any] | None:
        key = arguments.key
        if not self._live(key):
            return None
        version = self._versions.setdefault(key, next(self._numbers))
        value = copy.deepcopy(self.storage[key])
        return {"value": value, "version": f"{version:x}", "expires_at": self._ends.get(key)}

    def _set(self, arguments: _Set) -> None:
        self._put(arguments.key, _checked(arguments.value, "value"), arguments.ttl_s)

    def _set_many(self, arguments: _SetMany) -> None:
        for value in arguments.items.values():
            _checked(value, "value")
        for key, value in arguments.items.items():
            self._put(key, value, arguments.ttl_s)

    def _compare_and_set(self, arguments: _CompareAndSet) -> bool:
        key, value = arguments.key, _checked(arguments.value, "value")
        expected = _checked(arguments.expected, "expected")
        is_there = self._live(key)
        if arguments.version is not None:
            is_as_expected = is_there and f"{self._versions.get(key, 0):x}" == arguments.version
        elif expected is None:
            is_as_expected = not is_there
        else:
            is_as_expected = is_there and _canonical(self.storage[key]) == _canonical(expected)
        if is_as_expected:
            self._put(key, value, arguments.ttl_s)
        return is_as_expected

    def _increment(self, arguments: _Increment) -> int | float:
        key = arguments.key
        if not self._live(key):
            after = _sum(arguments.initial, arguments, key)
            self._put(key, after, arguments.ttl_s)
            return after
        after, ends = _sum(self.storage[key], arguments, key), self._ends.get(key)
        self._put(key, after, None)
        if ends is not None:
            self._ends[key] = ends
        return after

    def _delete(self, arguments: _Key) -> bool:
        was_there = self._live(arguments.key)
        self._drop(arguments.key)
        return was_there

    def _delete_prefix(self, arguments: _Prefixed) -> dict[str, Any]:
        keys = self._keys(_Range(prefix=arguments.prefix, limit=_SWEPT_AT_ONCE))
        for key in keys:
            self._drop(key)
        return {"deleted": len(keys), "more": len(keys) == _SWEPT_AT_ONCE}

    def _keys(self, arguments: _Range) -> list[str]:
        return _ranged([key for key in list(self.storage) if self._live(key)], arguments)

    def _items(self, arguments: _Range) -> dict[str, Any]:
        keys = self._keys(arguments)
        asked, rest = self._fitting(keys)
        more = bool(rest) or len(keys) == arguments.limit
        pairs = [[key, copy.deepcopy(self.storage[key])] for key in asked]
        return {"items": pairs, "next": asked[-1] if asked and more else None}

    def _fitting(self, keys: list[str]) -> tuple[list[str], list[str]]:
        total = 0
        for number, key in enumerate(keys):
            total += _OVERHEAD + len(key.encode()) + len(wire.encode(self.storage[key]))
            if total > _PAGE_BYTES and number:
                return keys[:number], keys[number:]
        return keys, []

    # -- cache ---------------------------------------------------------------------------------------------------------

    def _held(self, key: str) -> tuple[Any, float] | None:
        held = self._cached.get(key)
        if held is not None and held[1] <= self._now():
            del self._cached[key]
            return None
        return held

    def _cache_get(self, arguments: _Key) -> dict[str, Any]:
        held = self._held(arguments.key)
        return {"found": held is not None, "value": None if held is None else copy.deepcopy(held[0])}

    def _cache_set(self, arguments: _CacheSet) -> None:
        self._cached[arguments.key] = _checked(arguments.value, "value"), self._now() + arguments.ttl_s

    def _cache_increment(self, arguments: _CacheIncrement) -> int | float:
        before, ends = self._held(arguments.key) or (arguments.initial, self._now() + arguments.ttl_s)
        after = _sum(before, arguments, arguments.key)
        self._cached[arguments.key] = after, ends
        return after

    def _cache_delete(self, arguments: _Key) -> bool:
        was_there = self._held(arguments.key) is not None
        self._cached.pop(arguments.key, None)
        return was_there

    # -- files ---------------------------------------------------------------------------------------------------------

    def _stat(self, arguments: _AtPath) -> dict[str, Any] | None:
        file = self.files.get(_path(arguments.path))
        return None if file is None else file.told()

    def _list(self, arguments: _Range) -> list[dict[str, Any]]:
        return [self.files[path].told() for path in _ranged(list(self.files), arguments)]

    def _read(self, arguments: _Read) -> dict[str, Any]:
        path = _path(arguments.path)
        file = self.files.get(path)
        if file is None and arguments.content is None:
            raise CapabilityError(f"there is no file `{path}`", code="file-not-found")
        if file is None or (arguments.content is not None and arguments.content != file.id):
            raise CapabilityError(
                f"`{path}` is not what it was when it was first read", code="file-changed",
                hint="Read it again from the beginning.",
            )  # fmt: skip
        start = arguments.number * _PART_BYTES
        return {**file.told(), "data": file.data[start : start + _PART_BYTES]}

    def _write(self, arguments: _Write) -> dict[str, Any]:
        file = self._started(arguments)
        file.data = arguments.data
        return self._replace(file)

    def _begin(self, arguments: _Heading) -> dict[str, Any]:
        if len(self._uploads) >= _UPLOADS:
            raise CapabilityError(f"{_UPLOADS} files are half-written", code="uploads-too-many")
        file = self._started(arguments)
        self._uploads[file.id] = file
        return {"upload": file.id, "part_bytes": _PART_BYTES}

    def _send(self, arguments: _Send) -> int:
        file = self._upload(arguments.upload)
        if arguments.number != file.parts:
            raise CapabilityError(f"part {file.parts} comes next, not {arguments.number}", code="upload-missing")
        if len(file.data) != file.parts * _PART_BYTES:
            raise CapabilityError(f"all parts but the last have {_PART_BYTES} bytes", code="arguments-invalid")
        if len(file.data) + len(arguments.data) > _FILE_BYTES:
            raise CapabilityError(f"a file may have {_FILE_BYTES} bytes", code="file-too-large")
        file.data += arguments.data
        file.parts += 1
        return len(file.data)

    def _finish(self, arguments: _Upload) -> dict[str, Any]:
        file = self._upload(arguments.upload)
        del self._uploads[file.id]
        return self._replace(file)

    def _abort(self, arguments: _Upload) -> bool:
        return self._uploads.pop(arguments.upload, None) is not None

    def _delete_file(self, arguments: _AtPath) -> bool:
        return self.files.pop(_path(arguments.path), None) is not None

    def _started(self, arguments: _Heading) -> _Stored:
        _path(arguments.path)
        if not _CONTENT_TYPE.match(arguments.content_type):
            raise CapabilityError("`content_type` is not a media type", code="arguments-invalid")
        kind, semicolon, parameter = arguments.content_type.partition(";")
        heading = _Heading(path=arguments.path, content_type=kind.lower() + semicolon + parameter, role=arguments.role)
        return _Stored(f"file_{next(self._numbers)}", heading, self._now())

    def _replace(self, file: _Stored) -> dict[str, Any]:
        before = self.files.get(file.heading.path)
        file.updated_at = self._now()
        file.created_at = file.updated_at if before is None else before.created_at
        self.files[file.heading.path] = file
        return file.told()

    def _upload(self, id: str) -> _Stored:
        if id not in self._uploads:
            raise CapabilityError("there is no such upload", code="upload-missing")
        return self._uploads[id]


def _always(permission: str) -> Callable[[Any], str]:
    return lambda _arguments: permission


def _checked(value: Any, what: str) -> Any:
    check_plain(value, what)
    if len(wire.encode(value)) > _VALUE_BYTES:
        raise CapabilityError(f"`{what}` has more than {_VALUE_BYTES} bytes", code="arguments-invalid")
    return value


def _sum(before: Any, asked: _Increment | _CacheIncrement, key: str) -> int | float:
    for number in (asked.by, asked.initial):
        _kept(number)
    if isinstance(before, bool) or not isinstance(before, (int, float)):
        raise CapabilityError(f"what is kept under `{key}` is not a number", code="value-not-a-number")
    return _kept(before + asked.by)


def _kept(number: int | float) -> int | float:
    fits = math.isfinite(number) if isinstance(number, float) else -(2**63) <= number < 2**63
    if not fits:
        raise CapabilityError("the number would be outside of what can be kept", code="number-out-of-range")
    return number


def _ranged(names: list[str], arguments: _Range) -> list[str]:
    found = sorted(name for name in names if name.startswith(arguments.prefix))
    return [name for name in found if arguments.after is None or name > arguments.after][: arguments.limit]


def _path(path: str) -> str:
    if len(path) > 256 or _UNSAFE.search(path) or any(name in ("", ".", "..") for name in path.split("/")):
        raise CapabilityError(f"`{path[:80]}` cannot be a file's path", code="file-path-invalid")
    return path
