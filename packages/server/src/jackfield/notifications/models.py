"""Tables of notifications, of their ways to members, and of what members want."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import SEALED, Base, TenantOwned

__all__ = ["EndpointRow", "NotificationDelivery", "NotificationRow", "PreferenceRow", "UnsubscribeRow"]


def _member() -> ForeignKey:
    return ForeignKey("jf_members.id", ondelete="CASCADE")


class NotificationRow(TenantOwned, Base):
    """One notification to one member.

    Attributes:
        id: Sorts by time.
        plugin: Slug of the plugin that sent it.
        key: What it is about: a member gets each key of an installation once. None: nothing to be compared.
        more: Further ones that were taken into this one because there were too many; their titles are in `body`.
        in_app: Whether it is in the member's list; otherwise it is here for the other channels.
    """

    __tablename__ = "jf_notifications"
    __table_args__ = (
        UniqueConstraint("member_id", "installation_id", "key"),
        Index("ix_jf_notifications_member", "member_id", "id"),
        Index(
            "ix_jf_notifications_unread",
            "member_id",
            sqlite_where=text("read_at IS NULL"),
            postgresql_where=text("read_at IS NULL"),
        ),
        Index("ix_jf_notifications_sender", "installation_id", "member_id", "created_at"),
        Index("ix_jf_notifications_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    member_id: Mapped[str] = mapped_column(String(64), _member())
    installation_id: Mapped[str] = mapped_column(String(64))
    plugin: Mapped[str] = mapped_column(String(128))
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    level: Mapped[str] = mapped_column(String(16))
    link: Mapped[str | None] = mapped_column(String(2000))
    key: Mapped[str | None] = mapped_column(String(200))
    more: Mapped[int]
    in_app: Mapped[bool]
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]


class NotificationDelivery(TenantOwned, Base):
    """A notification on its way to a member by e-mail or webhook.

    Attributes:
        channel: `email` or `webhook`.
        state: `pending`, `running`, `done` or `dead`.
        attempt: Attempts that failed.
        due_at: Not before then. Those of one plugin to one member that are due together go out together.
        lease_owner, lease_until: Which node sends it, and when another one may take it over.
    """

    __tablename__ = "jf_notification_deliveries"
    __table_args__ = (
        UniqueConstraint("notification_id", "channel"),
        Index("ix_jf_notification_deliveries_due", "state", "due_at"),
        Index("ix_jf_notification_deliveries_way", "member_id", "installation_id", "channel", "created_at"),
        Index("ix_jf_notification_deliveries_finished_at", "finished_at"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    notification_id: Mapped[str] = mapped_column(String(64), ForeignKey("jf_notifications.id", ondelete="CASCADE"))
    member_id: Mapped[str] = mapped_column(String(64), _member())
    installation_id: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int]
    due_at: Mapped[datetime]
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class PreferenceRow(TenantOwned, Base):
    """What a member wants; where there is no row, the channel's default holds.

    Attributes:
        plugin: Slug; empty for all that have no row of their own.
        channel: `in_app`, `email` or `webhook`.
    """

    __tablename__ = "jf_notification_preferences"

    member_id: Mapped[str] = mapped_column(String(64), _member(), primary_key=True)
    plugin: Mapped[str] = mapped_column(String(128), primary_key=True)
    channel: Mapped[str] = mapped_column(String(16), primary_key=True)
    is_on: Mapped[bool]


class EndpointRow(TenantOwned, Base):
    """Where a member's webhooks go.

    Attributes:
        secret: What they are signed with, sealed.
    """

    __tablename__ = "jf_notification_endpoints"

    member_id: Mapped[str] = mapped_column(String(64), _member(), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(Text, info=SEALED)
    created_at: Mapped[datetime]


class UnsubscribeRow(TenantOwned, Base):
    """The token in an e-mail with which a plugin's e-mails to a member can be ended, and nothing else be done."""

    __tablename__ = "jf_notification_unsubscribes"
    __table_args__ = (UniqueConstraint("member_id", "plugin"),)

    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    member_id: Mapped[str] = mapped_column(String(64), _member())
    plugin: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]
