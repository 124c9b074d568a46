"""What plugins said of their own health, and which of their handlers are left alone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["BreakerRow", "HealthCheckRow"]


class HealthCheckRow(TenantOwned, Base):
    """The last check of one installation.

    Attributes:
        status: `ok` or `failing`; `unknown` until it was checked.
        since: When it came to be so.
        next_check_at: When it is asked even though nothing of it has run; None: not before it runs.
        lease_until: A node is asking it; no other does until then.
    """

    __tablename__ = "jf_health_checks"

    installation_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("jf_installations.id", ondelete="CASCADE"), primary_key=True
    )
    status: Mapped[str] = mapped_column(String(16))
    code: Mapped[str | None] = mapped_column(String(128))
    message: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    consecutive_failures: Mapped[int] = mapped_column(Integer)
    next_check_at: Mapped[datetime | None] = mapped_column(index=True)
    lease_until: Mapped[datetime | None]


class BreakerRow(TenantOwned, Base):
    """A handler that is left alone because it failed and failed, or was until a moment ago.

    Attributes:
        revision: Of the installation; another one begins anew.
        is_open: False: it works again. Kept for a while, so that other nodes hear of it.
        until: When it is tried again.
        wait_s: For how long it is left alone; doubled each time.
        changed_at: When this was written.
    """

    __tablename__ = "jf_breakers"

    installation_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("jf_installations.id", ondelete="CASCADE"), primary_key=True
    )
    handler: Mapped[str] = mapped_column(String(255), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer)
    is_open: Mapped[bool]
    opened_at: Mapped[datetime]
    until: Mapped[datetime]
    wait_s: Mapped[float]
    failures: Mapped[int] = mapped_column(Integer)
    code: Mapped[str] = mapped_column(String(128))
    message: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(index=True)
