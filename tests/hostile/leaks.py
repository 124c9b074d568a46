"""What a platform must not leave behind: processes, descriptors, memory groups, mounts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Belongings", "children_of_isolates", "descendants"]

_GROUPS = (Path("/sys/fs/cgroup/memory/jackfield"), Path("/sys/fs/cgroup/jackfield"))


@dataclass(frozen=True)
class Belongings:
    """What this process has, counted."""

    processes: frozenset[int]
    descriptors: frozenset[str]
    groups: frozenset[str]
    mounts: tuple[str, ...]

    @staticmethod
    def now() -> Belongings:
        """Counted now."""
        own = f"{os.getpid()}"
        groups = [
            path.name
            for base in _GROUPS
            if base.is_dir()
            for path in base.iterdir()
            if path.name.partition("-")[0] == own
        ]
        return Belongings(
            frozenset(descendants(os.getpid())),
            frozenset(_descriptors()),
            frozenset(groups),
            tuple(sorted(Path("/proc/self/mountinfo").read_text().splitlines())),
        )

    def more_than(self, other: Belongings) -> dict[str, object]:
        """What has been added since."""
        added = {
            "processes": sorted(self.processes - other.processes),
            "descriptors": sorted(self.descriptors - other.descriptors),
            "groups": sorted(self.groups - other.groups),
            "mounts": sorted(set(self.mounts) - set(other.mounts)),
        }
        return {kind: things for kind, things in added.items() if things}


def _descriptors() -> list[str]:
    found: list[str] = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = Path(f"/proc/self/fd/{name}").readlink()
        except OSError:
            # The listing's own.
            continue
        found.append(f"{name} {target}")
    return found


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry)] = int(fields[1])
    return parents


def descendants(root: int) -> dict[int, int]:
    """Every process that comes from this one → how many generations away it is."""
    parents = _parents()
    found: dict[int, int] = {}
    for pid in parents:
        distance, ancestor = 0, pid
        while ancestor > 1 and ancestor != root:
            ancestor = parents.get(ancestor, 0)
            distance += 1
        if ancestor == root and pid != root:
            found[pid] = distance
    return found


def children_of_isolates(isolates: list[int]) -> list[int]:
    """Processes that a plugin has started. There must never be one."""
    inside = set(isolates)
    return [pid for pid, parent in _parents().items() if parent in inside]
