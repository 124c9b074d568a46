"""What the endpoints write; `lifecycle` uses these too, for the records of one installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AuditEntryOut", "InvocationOut", "LogLineOut", "StatsOut"]


class StatsOut(BaseModel):
    """Totals of an installation."""

    model_config = ConfigDict(from_attributes=True)

    calls: int = Field(examples=[1204])
    failures: int = Field(description="Calls that ended in an error or at a limit", examples=[3])
    average_ms: float = Field(examples=[1.8])
    maximum_ms: float = Field(examples=[41.0])
    cpu_ms: float = Field(description="Processor time, all calls together", examples=[988.5])
    last_run_at: datetime | None
    last_error_at: datetime | None
    last_error_code: str | None
    last_error_message: str | None


class InvocationOut(BaseModel):
    """One invocation."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    plugin: str = Field(examples=["loyalty-points"])
    version: str = Field(examples=["1.0.0"])
    kind: str = Field(examples=["event"])
    name: str = Field(description="The hook, event, function, route or slot", examples=["sale.created"])
    handler: str = Field(examples=["award"])
    caller_id: str | None
    caller_role: str | None
    started_at: datetime
    duration_us: int
    cpu_us: int
    host_calls: int
    memory_kb: int
    status: str = Field(examples=["ok"])
    error_code: str | None
    error_message: str | None
    error_trace: str | None
    delivery_id: str | None


class LogLineOut(BaseModel):
    """One line that a plugin logged."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    invocation_id: str
    logged_at: datetime = Field(description="When the invocation began")
    level: str = Field(examples=["info"])
    message: str = Field(examples=["awarded"])
    fields: dict[str, Any] = Field(examples=[{"points": 12}])


class AuditEntryOut(BaseModel):
    """Who did what to what."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    actor: str = Field(examples=["member:mem_01jd"])
    action: str = Field(examples=["plugin.install"])
    target: str = Field(examples=["loyalty-points"])
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ip: str | None
