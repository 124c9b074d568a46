"""What the endpoints write; `lifecycle` uses these too, for the records of one installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from jackfield.records.costs import Cost
from jackfield.records.service import InstallationStats, PluginCost
from jackfield.records.trail.verifying import FaultKind, Verdict

__all__ = [
    "AuditEntryOut",
    "AuditFaultOut",
    "AuditKeysOut",
    "AuditVerdictOut",
    "CostOut",
    "DetailedCostOut",
    "HandlerCostOut",
    "InvocationOut",
    "LogLineOut",
    "MomentOut",
    "PluginCostOut",
    "StatsOut",
]


class CostOut(BaseModel):
    """What calls cost together."""

    calls: int = Field(examples=[1204])
    failures: int = Field(description="Calls that ended in an error or at a limit", examples=[3])
    wall_ms: float = Field(description="Time that the calls took, one after the other", examples=[2167.2])
    cpu_ms: float = Field(description="Processor time", examples=[988.5])
    maximum_ms: float = Field(description="The longest call", examples=[41.0])
    memory_peak_kb: int = Field(description="Most memory that a process was seen to take; 0 when none was seen")
    host_calls: int = Field(description="Capability calls", examples=[3612])
    queries: int = Field(description="Statements that the database ran for them", examples=[3612])
    egress_bytes: int = Field(description="Sent out of the platform and received from there")
    payload_bytes: int = Field(description="Given to handlers")
    result_bytes: int = Field(description="Returned by handlers")
    cold_starts: int = Field(description="Calls that a process had to be started for")
    secret_leaks: int = Field(
        description="Places in error messages, traces and log lines where a secret stood, and was masked"
    )


class DetailedCostOut(CostOut):
    """With how the durations are spread, and what was used."""

    p50_ms: float = Field(description="Half of the calls took no longer; off by less than a fifth", examples=[1.4])
    p95_ms: float
    p99_ms: float
    capabilities: dict[str, int] = Field(description="Calls by capability", examples=[{"storage": 2408}])
    called_cpu_ms: float = Field(default=0.0, description="Processor time of other plugins' functions that were called")
    metrics: dict[str, int] = Field(
        default_factory=dict[str, int], description="What the plugin counted itself", examples=[{"tokens_used": 1204}]
    )


class HandlerCostOut(DetailedCostOut):
    """What one handler cost since the plugin was installed."""

    kind: str = Field(examples=["event"])
    name: str = Field(description="The hook, event, function, route or slot", examples=["sale.created"])
    handler: str = Field(examples=["award"])


class MomentOut(DetailedCostOut):
    """What an hour or a day cost."""

    at: datetime = Field(description="When it began, in UTC")


class StatsOut(DetailedCostOut):
    """Totals of an installation since it was installed."""

    average_ms: float = Field(examples=[1.8])
    last_run_at: datetime | None
    last_error_at: datetime | None
    last_error_code: str | None
    last_error_message: str | None
    handlers: list[HandlerCostOut] = Field(description="The 200 that took the most time")
    series: list[MomentOut] = Field(description="Hours or days with calls, the oldest first; the others were empty")

    @classmethod
    def of(cls, stats: InstallationStats) -> StatsOut:
        """As the API tells it."""
        return cls.model_validate(
            {
                **_detailed(stats.cost),
                # Counted apart, and so there for a plugin that is older than the rest.
                "calls": stats.calls,
                "failures": stats.failures,
                "maximum_ms": stats.maximum_ms,
                "cpu_ms": stats.cpu_ms,
                "average_ms": stats.average_ms,
                "last_run_at": stats.last_run_at,
                "last_error_at": stats.last_error_at,
                "last_error_code": stats.last_error_code,
                "last_error_message": stats.last_error_message,
                "handlers": [
                    {"kind": each.kind, "name": each.name, "handler": each.handler, **_detailed(each.cost)}
                    for each in stats.handlers
                ],
                "series": [{"at": moment.at, **_detailed(moment.cost)} for moment in stats.series],
            }
        )


class PluginCostOut(CostOut):
    """What a plugin cost, all tenants together."""

    plugin: str = Field(examples=["loyalty-points"])
    installations: int = Field(description="That were called", examples=[37])

    @classmethod
    def of(cls, found: PluginCost) -> PluginCostOut:
        """As the API tells it."""
        about = {"plugin": found.plugin, "installations": found.installations}
        return cls.model_validate({**about, **_plain(found.cost)})


def _plain(cost: Cost) -> dict[str, Any]:
    same = {name: getattr(cost, name) for name in _SAME}
    return same | {
        "wall_ms": cost.wall_us / 1000,
        "cpu_ms": cost.cpu_us / 1000,
        "maximum_ms": cost.maximum_us / 1000,
        "memory_peak_kb": cost.peak_kb,
    }


def _detailed(cost: Cost) -> dict[str, Any]:
    return _plain(cost) | {
        "p50_ms": cost.quantile_ms(0.5),
        "p95_ms": cost.quantile_ms(0.95),
        "p99_ms": cost.quantile_ms(0.99),
        "capabilities": dict(sorted(cost.capabilities.items())),
        "called_cpu_ms": cost.called_cpu_us / 1000,
        "metrics": dict(sorted(cost.metrics.items())),
    }


_SAME = (
    "calls", "failures", "host_calls", "queries", "egress_bytes", "payload_bytes", "result_bytes", "cold_starts",
    "secret_leaks",
)  # fmt: skip


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
    payload_bytes: int
    result_bytes: int
    queries: int
    egress_bytes: int
    secret_leaks: int
    trace_id: str | None = Field(description="Of the trace that it belongs to, when there is one")
    parent_id: str | None = Field(default=None, description="The call of another plugin within which it was made")
    chain: list[str] = Field(default=[], description="The plugins whose calls led to it, the first one first")
    metrics: dict[str, int] | None = Field(default=None, description="What the plugin counted itself")

    @field_validator("chain", mode="before")
    @classmethod
    def _split(cls, value: str | list[str] | None) -> list[str]:
        return value.split() if isinstance(value, str) else value or []


class LogLineOut(BaseModel):
    """One line that a plugin logged."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    invocation_id: str
    logged_at: datetime = Field(description="When the invocation began")
    level: str = Field(examples=["info"])
    message: str = Field(examples=["awarded"])
    fields: dict[str, Any] = Field(examples=[{"points": 12}])
    trace_id: str | None = Field(description="Of the trace that the call belongs to, when there is one")


