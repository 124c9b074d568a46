"""Memory cgroups, version 1 or 2, one per isolate, from a small stock of ready ones.

The group is the last word on memory: what the kernel charges a process beyond its own pages (page cache, socket
buffers) counts too, and at the limit the kernel kills inside the group and nowhere else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cgroup", "CgroupError", "CgroupParent", "open_cgroups"]

_ROOT = Path("/sys/fs/cgroup")
_PATIENCE_S = 2.0


class CgroupError(OSError):
    """Memory groups cannot be made here."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One group; `procs` is the open file that a process writes itself into."""

    path: Path
    procs: int
    version: int

    def oom_kills(self) -> int:
        """How often the kernel has killed in this group."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in (self.path / name).read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0


class CgroupParent:
    """The folder that this process's groups live in.

    Args:
        path: Removed by `close`, with what is in it.
    """

    def __init__(self, path: Path, version: int) -> None:
        self._path = path
        self._version = version
        self._number = 0
        self._in_use: list[Path] = []
        self._open: set[int] = set()

    def limit(self, memory_bytes: int) -> None:
        """Bound what all groups take together: over it, the kernel kills in one of them and nowhere else."""
        try:
            _limit(self._path, self._version, memory_bytes)
        except OSError as error:
            raise CgroupError(error.errno, f"cannot limit all memory groups: {error.strerror}") from error

    def used_bytes(self) -> int:
        """What all groups take together."""
        name = "memory.current" if self._version == 2 else "memory.usage_in_bytes"
        descriptor = os.open(f"{self._path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(descriptor, 100))
        finally:
            os.close(descriptor)

    def take(self, memory_bytes: int) -> Cgroup:
        """A new group with this limit."""
        self._number += 1
        path = self._path / str(self._number)
        try:
            path.mkdir()
            _limit(path, self._version, memory_bytes)
            procs = os.open(path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CgroupError(error.errno, f"cannot make a memory group: {error.strerror}") from error
        self._open.add(procs)
        return Cgroup(path, procs, self._version)

    def resize(self, group: Cgroup, memory_bytes: int) -> None:
        """Change the limit of a group that is not in use."""
        name = "memory.max" if self._version == 2 else "memory.limit_in_bytes"
        (group.path / name).write_text(str(memory_bytes))

    def give_back(self, group: Cgroup) -> bool:
        """Remove a group; False while a process is still in it, which `tidy` waits for."""
        if group.procs in self._open:
            self._open.remove(group.procs)
            os.close(group.procs)
        if _remove_group(group.path):
            return True
        self._in_use.append(group.path)
        return False

    def tidy(self) -> None:
        """Remove the groups that were given back with a process in them, as far as it has gone."""
        if self._in_use:
            self._in_use = [path for path in self._in_use if not _remove_group(path)]

    def close(self) -> None:
        """Remove the folder and what is in it; a process that has just died leaves its group a moment later.

        Groups that nobody gave back are closed, too.
        """
        while self._open:
            os.close(self._open.pop())
        deadline = time.monotonic() + _PATIENCE_S
        while not _remove(self._path) and time.monotonic() < deadline:
            time.sleep(0.005)


def _limit(path: Path, version: int, memory_bytes: int) -> None:
    if version == 2:
        (path / "memory.max").write_text(str(memory_bytes))
        with contextlib.suppress(FileNotFoundError):  # no swap accounting in this kernel
            (path / "memory.swap.max").write_text("0")
    else:
        (path / "memory.limit_in_bytes").write_text(str(memory_bytes))


def _remove_group(path: Path) -> bool:
    """Whether it is gone."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove(path: Path) -> bool:
    """Whether it is gone."""
    if not path.is_dir():
        return True
    for child in path.iterdir():
        if child.is_dir():
            with contextlib.suppress(OSError):
                child.rmdir()
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.is_dir()


@contextlib.contextmanager
def open_cgroups() -> Generator[CgroupParent]:
    """A parent for the length of a block."""
    parent = new_parent()
    try:
        yield parent
    finally:
        parent.close()


def new_parent() -> CgroupParent:
    """Find where this process may make memory groups.

    Raises:
        CgroupError: Nowhere; the hint says what is missing.
    """
    memory = _ROOT / "memory"
    if (memory / "memory.limit_in_bytes").exists() or (memory / "cgroup.procs").exists():
        base, version = memory / "jackfield", 1
    elif "memory" in _controllers(_ROOT):
        base, version = _ROOT / "jackfield", 2
    else:
        raise CgroupError("no memory controller is mounted under /sys/fs/cgroup")
    try:
        base.mkdir(exist_ok=True)
        if version == 2:
            _delegate(_ROOT)
            _delegate(base)
        _sweep(base)
        path = _own_folder(base)
        if version == 2:
            _delegate(path)
    except OSError as error:
        raise CgroupError(error.errno, f"cannot make memory groups under {base}: {error.strerror}") from error
    return CgroupParent(path, version)


def _own_folder(base: Path) -> Path:
    """A new folder of this process's; its threads may ask at the same time."""
    own = f"{os.getpid()}-{_started_at(os.getpid())}"
    for number in itertools.count():
        path = base / (f"{own}-{number}" if number else own)
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


def _controllers(path: Path) -> list[str]:
    try:
        return (path / "cgroup.controllers").read_text().split()
    except OSError:
        return []


def _delegate(path: Path) -> None:
    if "memory" not in (path / "cgroup.subtree_control").read_text().split():
        (path / "cgroup.subtree_control").write_text("+memory")


def _started_at(pid: int) -> str:
    """When a process was started, as the kernel counts: process ids come back. Empty when there is none."""
    try:
        # After the name, which may hold anything: field 22 of proc(5).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    except OSError:
        return ""


def _sweep(base: Path) -> None:
    """Remove the folders of processes that are gone."""
    for child in base.iterdir():
        pid, _, rest = child.name.partition("-")
        if child.is_dir() and pid.isdigit() and _started_at(int(pid)) != rest.partition("-")[0]:
            _remove(child)
