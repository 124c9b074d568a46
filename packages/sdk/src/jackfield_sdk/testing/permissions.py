"""What a manifest asks for, and what a grant covers: the broker's rules, over values alone."""

from __future__ import annotations

from collections.abc import Iterable

from jackfield_sdk.manifest import Manifest

__all__ = ["asked", "covers", "implied"]


def implied(manifest: Manifest) -> tuple[str, ...]:
    """What a plugin does with its own things; granted with the installation, and can be withdrawn."""
    secrets = manifest.config.secrets if manifest.config is not None else []
    return (
        "storage",
        "log",
        *(["tables"] if manifest.tables else []),
        *([f"events:{manifest.slug}.*"] if manifest.emits else []),
        *(f"secrets:{name}" for name in secrets),
    )


def asked(manifest: Manifest) -> frozenset[str]:
    """Everything that a tenant may grant to a release."""
    return frozenset({*manifest.permissions, *manifest.optional_permissions, *implied(manifest)})


def covers(grants: Iterable[str], needed: str) -> bool:
    """Whether one of the grants is the needed permission, or a pattern such as `events:loyalty-points.*` for it."""
    return any(grant == needed or (grant.endswith(".*") and needed.startswith(grant[:-1])) for grant in grants)
