"""Tables of events and their deliveries."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["Delivery", "OutboxEvent", "ScheduleRow"]

# SQLite numbers rows by itself only when the column's type is exactly INTEGER.
_Serial = BigInteger().with_variant(Integer(), "sqlite")


def _ended(name: str, *columns: str) -> Index:
    return Index(
        f"ix_jf_deliveries_{name}",
        *columns,
        sqlite_where=text("place IS NULL"),
        postgresql_where=text("place IS NULL"),
    )


class OutboxEvent(TenantOwned, Base):
    """An event, committed with the change that it tells of.

    Attributes:
        position: Grows with each event; SQLite never gives a number twice.
        payload: JSON.
        source: `host`, or the slug of the plugin that emitted it.
        cause: What it was sent because of, as the extension points read it; null when there is nothing to tell.
        fanned_out_at: When deliveries were made of it; null until then.
    """

    __tablename__ = "jf_outbox"
    __table_args__ = (
        Index(
            "ix_jf_outbox_new",
            "tenant_id",
            "position",
            sqlite_where=text("fanned_out_at IS NULL"),
            postgresql_where=text("fanned_out_at IS NULL"),
        ),
        Index(
            "ix_jf_outbox_fanned_out_at",
            "fanned_out_at",
            sqlite_where=text("fanned_out_at IS NOT NULL"),
            # For whoever drops what is old. Events are handled about in the order in which they were written.
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(_Serial, primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(128))
    payload: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(String(128))
    cause: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    fanned_out_at: Mapped[datetime | None]


class Delivery(TenantOwned, Base):
    """One event on its way to one handler of one installation: once, since an event is marked in the same transaction.

    Attributes:
        sequence: Order of delivery.
        state: What people see: `pending`, `running`, `done`, `dead` or `skipped`.
        place: Where an open delivery stands for the dispatcher; null when it has ended. `ready` to be claimed;
            `waiting` for its next attempt; `running`; `settled`: its end is committed together with what it wrote, and
            the next of its installation is still to be let through; `blocked` behind another ordered delivery of its
            installation. Of an installation's ordered deliveries all but one are blocked: that is what keeps them in
            order.
        attempt: Attempts begun.
        failures: Attempts that failed since the delivery was made or replayed; `max_attempts` bounds these.
        interruptions: Attempts that ended with the node that ran them.
        lease_owner, lease_until: Which node runs it, and when it may be taken over.
    """

    __tablename__ = "jf_deliveries"
    __table_args__ = (
        # A comparison with `place` implies that it is not null, so these small indexes serve all of the dispatcher's
        # queries, however long the history grows.
        Index(
            "ix_jf_deliveries_turns",
            "place",
            "tenant_id",
            "sequence",
            sqlite_where=text("place IS NOT NULL"),
            postgresql_where=text("place IS NOT NULL"),
        ),
        Index(
            "ix_jf_deliveries_lanes",
            "installation_id",
            "ordered",
            "place",
            "sequence",
            sqlite_where=text("place IS NOT NULL"),
            postgresql_where=text("place IS NOT NULL"),
        ),
        Index(
            "ix_jf_deliveries_due",
            "next_attempt_at",
            sqlite_where=text("next_attempt_at IS NOT NULL"),
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        # Of what has ended, so that most rows are written into these once; see `parts`.
        _ended("installation", "installation_id", "sequence"),
        _ended("tenant", "tenant_id", "sequence"),
        _ended("id", "id"),
        # SQLite would go through all that is open for each event that it looks for there.
        Index("ix_jf_deliveries_event", "event_id", postgresql_where=text("place IS NULL")),
        # What is done is most of all, and is found by those above; what is looked for has an index of its own.
        Index(
            "ix_jf_deliveries_dead",
            "installation_id",
            "sequence",
            sqlite_where=text("state = 'dead'"),
            postgresql_where=text("state = 'dead'"),
        ),
        Index(
            "ix_jf_deliveries_finished_at",
            "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(_Serial, primary_key=True)
    id: Mapped[str] = mapped_column(String(64))
    event_id: Mapped[str] = mapped_column(String(64))
    event: Mapped[str] = mapped_column(String(128))
    tenant_id: Mapped[str] = mapped_column(String(64))
    installation_id: Mapped[str] = mapped_column(String(64))
    handler: Mapped[str] = mapped_column(String(255))
    ordered: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16))
    place: Mapped[str | None] = mapped_column(String(16))
    attempt: Mapped[int]
    failures: Mapped[int]
    interruptions: Mapped[int]
    max_attempts: Mapped[int]
    next_attempt_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(128))
    error_message: Mapped[str | None] = mapped_column(Text)
    duration_ms: Mapped[float | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ScheduleRow(TenantOwned, Base):
    """One schedule of one installation. Its firings are deliveries.

    Attributes:
        cron, timezone, jitter_s, catch_up: As the release declares them.
        handler: The plugin's.
        next_at: When it fires next, jitter included; null while it is paused or its plugin is not at work.
        due_at: The time by the expression that `next_at` stands for.
        fired_for: The latest time that it has fired for; none before that fires again, whatever the clock does.
        skipped: Times that were missed and not caught up, or fell into a run that had not ended.
    """

    __tablename__ = "jf_schedules"
    __table_args__ = (Index("ix_jf_schedules_next_at", "next_at"),)

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    handler: Mapped[str] = mapped_column(String(64))
    cron: Mapped[str] = mapped_column(String(120))
    timezone: Mapped[str] = mapped_column(String(64))
    jitter_s: Mapped[int]
    catch_up: Mapped[str] = mapped_column(String(8))
    is_active: Mapped[bool]
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None] = mapped_column(String(200))
    next_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    fired_for: Mapped[datetime | None]
    last_fired_at: Mapped[datetime | None]
    skipped: Mapped[int]
