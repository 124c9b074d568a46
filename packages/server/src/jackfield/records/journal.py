"""Files that hold records until the database has them.

A frame is four bytes of length, four of CRC-32 (both little endian) and a msgpack array. It is written with one
write(2) and not synced: it survives the death of the process, though not a power cut. A process holds a lock on the
segment it writes, so another one that shares the folder takes over only what the dead have left.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Generator
from pathlib import Path

import msgspec
import structlog

from jackfield import ids
from jackfield.records.record import InvocationRecord

__all__ = ["Segment", "encode_frame", "leftovers"]

_log = structlog.stdlib.get_logger(__name__)

_MAGIC = b"JFJ1"
_HEAD = struct.Struct("<II")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(InvocationRecord)


def encode_frame(record: InvocationRecord) -> bytearray:
    """A record as it stands in a segment."""
    frame = bytearray(_HEAD.size)
    _encoder.encode_into(record, frame, _HEAD.size)
    _HEAD.pack_into(frame, 0, len(frame) - _HEAD.size, zlib.crc32(memoryview(frame)[_HEAD.size :]))
    return frame


class Segment:
    """One file of the journal, locked by this process."""

    __slots__ = ("_fd", "_size", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._size = os.fstat(fd).st_size

    @classmethod
    def create(cls, folder: Path) -> Segment:
        """A new, empty segment.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = folder / f"{ids.new_id('seg')}.journal"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:
                    os.write(fd, _MAGIC)
                    return cls(path, fd)
            except BaseException:
                os.close(fd)
                raise
            # Another process was quicker with the lock and took the empty file for a leftover.
            os.close(fd)

    def append(self, frame: bytearray) -> None:
        """Add a frame, whole or not at all.

        Raises:
            OSError: The disk is full.
        """
        written = os.write(self._fd, frame)
        if written != len(frame):
            os.ftruncate(self._fd, self._size)  # a torn frame would hide all that follow it
            raise OSError(f"{written} of {len(frame)} bytes written to {self.path.name}")
        self._size += written

    def read(self) -> list[InvocationRecord]:
        """All records up to the first that is damaged, as the last one may be after a power cut."""
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        records: list[InvocationRecord] = []
        if not data.startswith(_MAGIC):
            if data:
                _log.warning("journal-unreadable", segment=self.path.name, lost_bytes=len(data))
            return records
        position = len(_MAGIC)
        while position + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, position)
            body = data[position + _HEAD.size : position + _HEAD.size + length]
            if len(body) < length or zlib.crc32(body) != checksum:
                break
            try:
                records.append(_decoder.decode(body))
            except msgspec.DecodeError:
                break
            position += _HEAD.size + length
        if position < len(data):
            _log.warning("journal-damaged", segment=self.path.name, lost_bytes=len(data) - position)
        return records

    def discard(self) -> None:
        """The database has it all: delete the file."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give the file up, for another process or the next start to take over."""
        os.close(self._fd)


def leftovers(folder: Path) -> Generator[Segment]:
    """Segments whose process is dead, the oldest first; now locked by this one."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*.journal")):
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        yield Segment(path, fd)
