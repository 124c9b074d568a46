"""Small files of the installation, which people of the tenant can download."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.errors import CapabilityError

__all__ = ["File", "FileReader", "FileWriter", "Files", "Role"]

Role = Literal["member", "admin", "owner"]

_PART_BYTES = 240 * 1024
"""What one message takes; the broker says the same when a file is begun."""
_TYPES = {
    "csv": "text/csv; charset=utf-8", "gif": "image/gif", "html": "text/html; charset=utf-8", "ics": "text/calendar",
    "jpeg": "image/jpeg", "jpg": "image/jpeg", "json": "application/json", "jsonl": "application/x-ndjson",
    "md": "text/markdown; charset=utf-8", "pdf": "application/pdf", "png": "image/png", "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8", "webp": "image/webp", "xml": "application/xml", "zip": "application/zip",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip


class File:
    """A file, without its content.

    Attributes:
        content: Names the content; another one with each write.
        role: The least role in the tenant that may download it.
    """

    __slots__ = ("_created", "_updated", "content", "content_type", "path", "role", "size_bytes")

    def __init__(self, told: dict[str, Any]) -> None:
        self.path: str = told["path"]
        self.content: str = told["content"]
        self.content_type: str = told["content_type"]
        self.size_bytes: int = told["size_bytes"]
        self.role: Role = told["role"]
        self._created: float = told["created_at"]
        self._updated: float = told["updated_at"]

    @property
    def created_at(self) -> datetime:
        """When it was first written, in UTC."""
        return datetime.fromtimestamp(self._created, UTC)

    @property
    def updated_at(self) -> datetime:
        """When it was last written, in UTC."""
        return datetime.fromtimestamp(self._updated, UTC)


class Files:
    """`ctx.files`: files of up to 16 MiB, with a content type; they count against the installation's space.

    A path is names joined by `/`, as `reports/2026/march.csv`. People download a file at
    `GET /api/plugins/{slug}/files/{path}`, if their role is `role` or above it: admins, unless you say otherwise. A
    browser saves it and never opens it in the host's page.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def write(self, path: str, data: bytes | str, content_type: str | None = None, *, role: Role = "admin") -> File:
        """Write a file, all at once; it replaces what was there.

        Args:
            data: Text is written as UTF-8.
            content_type: Told from the path's ending when absent.

        Raises:
            CapabilityError: `file-path-invalid`, `file-too-large`, `storage-full`.
        """
        encoded = data.encode() if isinstance(data, str) else bytes(data)
        if len(encoded) <= _PART_BYTES:
            arguments = {**_heading(path, content_type, role), "data": encoded}
            return File(self._host.call("files", "write", arguments))
        with self.create(path, content_type, role=role) as out:
            out.write(encoded)
        return out.finished()

    def create(self, path: str, content_type: str | None = None, *, role: Role = "admin") -> FileWriter:
        """Write a file piece by piece, in a `with` block. When the block ends it is there; when it raises it is not."""
        return FileWriter(self._host, _heading(path, content_type, role))

    def read(self, path: str) -> bytes:
        """All of a file.

        Raises:
            CapabilityError: `file-not-found`; `file-changed` when it is replaced meanwhile.
        """
        return self.open(path).read()

    def open(self, path: str) -> FileReader:
        """Read a file piece by piece.

        Raises:
            CapabilityError: `file-not-found`.
        """
        return FileReader(self._host, path)

    def stat(self, path: str) -> File | None:
        """What there is to know of a file; None when there is none."""
        told = self._host.call("files", "stat", {"path": path})
        return None if told is None else File(told)

    def list(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> list[File]:
        """Files whose path begins with `prefix`, sorted; `after` continues behind a path."""
        told = self._host.call("files", "list", {"prefix": prefix, "limit": limit, "after": after})
        return [File(one) for one in told]

    def delete(self, path: str) -> bool:
        """Remove a file; whether it was there."""
        return self._host.call("files", "delete", {"path": path})


class FileWriter:
    """A file that is being written. Use it in a `with` block."""

    def __init__(self, host: Host, heading: dict[str, Any]) -> None:
        self._host = host
        self._heading = heading
        self._buffer = bytearray()
        self._upload: str | None = None
        self._number = 0
        self._file: File | None = None

    def write(self, data: bytes | str) -> int:
        """Add to it; the number of bytes."""
        encoded = data.encode() if isinstance(data, str) else data
        self._buffer += encoded
        while len(self._buffer) > _PART_BYTES:
            self._send(bytes(self._buffer[:_PART_BYTES]))
            del self._buffer[:_PART_BYTES]
        return len(encoded)

    def finished(self) -> File:
        """The file, once the block has ended.

        Raises:
            CapabilityError: `upload-missing`: it has not, or it raised.
        """
        if self._file is None:
            raise CapabilityError("the file was not finished", code="upload-missing")
        return self._file

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._upload is not None:
                self._host.call("files", "abort", {"upload": self._upload})
        elif self._upload is None:
            self._file = File(self._host.call("files", "write", {**self._heading, "data": bytes(self._buffer)}))
        else:
            if self._buffer:
                self._send(bytes(self._buffer))
            self._file = File(self._host.call("files", "finish", {"upload": self._upload}))
        self._buffer.clear()

    def _send(self, part: bytes) -> None:
        if self._upload is None:
            self._upload = self._host.call("files", "begin", self._heading)["upload"]
        self._host.call("files", "send", {"upload": self._upload, "number": self._number, "data": part})
        self._number += 1


class FileReader:
    """A file that is being read, from its beginning to its end.

    Attributes:
        file: What there is to know of it.
    """

    def __init__(self, host: Host, path: str) -> None:
        self._host = host
        told = host.call("files", "read", {"path": path})
        self.file = File(told)
        self._buffer: bytes = told["data"]
        self._number = 1
        self._left = self.file.size_bytes - len(self._buffer)

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes, all that is left when it is negative; none at the end.

        Raises:
            CapabilityError: `file-changed`: it was replaced meanwhile.
        """
        pieces: list[bytes] = []
        wanted = size if size >= 0 else len(self._buffer) + self._left
        while wanted > 0 and (self._buffer or self._fill()):
            piece, self._buffer = self._buffer[:wanted], self._buffer[wanted:]
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def __iter__(self) -> Iterator[bytes]:
        """Parts as they come."""
        while self._buffer or self._fill():
            part, self._buffer = self._buffer, b""
            yield part

    def _fill(self) -> bool:
        if self._left <= 0:
            return False
        arguments = {"path": self.file.path, "number": self._number, "content": self.file.content}
        self._buffer = self._host.call("files", "read", arguments)["data"]
        self._number += 1
        self._left -= len(self._buffer)
        return bool(self._buffer)


def _heading(path: str, content_type: str | None, role: Role) -> dict[str, Any]:
    ending = path.rpartition(".")[2].lower()
    return {"path": path, "content_type": content_type or _TYPES.get(ending, "application/octet-stream"), "role": role}
