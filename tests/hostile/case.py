"""What a hostile case is: a handler to run inside, and how the platform must see it end."""

from __future__ import annotations

import errno
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BOTH",
    "CPU",
    "CRASHED",
    "MEMORY",
    "OK",
    "STRICT",
    "TIMEOUT",
    "UNPRIVILEGED",
    "VIOLATION",
    "Case",
    "Class",
    "End",
    "Plugin",
    "denied",
    "raised",
]

STRICT = frozenset({"strict"})
UNPRIVILEGED = frozenset({"unprivileged"})
BOTH = STRICT | UNPRIVILEGED


@dataclass(frozen=True)
class End:
    """One way in which a call may end, as the tenant's own admin sees it in the records.

    Attributes:
        says: Regular expression that the message must contain.
    """

    status: str
    code: str | None = None
    says: str = ""

    def fits(self, status: str, code: str | None, message: str) -> bool:
        """Whether a call ended this way."""
        return (self.status, self.code) == (status, code) and re.search(self.says, message or "") is not None


OK = End("ok")
MEMORY = End("memory", "memory-exceeded")
TIMEOUT = End("timeout", "deadline-exceeded")
CPU = End("cpu", "cpu-exceeded")
VIOLATION = End("violation", "protocol-violation")
CRASHED = End("crashed", "plugin-crashed")


def denied(*names: str) -> End:
    """The kernel's refusal left the handler as an `OSError` with one of these names; by default the filter's EPERM."""
    numbers = "|".join(str(getattr(errno, name)) for name in names or ("EPERM",))
    return End("error", "plugin-error", rf"\[Errno ({numbers})\]")


def raised(*names: str) -> End:
    """One of these exceptions left the handler."""
    return End("error", "plugin-error", rf"^({'|'.join(names)})\b")


@dataclass(frozen=True, init=False)
class Case:
    """One attack.

    Attributes:
        name: A few words, unique in its class.
        source: Body of a handler that takes `ctx` and `about` (see `Canaries.about`); what `arsenal.py` has is there.
            An attack that works returns; one that is stopped raises, or ends otherwise.
        ends: How the call may end.
        accepts: Judges what a handler returned that ended `ok`; where `ok` is not among the ends, to return is to
            escape.
        is_gentle: Does no harm where it works, so it may run with a layer switched off.
    """

    name: str
    source: str
    ends: tuple[End, ...]
    accepts: Callable[[Any], bool] | None
    levels: frozenset[str]
    timeout_ms: int
    is_gentle: bool

    def __init__(  # a table of cases reads best when the source comes first and the rest is named
        self,
        name: str,
        source: str,
        *ends: End,
        accepts: Callable[[Any], bool] | None = None,
        levels: frozenset[str] = BOTH,
        timeout_ms: int = 20_000,
        gentle: bool = False,
    ) -> None:
        if (OK in ends) != (accepts is not None):
            raise ValueError(f"{name}: a case that may end well says what it may have got, and no other does")
        for field, value in (
            ("name", name), ("source", textwrap.dedent(source).strip()), ("ends", ends or (denied(),)),
            ("accepts", accepts), ("levels", levels), ("timeout_ms", timeout_ms), ("is_gentle", gentle),
        ):  # fmt: skip
            object.__setattr__(self, field, value)


@dataclass(frozen=True)
class Plugin:
    """A plugin that cases run in; classes with the same needs share one.

    Attributes:
        limits: Arguments of `jf.Limits`.
        permissions: What it asks for, and is granted.
        extra: Source before the cases' own: tables, helpers.
    """

    slug: str
    limits: str = ""
    permissions: tuple[str, ...] = ()
    extra: str = ""

    def source(self, classes: Sequence[Class]) -> str:
        """Its `plugin.py`."""
        parts = [
            _HEAD,
            f"plugin = jf.Plugin({self.slug!r}, version='1.0.0', permissions={list(self.permissions)!r}, "
            f"limits=jf.Limits({self.limits}))",
            textwrap.dedent(self.extra),
        ]
        parts += [
            f"@plugin.function(timeout_ms={case.timeout_ms})\n"
            f"def {cls.function(case)}(ctx: jf.Context, about: dict[str, Any]) -> Any:\n"
            f"{textwrap.indent(case.source, '    ')}\n"
            for cls in classes
            if cls.plugin is self
            for case in cls.cases
        ]
        return "\n\n".join(parts)


@dataclass(frozen=True)
class Class:
    """Cases of one kind."""

    name: str
    plugin: Plugin
    cases: Sequence[Case]

    def __post_init__(self) -> None:
        names = [self.function(case) for case in self.cases]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: two cases have one name")

    def function(self, case: Case) -> str:
        """Name of a case's function in the plugin."""
        return f"{self.name}_{re.sub(r'[^a-z0-9]+', '_', case.name.lower()).strip('_')}"[:64]


_HEAD = """
from typing import Any

import jackfield_sdk as jf
from arsenal import *
"""
