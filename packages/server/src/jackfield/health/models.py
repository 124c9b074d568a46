"""What plugins said of their own health."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["HealthCheckRow"]


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
