"""Settings of a node, read from arguments and from `JACKFIELD_*` environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = [
    "BreakerSettings",
    "CeilingSettings",
    "CrashSettings",
    "HealthSettings",
    "IsolationLevel",
    "LimitSettings",
    "PlanSettings",
    "QuotaSettings",
    "Settings",
]

IsolationLevel = Literal["strict", "unprivileged", "none"]

_MB = 1024 * 1024


class LimitSettings(BaseSettings):
    """What one plugin call may use, unless an operator says otherwise; a manifest may ask for less, not for more."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_LIMIT_", frozen=True)

    memory_mb: int = Field(default=128, ge=16)
    cpu_ms: int = Field(default=5_000, ge=10)
    wall_ms: int = Field(default=30_000, ge=10)
    host_calls: int = Field(default=1_000, ge=0)
    result_bytes: int = Field(default=1024 * 1024, ge=1024)
    host_call_bytes: int = Field(default=256 * 1024, ge=1024)
    output_bytes: int = Field(default=64 * 1024, ge=1024)
    """Log output per call; the rest is dropped, ten times as much ends the isolate."""
    descriptors: int = Field(default=64, ge=16)
    concurrency: int = Field(default=4, ge=1)
    """Isolates of one installation at the same time."""
    payload_depth: int = Field(default=32, ge=4)


class CeilingSettings(BaseSettings):
    """How far an operator may raise the limits of one plugin or one installation. The memory ceiling is never above
    what all isolates of the node may have together."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_CEILING_", frozen=True)

    memory_mb: int = Field(default=1024, ge=16)
    cpu_ms: int = Field(default=120_000, ge=10)
    wall_ms: int = Field(default=300_000, ge=10)
    host_calls: int = Field(default=20_000, ge=0)
    result_bytes: int = Field(default=4 * _MB, ge=1024, le=7 * _MB)
    host_call_bytes: int = Field(default=1 * _MB, ge=1024, le=7 * _MB)
    output_bytes: int = Field(default=1 * _MB, ge=1024)
    concurrency: int = Field(default=32, ge=1)
    payload_depth: int = Field(default=64, ge=4, le=128)


Amount = Annotated[int, Field(ge=0)] | None
"""None: no limit."""


class QuotaSettings(BaseModel):
    """What may be used: by a tenant with all its plugins together, or by one of them. Null: without a limit.

    The rates count over a sliding minute, and over all nodes together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls_per_minute: Amount = None
    cpu_ms_per_minute: Amount = None
    host_calls_per_minute: Amount = None
    egress_bytes_per_minute: Amount = None
    concurrency: Amount = None
    """Calls at the same time, those that wait for an isolate among them."""
    storage_bytes: Amount = None
    """Of storage and tables together, without what anything beside their content takes."""
    rows: Amount = None
    """Of tables."""


class PlanSettings(BaseModel):
    """A plan: what it allows.

    Attributes:
        tenant: All plugins of a tenant together.
        plugin: Each of them.
        plugins: How many may be installed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: QuotaSettings
    plugin: QuotaSettings
    plugins: Amount = None


def _plan(
    calls: int, cpu_s: int, egress_mb: int, concurrency: int, storage_mb: int, rows: int, plugins: int
) -> PlanSettings:
    """A plan in which one plugin may use a half of everything."""

    def share(parts: int) -> QuotaSettings:
        return QuotaSettings(
            calls_per_minute=calls // parts,
            cpu_ms_per_minute=cpu_s * 1000 // parts,
            host_calls_per_minute=calls * 10 // parts,
            egress_bytes_per_minute=egress_mb * _MB // parts,
            concurrency=concurrency // parts,
            storage_bytes=storage_mb * _MB // parts,
            rows=rows // parts,
        )

    return PlanSettings(tenant=share(1), plugin=share(2), plugins=plugins)


_PLANS = {
    "free": _plan(6_000, 60, 50, 64, 128, 100_000, 20),
    "pro": _plan(60_000, 240, 500, 128, 4 * 1024, 2_000_000, 100),
    "enterprise": _plan(6_000_000, 2_400, 5_000, 1_024, 64 * 1024, 20_000_000, 500),
}


class BreakerSettings(BaseSettings):
    """When a handler that fails is left alone: after so many failures in a row, or when so large a part of its calls
    fails."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_BREAKER_", frozen=True)

    in_a_row: int = Field(default=10, ge=1)
    minimum: int = Field(default=20, ge=1)
    """Failures within the window below which the rate does not matter."""
    rate: float = Field(default=0.35, gt=0, le=1)
    window_s: float = Field(default=300.0, gt=0)
    open_s: float = Field(default=30.0, gt=0)
    """How long it is left alone; twice as long each time that it still fails afterwards."""
    longest_s: float = Field(default=900.0, gt=0)


