"""What the registry hands out: frozen values, not rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from jackfield_sdk.manifest import Manifest

__all__ = ["CatalogueEntry", "Publisher", "PublisherKey", "Release", "Sort"]

Sort = Literal["name", "newest", "installs"]


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes plugins."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class PublisherKey:
    """A public key of a publisher; a revoked one verifies nothing any more."""

    key_id: str
    publisher_id: str
    public_key: bytes
    name: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a plugin, checked and stored.

    Attributes:
        digest: SHA-256 of the package, hex.
        image_path: Code image that isolates run from.
        package_path: The package file as it was uploaded.
        state: `yanked`: not offered any more; where it is installed, it stays.
        tenant_id: The only tenant that may have it, when it is a development release.
    """

    slug: str
    version: str
    digest: str
    manifest: Manifest
    image_path: Path
    package_path: Path
    publisher_id: str
    published_at: datetime
    state: Literal["published", "yanked"]
    yank_reason: str = ""
    size: int = 0
    tenant_id: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A plugin as a list of the marketplace shows it: words of its newest release that can be installed.

    Attributes:
        version, published_at: Of that release.
        price: Plain data of the manifest's price; None when it is free.
    """

    slug: str
    version: str
    published_at: datetime
    name: str
    summary: str
    category: str
    tags: tuple[str, ...]
    icon: str
    price: dict[str, Any] | None
    publisher: Publisher
    installs: int
    created_at: datetime
