"""Tables of webhooks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import SEALED, Base, TenantOwned

__all__ = ["AddressRow", "AttemptRow", "EndpointRow", "ReceiptRow"]


class AddressRow(TenantOwned, Base):
    """Where webhooks of one installation come in. It stays through updates, rests and rollbacks of the plugin.

    Attributes:
        name: The webhook's, as the release declares it.
        token_hash: SHA-256 of the last part of the address, hex.
        sealed: That part itself, until somebody has been shown it.
        old_hash, old_until: The address before this one, and for how long it is good.
        received_at: When something came in last that was what it claims to be; to the minute.
        refused_at, refusal: When something was refused last, to the minute, and why.
    """

    __tablename__ = "jf_webhook_addresses"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    sealed: Mapped[str | None] = mapped_column(Text, info=SEALED)
    old_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    old_until: Mapped[datetime | None]
    made_at: Mapped[datetime]
    received_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]
    refusal: Mapped[str | None] = mapped_column(String(64))


class ReceiptRow(TenantOwned, Base):
    """What came in before, so that it is delivered once.

    Attributes:
        key: SHA-256 of the provider's id or of the content, hex.
    """

    __tablename__ = "jf_webhook_receipts"
    __table_args__ = (Index("ix_jf_webhook_receipts_expires_at", "expires_at"),)

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    delivery_id: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime]


class EndpointRow(TenantOwned, Base):
    """Where a tenant's events go. Its deliveries are rows of `jobs`, with its id in place of an installation's.

    Attributes:
        events: Names and patterns, as `sale.*`.
        secret, old_secret: What is signed with, sealed; the old one until `old_until`.
        failing_since: When the first of the failures was since which nothing was taken.
        disabled_because: `failing`, `gone`; null when a person switched it off.
    """

    __tablename__ = "jf_webhook_endpoints"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str] = mapped_column(String(500))
    events: Mapped[list[str]]
    is_active: Mapped[bool]
    secret: Mapped[str] = mapped_column(Text, info=SEALED)
    old_secret: Mapped[str | None] = mapped_column(Text, info=SEALED)
    old_until: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_because: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(200))


class AttemptRow(TenantOwned, Base):
    """One request to an endpoint, and what came of it.

    Attributes:
        delivery_id: Null for a test.
        status: Of the answer; null when there was none.
        answer: How it begins.
    """

    __tablename__ = "jf_webhook_attempts"
    __table_args__ = (
        Index("ix_jf_webhook_attempts_endpoint", "endpoint_id", "id"),
        Index("ix_jf_webhook_attempts_delivery", "delivery_id", "id"),
        Index("ix_jf_webhook_attempts_at", "at"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    endpoint_id: Mapped[str] = mapped_column(String(64))
    delivery_id: Mapped[str | None] = mapped_column(String(64))
    attempt: Mapped[int]
    at: Mapped[datetime]
    status: Mapped[int | None]
    answer: Mapped[str] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(String(128))
    error_message: Mapped[str | None] = mapped_column(Text)
    duration_ms: Mapped[float]