class AuditEntryOut(BaseModel):
    """Who did what to what."""

    model_config = ConfigDict(from_attributes=True)

    seq: int = Field(description="Counts without a gap", examples=[42])
    at: datetime
    actor: str = Field(examples=["member:mem_01jd"])
    actor_name: str | None = Field(description="What the token of the actor is called", examples=["back office"])
    on_behalf_of: str | None = Field(description="Who had asked for what the platform or a plugin did")
    plugin: str | None = Field(examples=["loyalty-points"])
    action: str = Field(examples=["plugin.install"])
    target: str = Field(examples=["loyalty-points"])
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ip: str | None
    user_agent: str | None
    trace_id: str | None
    node_id: str | None
    hash: str = Field(description="Of the entry and all before it: SHA-256, hexadecimal")


class AuditFaultOut(BaseModel):
    """Where a trail was tampered with first."""

    model_config = ConfigDict(from_attributes=True)

    kind: FaultKind = Field(examples=["removed"])
    seq: int = Field(description="Of the entry, or of the first one that is missing", examples=[42])
    says: str


class AuditKeysOut(BaseModel):
    """Whose signatures are to be believed."""

    public_keys: list[str] = Field(description="Of heads and exports, the present one first; Ed25519, base64")


class AuditVerdictOut(BaseModel):
    """Whether an audit trail is whole."""

    model_config = ConfigDict(from_attributes=True)

    is_good: bool
    entries: int = Field(description="That are there and in order")
    first: int = Field(description="Number of the first one that is there")
    removed: int = Field(description="That were dropped because they were old")
    adopted: int = Field(description="Up to which entry the trail is older than the chain; 0 when it is not")
    anchor: int = Field(description="The farthest end known from elsewhere that was found in its place; 0 without one")
    fault: AuditFaultOut | None
    head: str | None = Field(description="The signed end, to be kept elsewhere and given as `head` later")
    public_keys: list[str] = Field(description="Of the signatures of heads and exports, the present one first; base64")

    @classmethod
    def of(cls, verdict: Verdict, public_keys: list[str]) -> AuditVerdictOut:
        """As the API tells it."""
        names = ("is_good", "entries", "first", "removed", "adopted", "anchor", "fault")
        head = None if verdict.head is None else verdict.head.token
        told = {name: getattr(verdict, name) for name in names} | {"head": head, "public_keys": public_keys}
        return cls.model_validate(told)
