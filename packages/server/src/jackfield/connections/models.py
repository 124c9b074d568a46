"""Tables: connections, authorizations that are under way, and tokens that are still to be revoked.

Secret values are not here: they are among the installation's secrets (`capabilities.secrets`), as `connection:NAME` and
`connection:NAME:tokens`, so that purging, key rotation and everything else that secrets need cover them too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import SEALED, Base, TenantOwned

__all__ = ["AuthorizationRow", "ConnectionRow", "RevocationRow"]


class ConnectionRow(TenantOwned, Base):
    """One connection of an installation.

    Attributes:
        kind: Of the credentials, as `basic`.
        adapter: `postgrest`, `rest` or `graphql` for `data`; None for a declared one.
        settings: The adapter's, as plain data.
        credentials: Without secret values.
        broken: Why the other side does not accept it any more; None while it does.
        version: Counts changes; whoever keeps something in memory knows by it that it is old.
        renewing_until: Until then one node gets new tokens and the others wait.
    """

    __tablename__ = "jf_connections"
    __table_args__ = (UniqueConstraint("installation_id", "name"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    installation_id: Mapped[str] = mapped_column(String(64))
    slug: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    adapter: Mapped[str | None] = mapped_column(String(16))
    settings: Mapped[dict[str, Any]]
    credentials: Mapped[dict[str, Any]]
    broken: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    renewing_until: Mapped[datetime | None]
    changed_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    tested_at: Mapped[datetime | None]
    connected_at: Mapped[datetime | None]


class AuthorizationRow(TenantOwned, Base):
    """An authorization that a member has begun; removed when it is used.

    Attributes:
        id: SHA-256 of the state, which only the member's browser knows.
        subject: Who began it; nobody else can end it.
        browser: SHA-256 of the cookie that the beginning browser got.
        verifier: Of PKCE, sealed.
        code: What the OAuth2 server gave, sealed; while it waits for the member's confirmation.
        confirmation: SHA-256 of the text that the member has to enter for that.
        attempts: Wrong confirmations.
    """

    __tablename__ = "jf_connection_authorizations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    connection_id: Mapped[str] = mapped_column(String(64), index=True)
    connection_version: Mapped[int] = mapped_column(Integer)
    subject: Mapped[str] = mapped_column(String(200))
    browser: Mapped[str] = mapped_column(String(64))
    verifier: Mapped[str] = mapped_column(Text, info=SEALED)
    redirect_uri: Mapped[str] = mapped_column(String(500))
    code: Mapped[str | None] = mapped_column(Text, info=SEALED)
    confirmation: Mapped[str | None] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class RevocationRow(TenantOwned, Base):
    """Tokens of a connection that is gone; the OAuth2 server is still to be told.

    Attributes:
        credentials: Where, and as whom; without secret values.
        secret, tokens: As they were stored, sealed.
    """

    __tablename__ = "jf_connection_revocations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    slug: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(32))
    credentials: Mapped[dict[str, Any]]
    secret: Mapped[str | None] = mapped_column(Text, info=SEALED)
    tokens: Mapped[str] = mapped_column(Text, info=SEALED)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime] = mapped_column(index=True)
