"""What a manifest asks for, and what a grant covers: the platform's rules, over values alone."""

from __future__ import annotations

from collections.abc import Collection

from jackfield_sdk.manifest import Manifest

__all__ = ["asked", "covers", "implied"]


def implied(manifest: Manifest) -> frozenset[str]:
    """What a plugin does with its own things; granted with the installation, and can be withdrawn."""
    own = {"storage", "log", "cache", "files"}
    if manifest.tables:
        own.add("tables")
    if manifest.emits:
        own.add(f"events:{manifest.slug}.*")
    if manifest.config is not None:
        bound = manifest.config.secret_hosts
        own.update(f"secrets:{name}" for name in manifest.config.secrets if name not in bound)
    own.update(f"connections:{connection.name}" for connection in manifest.connections)
    return frozenset(own)


def asked(manifest: Manifest) -> frozenset[str]:
    """Everything that a tenant may grant to a release."""
    return frozenset({*manifest.permissions, *manifest.optional_permissions, *implied(manifest)})


def covers(grants: Collection[str], needed: str) -> bool:
    """Whether one of the grants gives the permission.

    A `*` stands for everything behind a word (`customers:*`, `events:loyalty-points.*`) or for the names below a domain
    (`http:*.example.com`), never for the word itself.
    """
    if needed in grants:
        return "*" not in needed
    noun, colon, target = needed.partition(":")
    if not colon or not target or "*" in needed:
        return False
    return any(_matches(grant, noun, target) for grant in grants if "*" in grant)


def _matches(grant: str, noun: str, target: str) -> bool:
    given, _, pattern = grant.partition(":")
    if given != noun:
        return False
    if pattern == "*":
        return True
    if len(target) < len(pattern):
        return False
    if pattern.startswith("*."):
        return noun == "http" and pattern.count("*") == 1 and target.endswith(pattern[1:])
    return pattern.endswith(".*") and target.startswith(pattern[:-1])
