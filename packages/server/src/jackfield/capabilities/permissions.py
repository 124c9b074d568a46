"""Permissions: what they are called, what covers what, and how they are told to people. Pure.

| permission | lets a plugin |
| --- | --- |
| `storage`, `tables`, `cache`, `files`, `log` | keep data of its own, write its log |
| `events:SLUG.*`, `events:SLUG.name` | send events of its own |
| `secrets:FIELD` | read a secret of its configuration |
| `ENTITY:read`, `ENTITY:write` | see, or add, change and delete, the host's entities; neither implies the other |
| `http:HOST`, `http:*.HOST`, `http:HOST:PORT` | reach a host on the internet |
| `functions:PLUGIN.NAME`, `functions:PLUGIN.*` | call public functions of a plugin that it depends on |
| `notify` | send notifications to members |
| `members:read` | see names and e-mail addresses of members |
| `channels:KIND` | read and write messages on channels |
| `connections:NAME` | act in an account that the tenant connects |

A grant of an entity may be narrowed to some of its rows; see `row_filters`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from jackfield_sdk.manifest import Manifest

__all__ = [
    "KINDS",
    "RESERVED",
    "Asked",
    "Described",
    "Kind",
    "Risk",
    "asked",
    "covering",
    "covers",
    "describe",
    "entity_of",
]

Risk = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of permission, but for those of entities.

    Attributes:
        word: What it begins with.
        target: What stands behind the colon, in capitals; empty when the word is all of it.
        text: Completes “The plugin may …”; `{}` stands for the target.
    """

    word: str
    target: str
    text: str
    risk: Risk

    @property
    def form(self) -> str:
        """How it is written: `http:HOST`."""
        return f"{self.word}:{self.target}" if self.target else self.word


KINDS: Mapping[str, Kind] = {
    kind.word: kind
    for kind in (
        Kind("storage", "", "keep data of its own", "low"),
        Kind("tables", "", "keep tables of its own", "low"),
        Kind("cache", "", "remember things of its own for a while", "low"),
        Kind("files", "", "keep files of its own, which you can open", "low"),
        Kind("log", "", "write to its log, which you can read", "low"),
        Kind("events", "NAME", "send its own events ({}) to your other plugins", "low"),
        Kind("secrets", "FIELD", "read the secret “{}” that you enter in its settings", "low"),
        Kind("functions", "PLUGIN.NAME", "have another of your plugins do things for it ({})", "medium"),
        Kind("notify", "", "send notifications to your members", "medium"),
        Kind("members", "read", "see the names and e-mail addresses of your members", "medium"),
        Kind("http", "HOST", "exchange data with {}", "high"),
        Kind("channels", "KIND", "read and write messages on your {} channels", "high"),
        Kind("connections", "NAME", "act in the account that you connect as “{}”", "high"),
    )
}
"""All kinds but those of entities, the least risk first."""

RESERVED = frozenset({*KINDS, "config", "data", "metrics"})
"""First words with a meaning of their own; no entity may be called so."""

_WORDS = re.compile(r"[_.\-]+|(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a manifest asks for.

    Attributes:
        implied: A plugin's own things. They come with the installation, are shown, and can be withdrawn.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    implied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """A permission as the consent dialog shows it; `text` completes “The plugin may …”."""

    permission: str
    text: str
    risk: Risk


def asked(manifest: Manifest) -> Asked:
    """Everything that a manifest asks for, each permission once."""
    own = ["storage", "log", "cache", "files"]
    if manifest.tables:
        own.append("tables")
    if manifest.emits:
        own.append(f"events:{manifest.slug}.*")
    own += [f"connections:{connection.name}" for connection in manifest.connections]
    if manifest.config is not None:
        bound = manifest.config.secret_hosts
        own += [f"secrets:{name}" for name in manifest.config.secrets if name not in bound]
    named = {*manifest.permissions, *manifest.optional_permissions}
    return Asked(
        tuple(manifest.permissions),
        tuple(manifest.optional_permissions),
        tuple(permission for permission in own if permission not in named),
    )


def covers(grants: Collection[str], needed: str) -> bool:
    """Whether one of the grants gives the permission."""
    return covering(grants, needed) is not None


def covering(grants: Collection[str], needed: str) -> str | None:
    """The grant that gives the permission, or None.

    A `*` stands for everything behind a word (`customers:*`, `events:loyalty-points.*`) or for the names below a domain
    (`http:*.example.com`). It never stands for the word itself: no grant gives everything.
    """
    if "*" in needed:
        # Nobody needs a wildcard; it could only come from an argument.
        return None
    if needed in grants:
        return needed
    noun, colon, target = needed.partition(":")
    if not colon or not target:
        return None
    return min((grant for grant in grants if "*" in grant and _matches(grant, noun, target)), default=None)


def entity_of(permission: str) -> str | None:
    """The host's entity that a permission is about, or None."""
    noun, _, target = permission.partition(":")
    return noun if target in ("read", "write", "*") and noun not in RESERVED and "*" not in noun else None


def describe(permission: str) -> Described:
    """What a permission means, in plain words, and how much harm it can do."""
    noun, _, target = permission.partition(":")
    entity = entity_of(permission)
    if entity is not None:
        things = _words(entity)
        if target == "read":
            return Described(permission, f"see your {things}", "medium")
        verbs = "add, change and delete" if target == "write" else "see, add, change and delete"
        return Described(permission, f"{verbs} your {things}", "high")
    kind = KINDS.get(noun)
    if kind is None or bool(target) != bool(kind.target) or (kind.target == "read" and target not in ("read", "*")):
        return Described(permission, f"use “{permission}”, which this platform does not offer", "high")
    return Described(permission, kind.text.format(_told(noun, target)), kind.risk)


def _told(noun: str, target: str) -> str:
    """What stands behind the colon, for people."""
    if noun == "http":
        return "any address on the internet" if target == "*" else target.replace("*.", "any host below ")
    if noun == "functions":
        plugin, _, name = target.partition(".")
        return f"anything that {plugin} offers" if name == "*" else target
    if target == "*":
        return "all" if noun == "channels" else "any"
    return _words(target) if noun in ("secrets", "channels", "connections") else target


def _matches(grant: str, noun: str, target: str) -> bool:
    given, _, pattern = grant.partition(":")
    if given != noun:
        return False
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return (
            noun == "http"
            and pattern.count("*") == 1
            and len(target) > len(pattern) - 1
            and target.endswith(pattern[1:])
        )
    return pattern.endswith(".*") and len(target) > len(pattern) - 1 and target.startswith(pattern[:-1])


def _words(name: str) -> str:
    """`eventTypes` and `event_types` as “event types”."""
    return " ".join(part.lower() for part in _WORDS.split(name) if part)
