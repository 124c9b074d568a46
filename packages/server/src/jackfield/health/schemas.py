"""What the endpoint gives out."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jackfield.health.service import HealthReport
from jackfield.lifecycle.schemas import BreakerOut

__all__ = ["CrashOut", "HealthOut", "OpenBreakerOut", "QuarantineOut", "RestartingOut"]


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class OpenBreakerOut(_Out):
    """A handler of some tenant's plugin that is left alone, because it failed too often."""

    tenant_id: str
    installation_id: str
    slug: str = Field(examples=["loyalty-points"])
    instance: str
    version: str = Field(examples=["1.0.0"])
    handler: str
    opened_at: datetime
    until: datetime = Field(
        description="When a call is let through, or the one on its way has ended at the latest; in the past: none came"
    )
    failures: int = Field(description="Within the minutes in which it came to be left alone")
    code: str = Field(description="Of the last failure", examples=["plugin-error"])


class CrashOut(_Out):
    """A call that took its process with it."""

    at: datetime
    status: Literal["crashed", "memory", "violation"]
    kind: str = Field(examples=["function"])
    name: str
    handler: str
    code: str | None
    message: str | None


class RestartingOut(_Out):
    """It rests before another process is started."""

    retry_after_s: float
    deaths: int = Field(description="Processes that died lately")


class QuarantineOut(_Out):
    """The platform took it from work; activating it ends this."""

    since: datetime
    code: str = Field(examples=["crash-loop"])
    message: str


class HealthOut(BaseModel):
    """Whether a plugin can do its work: as it says itself, and as its calls say."""

    status: Literal["ok", "failing", "unchecked", "inactive", "quarantined"] = Field(
        description="`unchecked`: active, and it has no health check, or could not be asked"
    )
    message: str = ""
    code: str | None = None
    duration_ms: float | None = Field(default=None, description="Null when it was not asked for this answer")
    since: datetime | None = Field(default=None, description="When its check came to say this")
    checked_at: datetime | None = None
    consecutive_failures: int = Field(default=0, description="Checks in a row that it failed")
    breakers: list[BreakerOut] = Field(default=[], description="Handlers that are left alone")
    restarting: RestartingOut | None = Field(default=None, description="Null unless it rests after crashes")
    recent_crashes: list[CrashOut] = Field(default=[], description="Within a day, the latest first, at most 10")
    quarantine: QuarantineOut | None = None

    @classmethod
    def of(cls, report: HealthReport) -> HealthOut:
        note = report.note
        return cls(
            status=report.status,
            message=report.message,
            code=report.code,
            duration_ms=report.duration_ms,
            since=note.since if note else None,
            checked_at=note.checked_at if note else None,
            consecutive_failures=note.consecutive_failures if note else 0,
            breakers=[BreakerOut.model_validate(breaker) for breaker in report.breakers],
            restarting=RestartingOut.model_validate(report.restarting) if report.restarting else None,
            recent_crashes=[CrashOut.model_validate(crash) for crash in report.crashes],
            quarantine=QuarantineOut.model_validate(report.quarantine) if report.quarantine else None,
        )
