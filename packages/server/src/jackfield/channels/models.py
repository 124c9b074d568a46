"""Tables of channels."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import SEALED, Base, TenantOwned

__all__ = ["AssignmentRow", "ChannelRow", "MessageRow"]


class ChannelRow(TenantOwned, Base):
    """One channel of a tenant.

    Attributes:
        settings: The gateway's, without secrets.
        secret: The gateway's secret (Telegram: the bot's token), sealed.
        state: `disconnected`, `connected`, `broken`; `reason` says why it is broken.
        identity: What the other side calls it, as the bot's user name.
        hook_hash, hook_secret_hash: SHA-256 of the last part of the address where updates come in, and of the secret
            that comes with them. Null while nothing is to come in there.
        token_hash: SHA-256 of the token that HTTP callers and voice agents show.
        public_key: What a page with a web chat shows; no secret.
        next_update: Offset of the next update that is fetched (Telegram).
        lease_owner, lease_until: The one node that fetches.
        version: Counts changes of settings and state.
    """

    __tablename__ = "jf_channels"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(100))
    settings: Mapped[dict[str, Any]]
    secret: Mapped[str | None] = mapped_column(Text, info=SEALED)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(300))
    identity: Mapped[str] = mapped_column(String(200))
    hook_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    hook_secret_hash: Mapped[str | None] = mapped_column(String(64))
    token_hash: Mapped[str | None] = mapped_column(String(64))
    public_key: Mapped[str | None] = mapped_column(String(64))
    next_update: Mapped[int] = mapped_column(BigInteger)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(200))
    changed_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]


class AssignmentRow(TenantOwned, Base):
    """A plugin on a channel. Of two that offer the same function, the lower priority has it."""

    __tablename__ = "jf_channel_assignments"

    channel_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("jf_channels.id", ondelete="CASCADE"), primary_key=True
    )
    installation_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("jf_installations.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    priority: Mapped[int] = mapped_column(Integer)
    is_enabled: Mapped[bool]
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class MessageRow(TenantOwned, Base):
    """What came in or went out: so that each is taken once, and replies can be fetched.

    Attributes:
        direction: `in` or `out`.
        key: Of what comes in, the sender's id of it; of what goes out, installation and the plugin's key, or the id.
        state: `done`, or `pending` while a message is being sent.
        sequence: Counts what goes out on a channel whose messages are fetched from us, from 1; else 0.
        body: What was said, as plain data. Empty for what comes in.
    """

    __tablename__ = "jf_channel_messages"
    __table_args__ = (
        UniqueConstraint("channel_id", "direction", "key"),
        Index("ix_jf_channel_messages_chat", "channel_id", "chat_id", "sequence"),
        Index("ix_jf_channel_messages_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    channel_id: Mapped[str] = mapped_column(String(64), ForeignKey("jf_channels.id", ondelete="CASCADE"))
    direction: Mapped[str] = mapped_column(String(8))
    key: Mapped[str] = mapped_column(String(300))
    chat_id: Mapped[str] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    sequence: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
