"""Tables of what was used, and of what operators decided."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["QuotaRule", "QuotaRunning", "QuotaWindow"]


class QuotaWindow(TenantOwned, Base):
    """What was used in one minute, by all nodes together. Gone after a few minutes.

    Attributes:
        installation_id: Empty for the tenant with all its plugins.
        minute: Minutes since 1970.
    """

    __tablename__ = "jf_quota_windows"
    __table_args__ = (Index("ix_jf_quota_windows_minute", "minute"),)

    # Not indexed by itself: the key begins with it.
    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    calls: Mapped[int] = mapped_column(BigInteger)
    cpu_us: Mapped[int] = mapped_column(BigInteger)
    host_calls: Mapped[int] = mapped_column(BigInteger)
    egress_bytes: Mapped[int] = mapped_column(BigInteger)


class QuotaRunning(TenantOwned, Base):
    """Calls that a node has at work for a tenant or installation, told to the other nodes.

    Attributes:
        installation_id: Empty for the tenant.
        until: When the node has not told again by then, it is dead, and so are the calls.
    """

    __tablename__ = "jf_quota_running"

    node_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    running: Mapped[int] = mapped_column(Integer)
    until: Mapped[datetime]


class QuotaRule(Base):
    """What an operator decided. A rule that is taken back stays, without a value, so that every node learns of it.

    Attributes:
        kind: `plan`, `tenant`, `plugin` or `installation`. `revision` is the one row that counts.
        subject: Name of the plan, id of the tenant, slug of the plugin, or id of the installation.
        revision: Grows with each change of any rule; nodes read what is above the highest they know.
    """

    __tablename__ = "jf_quota_rules"
    __table_args__ = (Index("ix_jf_quota_rules_revision", "revision"),)

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    revision: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(200))
