"""What the kernel says about a server and its family."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "SMALL_DISK",
    "Family",
    "descriptors_of",
    "exists",
    "family_of",
    "groups_of",
    "mounts_of",
    "state_of",
    "until",
]

SMALL_DISK = "jackfield-test-disk"
"""What a small disk that a test mounts is called in the list of mounts."""
_GROUPS = (Path("/sys/fs/cgroup/memory/jackfield"), Path("/sys/fs/cgroup/jackfield"))


@dataclass(frozen=True)
class Family:
    """Process ids: zygotes have an outer half where they have namespaces of their own, and an inner one that forks."""

    outer: list[int]
    inner: list[int]
    isolates: list[int]

    @property
    def all(self) -> list[int]:
        return sorted({*self.outer, *self.inner, *self.isolates})


def family_of(server: int) -> Family:
    """Zygotes and isolates of a server."""
    outer = [pid for pid in _children(server) if _name(pid) in ("jf-zygote-outer", "jf-zygote")]
    inner = [child for pid in outer for child in _children(pid)] if _is_two_layered(outer) else outer
    return Family(outer, inner, [child for pid in inner for child in _children(pid)])


def exists(pid: int) -> bool:
    """Whether there is such a process; one that is dead and not yet reaped counts."""
    return Path("/proc", str(pid)).exists()


def groups_of(pid: int) -> list[Path]:
    """Folders of memory groups that a process has made."""
    return [path for root in _GROUPS if root.is_dir() for path in root.iterdir() if path.name.startswith(f"{pid}-")]


def descriptors_of(pid: int) -> int:
    """How many it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def mounts_of(pid: int) -> str:
    """What is mounted where it is, but for disks of tests that run at the same time."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return "\n".join(line for line in lines if f" {SMALL_DISK} " not in line)


async def until(claim: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: It did not.
    """
    async with asyncio.timeout(seconds):
        while not claim():  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(0.01)


def _children(pid: int) -> list[int]:
    try:
        threads: Iterable[str] = os.listdir(f"/proc/{pid}/task")
        return [
            int(child)
            for thread in threads
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            if state_of(int(child)) not in ("Z", "X", "")
        ]
    except OSError:
        return []


def _is_two_layered(outer: list[int]) -> bool:
    return any(_name(pid) == "jf-zygote-outer" for pid in outer)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def state_of(pid: int) -> str:
    """The kernel's letter; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""
