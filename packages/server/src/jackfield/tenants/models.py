"""Tables of tenants, members, tokens and kept answers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["KeptAnswer", "Member", "Tenant", "Token"]


class Tenant(Base):
    """An organisation; the unit of isolation."""

    __tablename__ = "jf_tenants"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    plan: Mapped[str] = mapped_column(String(64))
    timezone: Mapped[str] = mapped_column(String(64), default="UTC", server_default="UTC")
    locale: Mapped[str] = mapped_column(String(35), default="en", server_default="en")
    created_at: Mapped[datetime]


class Member(TenantOwned, Base):
    """A person in a tenant. `role` is `owner`, `admin` or `member`."""

    __tablename__ = "jf_members"
    __table_args__ = (UniqueConstraint("tenant_id", "email"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(320))
    """In lower case, so that it is unique whatever way it is typed."""
    role: Mapped[str] = mapped_column(String(16))
    locale: Mapped[str | None] = mapped_column(String(35))
    """Language tag that the member has chosen."""
    created_at: Mapped[datetime]


class Token(Base):
    """A token that was issued. Not `TenantOwned`: operators' and publishers' tokens belong to no tenant.

    Attributes:
        digest: SHA-256 of the whole token, hex. The token holds 256 random bits, so a slow hash would add nothing.
        prefix: Its first characters, for people to recognise it by.
        role: For a token without a member; a member's token follows the member's present role.
    """

    __tablename__ = "jf_tokens"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    tenant_id: Mapped[str | None] = mapped_column(ForeignKey("jf_tenants.id", ondelete="CASCADE"), index=True)
    member_id: Mapped[str | None] = mapped_column(ForeignKey("jf_members.id", ondelete="CASCADE"), index=True)
    publisher_id: Mapped[str | None] = mapped_column(String(64), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class KeptAnswer(Base):
    """An idempotency key and what became of its request.

    Attributes:
        subject: Whose key it is: tenant and caller.
        state: `running`, `unknown` or `kept`.
        headers: JSON array of pairs.
        busy_until: While `running`; past it the request is given up.
    """

    __tablename__ = "jf_kept_answers"

    subject: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    status: Mapped[int | None]
    headers: Mapped[bytes | None] = mapped_column(LargeBinary)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    busy_until: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
