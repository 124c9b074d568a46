"""What the machine has, and whether what the settings promise fits into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jackfield.quotas.errors import CapacityError
from jackfield.settings import Settings

__all__ = ["Capacity", "Machine", "capacity_of", "check"]

_SAFE_PART = 0.75
_BEING_THERE_MB = 2
"""What an isolate takes that does nothing: 1.6 MB were measured."""
_USUAL_MB = 16
"""What one takes on average that has done something, for the default of their number."""
_MOST_ISOLATES = 4096
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory, in MB.

    Attributes:
        total_mb: Of the machine, or what the control group of this process may have when that is less.
        available_mb: What is left of it now.
        limited_by: What it is that has so much, in words.
    """

    total_mb: int
    available_mb: int
    limited_by: str = "this machine"

    @classmethod
    def here(cls, root: Path = Path("/")) -> Machine:
        """This one.

        Args:
            root: Where `proc` and `sys` are.
        """
        fields = {
            name: int(rest.split()[0]) // 1024
            for name, _, rest in (line.partition(":") for line in (root / "proc/meminfo").read_text().splitlines())
            if rest.split()
        }
        total, available, what = fields["MemTotal"], fields.get("MemAvailable", fields["MemFree"]), "this machine"
        for limit_mb, used_mb in _groups(root):
            if limit_mb < total:
                total, what = limit_mb, "the control group of this process"
            available = min(available, max(0, limit_mb - used_mb))
        return cls(total, available, what)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What this node gives its isolates.

    Attributes:
        memory_mb: All of them together.
        isolates: How many may be alive.
    """

    memory_mb: int
    isolates: int


def capacity_of(settings: Settings, machine: Machine) -> Capacity:
    """The settings, with what they leave open filled in from the machine. Pure."""
    memory_mb = settings.node_memory_mb or int(machine.available_mb * _SAFE_PART)
    isolates = settings.isolate_budget or max(1, min(memory_mb // _USUAL_MB, _MOST_ISOLATES))
    return Capacity(memory_mb, isolates)


def check(settings: Settings, machine: Machine) -> Capacity:
    """What this node gives its isolates.

    Raises:
        CapacityError: The settings promise more than there is.
    """
    capacity = capacity_of(settings, machine)
    limits = settings.limits
    has = f"{machine.limited_by} has {machine.total_mb} MB, {machine.available_mb} MB of them free"
    if settings.node_memory_mb is not None and settings.node_memory_mb > machine.total_mb:
        raise CapacityError(
            f"isolates are promised {settings.node_memory_mb} MB, and {has}",
            hint=f"Set JACKFIELD_NODE_MEMORY_MB to {int(machine.available_mb * _SAFE_PART)} or less, or leave it out.",
            node_memory_mb=settings.node_memory_mb, total_mb=machine.total_mb,
        )  # fmt: skip
    where = "JACKFIELD_NODE_MEMORY_MB" if settings.node_memory_mb else f"three quarters of what is free: {has}"
    worst_mb = limits.memory_mb * limits.concurrency
    if worst_mb > capacity.memory_mb:
        raise CapacityError(
            f"one installation may have {limits.concurrency} isolates of {limits.memory_mb} MB, {worst_mb} MB "
            f"together, and all isolates of the node may have {capacity.memory_mb} MB ({where})",
            hint=f"Lower JACKFIELD_LIMIT_MEMORY_MB to {capacity.memory_mb // limits.concurrency} or "
            f"JACKFIELD_LIMIT_CONCURRENCY to {capacity.memory_mb // limits.memory_mb}, or give the node more memory.",
            needed_mb=worst_mb, memory_mb=capacity.memory_mb,
        )  # fmt: skip
    least_mb = capacity.isolates * _BEING_THERE_MB
    if least_mb > capacity.memory_mb:
        raise CapacityError(
            f"{capacity.isolates} isolates take {least_mb} MB even when they do nothing, and may have "
            f"{capacity.memory_mb} MB ({where})",
            hint=f"Lower JACKFIELD_ISOLATE_BUDGET to {capacity.memory_mb // _BEING_THERE_MB} or less, or leave it out.",
            needed_mb=least_mb, memory_mb=capacity.memory_mb,
        )  # fmt: skip
    return capacity


def _groups(root: Path) -> list[tuple[int, int]]:
    """Limit and use, in MB, of the control groups around this process, of version 1 or 2; those without a limit left
    out."""
    found: list[tuple[int, int]] = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            base, limit_file, used_file = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit_file, used_file = (
                root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            )  # fmt: skip
        else:
            continue
        folder = base / path.strip("/")
        # In a container the path is the outer one, and what is mounted is the group itself.
        for place in (folder, *folder.parents) if folder.is_dir() else (base,):
            if (limit := _read(place / limit_file)) is not None:
                used = _read(place / used_file) or 0
                found.append((limit // _MB, max(0, used - _reclaimable(place)) // _MB))
            if place == base:
                break
    return found


def _read(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable(place: Path) -> int:
    """Bytes of files that the kernel gives up when memory is wanted."""
    try:
        lines = (place / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    stat = {name: int(value) for name, value in (line.split()[:2] for line in lines if len(line.split()) >= 2)}
    return stat.get("total_inactive_file", stat.get("inactive_file", 0))
