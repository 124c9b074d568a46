"""Nodes as rows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base

__all__ = ["NodeRow"]


class NodeRow(Base):
    """A process that serves, or did.

    Attributes:
        number: Of its lock, while it lives; it draws another one each time it connects.
        last_seen_at: Roughly: written down twice a minute. Whether it lives is told by its lock.
        ended_at: When it ended, or was found to be gone; None while it works.
        ended_by: The node that found it gone; itself when it was stopped.
    """

    __tablename__ = "jf_nodes"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int] = mapped_column(Integer)
    version: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(String(64))