class CrashSettings(BaseSettings):
    """When an installation whose processes die has to rest, and when it is taken from work. Within the window, a crash
    and a death for memory count one, a breach of the protocol more."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_CRASH_", frozen=True)

    grace: int = Field(default=4, ge=0)
    """What costs nothing."""
    limit: int = Field(default=10, ge=1)
    """What costs its place: quarantine."""
    window_s: float = Field(default=600.0, gt=0)
    violation_weight: int = Field(default=3, ge=1)
    first_s: float = Field(default=1.0, ge=0)
    """The first rest; each further death doubles it."""
    longest_s: float = Field(default=60.0, gt=0)


class HealthSettings(BaseSettings):
    """How the node looks after plugins."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_HEALTH_", frozen=True)

    check_interval_s: float = Field(default=60.0, gt=0)
    """No plugin is asked more often, whatever its manifest says."""
    rest_interval_s: float = Field(default=86_400.0, gt=0)
    """How often one is asked of which nothing has run, and that was well."""
    check_concurrency: int = Field(default=2, ge=1)
    check_round_s: float = Field(default=5.0, gt=0)
    """How often the node looks whether there is anybody to ask."""
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    crashes: CrashSettings = Field(default_factory=CrashSettings)


class Settings(BaseSettings):
    """One node."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_", frozen=True)

    data_dir: Path = Field(default=Path(".data"), validate_default=True)
    database_url: str | None = None
    """SQLAlchemy URL; a SQLite file in `data_dir` when absent."""
    secret_key: str | None = None
    """`KEYID:BASE64(32 bytes)`, several joined by commas, the first one encrypts. When absent, a key file in `data_dir`
    is used, which is made together with a fresh folder; without either the node does not start."""
    isolation: IsolationLevel = Field(default_factory=lambda: "strict" if os.geteuid() == 0 else "unprivileged")
    """`strict` for root, `unprivileged` for anybody else, unless it is set. It is never lowered by itself: what the
    level demands and the machine does not give keeps the node from starting."""
    isolate_budget: int | None = Field(default=None, ge=1)
    """Isolates alive at the same time; the least recently used idle one goes first. When absent, as many as the node's
    memory makes sense for."""
    node_memory_mb: int | None = Field(default=None, ge=64)
    """What all isolates of this node may have together. When absent, three quarters of what the machine, or the control
    group that the node is in, has left when it starts."""
    isolate_calls: int = Field(default=10_000, ge=1)
    """Calls after which an isolate is replaced."""
    isolate_idle_s: float = Field(default=300.0, gt=0)
    max_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    max_package_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    public_url: str = "http://127.0.0.1:8000"
    metrics_token: str | None = Field(default=None, min_length=16, repr=False)
    """Opens `GET /metrics` and nothing else, for the monitoring system to keep. Operators' tokens open it as well."""
    metrics_open: bool = False
    """Whether everybody who reaches the port may read `GET /metrics`: which plugins run, how much, how they fail."""
    metrics_tenants: tuple[str, ...] = ()
    """Tenants that are told apart in the metrics, as JSON. Each adds as many series as it uses plugins."""
    tracing: bool = False
    """Whether to write OpenTelemetry spans; needs `jackfield[otel]`."""
    limits: LimitSettings = Field(default_factory=LimitSettings)
    ceilings: CeilingSettings = Field(default_factory=CeilingSettings)
    plans: dict[str, PlanSettings] = Field(default_factory=dict[str, PlanSettings], validate_default=True)
    """Plans by name, as JSON; `free`, `pro` and `enterprise` are there unless they are given. Operators can define more
    while the platform runs."""
    default_plan: str = "free"
    """Of tenants whose own plan nobody knows."""
    health: HealthSettings = Field(default_factory=HealthSettings)
    development: bool = False
    """Whether owners and admins of a tenant may run releases there that were never published (`jackfield run`)."""
    quota_warning: float = Field(default=0.8, gt=0, le=1)
    """The part of a quota from which on there are warnings."""
    quota_sync_s: float = Field(default=0.5, gt=0, le=10)
    """How often nodes tell each other what was used; they may overshoot a quota by what comes in between."""

    @field_validator("plans")
    @classmethod
    def _with_usual_plans(cls, plans: dict[str, PlanSettings]) -> dict[str, PlanSettings]:
        return {**_PLANS, **plans}

    @model_validator(mode="after")
    def _default_plan_is_one(self) -> Settings:
        if self.default_plan not in self.plans:
            raise ValueError(f"default_plan: there is no plan {self.default_plan!r}")
        return self

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        # Processes with another working directory are told of files below it.
        return path.absolute()

    @property
    def database_file(self) -> Path:
        """The embedded database."""
        return self.data_dir / "jackfield.sqlite3"

    @property
    def url(self) -> str:
        """The database's URL, with the embedded default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.database_file}"
