"""What the endpoints read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from jackfield.registry.values import CatalogueEntry, Release

__all__ = ["KeyOut", "NewKey", "PluginDetailsOut", "PluginOut", "PublisherOut", "ReleaseOut", "Yank"]


class NewKey(BaseModel):
    """A public key to be added, with the proof that the caller holds its private half."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "public_key": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
                    "proof": "…",
                    "name": "build machine",
                }
            ]
        },
    )

    public_key: str = Field(max_length=100, description="The 32 raw bytes of the Ed25519 key, in base64")
    proof: str = Field(
        max_length=200,
        description="The key's signature over `jackfield-key-v1`, a line feed and the publisher's id, in base64",
    )
    name: str = Field(default="", max_length=200, description="What it is for")


class KeyOut(BaseModel):
    """A public key of the publisher."""

    model_config = ConfigDict(from_attributes=True)

    key_id: str = Field(description="First 16 hex digits of the SHA-256 of the key", examples=["21fe31dfa154a261"])
    name: str
    created_at: datetime
    revoked_at: datetime | None


class PublisherOut(BaseModel):
    """Who publishes a plugin."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["corner-tools"])
    name: str = Field(examples=["Corner Tools"])


class ReleaseOut(BaseModel):
    """A release of a plugin."""

    slug: str = Field(examples=["loyalty-points"])
    version: str = Field(examples=["1.2.0"])
    state: Literal["published", "yanked"]
    yank_reason: str = Field(description="Why it is not offered any more; empty otherwise")
    published_at: datetime
    digest: str = Field(description="SHA-256 of the package, hex")
    size: int = Field(description="Of the package, in bytes")
    platform: str = Field(description="Range of platform versions it runs on", examples=[">=0.1"])
    changelog: str

    @classmethod
    def of(cls, release: Release) -> ReleaseOut:
        return cls(
            slug=release.slug,
            version=release.version,
            state=release.state,
            yank_reason=release.yank_reason,
            published_at=release.published_at,
            digest=release.digest,
            size=release.size,
            platform=release.manifest.platform,
            changelog=release.manifest.changelog,
        )


class PluginOut(BaseModel):
    """A plugin in a list of the marketplace."""

    slug: str = Field(examples=["loyalty-points"])
    name: str = Field(examples=["Loyalty points"])
    summary: str
    category: str = Field(examples=["loyalty"])
    tags: list[str]
    icon: str
    publisher: PublisherOut
    version: str = Field(description="The newest release that can be installed", examples=["1.2.0"])
    published_at: datetime
    installs: int
    price: dict[str, Any] | None = Field(description="Null when it is free")

    @classmethod
    def of(cls, entry: CatalogueEntry) -> PluginOut:
        return cls(**_card(entry))


class PluginDetailsOut(PluginOut):
    """A plugin with all that its newest release contributes and asks for."""

    description: str
    licence: str
    homepage: str
    repository: str
    support: str
    permissions: list[str]
    optional_permissions: list[str]
    created_at: datetime
    manifest: dict[str, Any] = Field(description="The whole manifest of the newest release")

    @classmethod
    def describing(cls, entry: CatalogueEntry, release: Release) -> PluginDetailsOut:
        manifest = release.manifest
        return cls(
            **_card(entry),
            description=manifest.description,
            licence=manifest.licence,
            homepage=manifest.homepage,
            repository=manifest.repository,
            support=manifest.support,
            permissions=manifest.permissions,
            optional_permissions=manifest.optional_permissions,
            created_at=entry.created_at,
            manifest=msgspec.to_builtins(manifest),
        )


def _card(entry: CatalogueEntry) -> dict[str, Any]:
    names = ("slug", "name", "summary", "category", "tags", "icon", "version", "published_at", "installs", "price")
    return {name: getattr(entry, name) for name in names} | {"publisher": PublisherOut.model_validate(entry.publisher)}


class Yank(BaseModel):
    """Why a release is withdrawn."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "Loses points at midnight."}]})

    reason: str = Field(default="", max_length=500, description="Shown to everyone")
