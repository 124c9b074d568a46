"""Tables of the registry. What is published belongs to no tenant: a release is the same for all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = [
    "DevelopmentRow",
    "PackageContent",
    "PluginRow",
    "PluginTagRow",
    "PublisherKeyRow",
    "PublisherRow",
    "ReleaseRow",
]


class PublisherRow(Base):
    """Who publishes plugins."""

    __tablename__ = "jf_publishers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]


class PublisherKeyRow(Base):
    """A public key that signs a publisher's packages.

    Attributes:
        key_id: First 16 hex digits of the SHA-256 of `public_key`.
    """

    __tablename__ = "jf_publisher_keys"

    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    publisher_id: Mapped[str] = mapped_column(ForeignKey("jf_publishers.id"), index=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class PluginRow(Base):
    """A plugin, with what the catalogue shows and sorts by: taken from its newest release that can be installed.

    Attributes:
        version: That release; None when every release is withdrawn or a pre-release, and the plugin is not listed.
        search_text: Name, slug, summary and tags in lower case, one a line.
        card: What a list shows of it, so that a page need not read whole manifests.
    """

    __tablename__ = "jf_plugins"
    __table_args__ = (
        Index("ix_jf_plugins_name", "sort_name", "slug"),
        Index("ix_jf_plugins_newest", "published_at", "slug"),
        Index("ix_jf_plugins_installs", "installs", "slug"),
    )

    slug: Mapped[str] = mapped_column(String(64), primary_key=True)
    publisher_id: Mapped[str] = mapped_column(ForeignKey("jf_publishers.id"), index=True)
    created_at: Mapped[datetime]
    installs: Mapped[int] = mapped_column(default=0)
    version: Mapped[str | None] = mapped_column(String(64))
    published_at: Mapped[datetime | None]
    category: Mapped[str] = mapped_column(String(40), default="")
    sort_name: Mapped[str] = mapped_column(String(200), default="")
    search_text: Mapped[str] = mapped_column(Text, default="")
    card: Mapped[dict[str, Any]] = mapped_column(default=dict)


class PluginTagRow(Base):
    """A tag of a plugin's newest release, in lower case."""

    __tablename__ = "jf_plugin_tags"

    slug: Mapped[str] = mapped_column(ForeignKey("jf_plugins.slug"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(80), primary_key=True, index=True)


class ReleaseRow(Base):
    """A release. Only its state ever changes.

    Attributes:
        sequence: 1, 2, 3 … within the plugin. Versions only grow, so this is their order too.
        digest: SHA-256 of the package file, hex; names its place in the store.
    """

    __tablename__ = "jf_releases"
    __table_args__ = (UniqueConstraint("slug", "version"), UniqueConstraint("slug", "sequence"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slug: Mapped[str] = mapped_column(ForeignKey("jf_plugins.slug"))
    version: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    size: Mapped[int]
    publisher_id: Mapped[str] = mapped_column(ForeignKey("jf_publishers.id"), index=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("jf_publisher_keys.key_id"))
    manifest: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    yank_reason: Mapped[str] = mapped_column(String(500), default="")
    published_at: Mapped[datetime]


class DevelopmentRow(TenantOwned, Base):
    """A release that one tenant tries and nobody else can have.

    Attributes:
        version: Made here; no other release of any tenant has it.
        sequence: 1, 2, 3 … within the tenant's plugin.
    """

    __tablename__ = "jf_development_releases"
    __table_args__ = (UniqueConstraint("slug", "version"), UniqueConstraint("tenant_id", "slug", "sequence"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slug: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    uploaded_by: Mapped[str] = mapped_column(String(200))
    uploaded_at: Mapped[datetime]


class PackageContent(Base):
    """The files of a release, for nodes that have them not yet.

    Attributes:
        digest: SHA-256 of `package`.
        image: What `code_image` made of it.
        image_digest: SHA-256 of `image`.
    """

    __tablename__ = "jf_package_contents"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    package: Mapped[bytes] = mapped_column(LargeBinary)
    image: Mapped[bytes] = mapped_column(LargeBinary)
    image_digest: Mapped[str] = mapped_column(String(64))
    manifest: Mapped[bytes] = mapped_column(LargeBinary)
