"""Which layer stops what: the gentle cases with layers left off, one set after the other.

`python -m tests.hostile.matrix` prints the tables of docs/explanation/isolation.md as seen on this machine.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jackfield_sandbox import Layer
from jackfield_sandbox.layers import LEVELS
from tests.hostile.canaries import Canaries, planted
from tests.hostile.case import Case, Class
from tests.hostile.cases import CLASSES
from tests.hostile.house import ATTACKER, House, Packages, pack, running

__all__ = ["OPEN", "SETS", "Seen", "see"]

OPEN = "open"
_BEHIND = Layer.SECCOMP
"""The system call filter stops nearly everything, so what stands behind it is seen when it is off."""
SETS: dict[str, Layer] = {
    "all on": Layer(0),
    "no seccomp": Layer.SECCOMP,
    "no rlimits": Layer.RLIMITS,
    "no cgroup": Layer.CGROUP,
    "no own uid": Layer.OWN_UID,
    "no closing": Layer.DESCRIPTORS,
    "no seccomp, no Landlock": _BEHIND | Layer.LANDLOCK,
    "no seccomp, no empty root": _BEHIND | Layer.EMPTY_ROOT,
    # An empty root needs a mount namespace.
    "no seccomp, no namespaces": _BEHIND | Layer.NAMESPACES | Layer.EMPTY_ROOT,
    "no seccomp, no own uid": _BEHIND | Layer.OWN_UID,
}
_GENTLE = [(cls, case) for cls in CLASSES for case in cls.cases if case.is_gentle]


@dataclass(frozen=True)
class Seen:
    """What was seen at a level: name of the set → case → `open`, or what stopped it."""

    level: str
    columns: dict[str, dict[str, str]]

    def table(self) -> str:
        """As Markdown."""
        names = list(self.columns)
        lines = [f"| attack | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
        for key in self.columns["all on"]:
            cells = [self.columns[name][key] for name in names]
            lines.append(f"| {key} | {' | '.join('**open**' if cell == OPEN else cell for cell in cells)} |")
        return "\n".join(lines)


async def see(level: str, folder: Path, packages: Packages, canaries: Canaries) -> Seen:
    """Run the gentle cases with each set of layers off that the level has."""
    packages = packages.only({"neighbour", *(cls.plugin.slug for cls, _case in _GENTLE)})
    found: dict[str, dict[str, str]] = {}
    for name, off in SETS.items():
        if off & ~LEVELS[level]:
            continue
        async with running(folder, level, packages, canaries, without=off) as house:
            found[name] = {
                f"{cls.name}: {case.name}": await _met(house, cls, case)
                for cls, case in _GENTLE
                if level in case.levels
            }
    return Seen(level, found)


async def _met(house: House, cls: Class, case: Case) -> str:
    await house.begin_anew()
    answer = await house.call(ATTACKER, cls.plugin.slug, cls.function(case), about=house.facts)
    house.canaries.tripped()
    if answer["success"]:
        return OPEN if case.accepts is None or not case.accepts(answer["output"]) else "closed"
    return _named(answer["error"]["code"], answer["error"]["message"])


def _named(code: str, message: str) -> str:
    if code != "plugin-error":
        return code
    if number := re.search(r"\[Errno (\d+)\]", message):
        return errno.errorcode.get(int(number[1]), "OSError")
    return message.partition(":")[0]


async def _print(level: str) -> None:
    with tempfile.TemporaryDirectory() as name, planted() as canaries:
        seen = await see(level, Path(name) / "data", pack(Path(name), CLASSES), canaries)
    print(f"\n{level}\n\n{seen.table()}")


if __name__ == "__main__":
    for each in ("strict", "unprivileged") if os.geteuid() == 0 else ("unprivileged",):
        asyncio.run(_print(each))
