"""The table of what happened a moment ago."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["LiveRow"]


class LiveRow(TenantOwned, Base):
    """One happening.

    Attributes:
        position: Grows, and for one tenant in the order of commits (`writing`). Never used twice.
        plugin: Slug of the plugin that it is about.
        member_id: Who alone may hear of it; None: whoever may hear of its kind.
        data: Up to 8 KiB of JSON.
    """

    __tablename__ = "jf_live_events"
    __table_args__ = (
        Index("ix_jf_live_events_tenant", "tenant_id", "position"),
        Index("ix_jf_live_events_created_at", "created_at"),
        # Without it a table that was emptied would begin again at 1.
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    plugin: Mapped[str | None] = mapped_column(String(128))
    member_id: Mapped[str | None] = mapped_column(String(64))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
