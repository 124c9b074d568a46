"""Permissions: what they are called, what covers what, and how they are told to people. Pure.

| permission | lets a plugin |
| --- | --- |
| `storage`, `tables`, `log` | keep data of its own, write its log |
| `events:SLUG.*`, `events:SLUG.name` | send events of its own |
| `secrets:FIELD` | read a secret of its configuration |
| `ENTITY:read`, `ENTITY:write` | see, or add, change and delete, the host's entities; neither implies the other |
| `http:HOST`, `http:*.HOST` | reach a host on the internet |
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from jackfield_sdk.manifest import Manifest

__all__ = ["RESERVED", "Asked", "Described", "Risk", "asked", "covers", "describe", "entity_of"]

Risk = Literal["low", "medium", "high"]

RESERVED = frozenset({"config", "data", "events", "http", "log", "secrets", "storage", "tables"})
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
    own = ["storage", "log"]
    if manifest.tables:
        own.append("tables")
    if manifest.emits:
        own.append(f"events:{manifest.slug}.*")
    if manifest.config is not None:
        own += [f"secrets:{name}" for name in manifest.config.secrets]
    named = {*manifest.permissions, *manifest.optional_permissions}
    return Asked(
        tuple(manifest.permissions),
        tuple(manifest.optional_permissions),
        tuple(permission for permission in own if permission not in named),
    )


def covers(grants: Collection[str], needed: str) -> bool:
    """Whether one of the grants gives the permission.

    A `*` stands for everything behind a word (`customers:*`, `events:loyalty-points.*`) or for the names below a domain
    (`http:*.example.com`). It never stands for the word itself: no grant gives everything.
    """
    if needed in grants:
        # Nobody needs a wildcard; it could only come from an argument.
        return "*" not in needed
    noun, colon, target = needed.partition(":")
    if not colon or not target or "*" in needed:
        return False
    return any(_matches(grant, noun, target) for grant in grants if "*" in grant)


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
    if permission == "storage":
        return Described(permission, "keep data of its own", "low")
    if permission == "tables":
        return Described(permission, "keep tables of its own", "low")
    if permission == "log":
        return Described(permission, "write to its log, which you can read", "low")
    if noun == "events" and target:
        return Described(permission, f"send its own events ({target}) to your other plugins", "low")
    if noun == "secrets" and target:
        return Described(permission, f"read the secret “{_words(target)}” that you enter in its settings", "low")
    if noun == "http" and target:
        where = "any address on the internet" if target == "*" else target.replace("*.", "any host below ")
        return Described(permission, f"exchange data with {where}", "high")
    return Described(permission, f"use “{permission}”, which this platform does not offer", "high")


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
