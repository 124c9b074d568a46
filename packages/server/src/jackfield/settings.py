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
    "DatabaseSettings",
    "EgressSettings",
    "HealthSettings",
    "IsolationLevel",
    "LimitSettings",
    "NotificationSettings",
    "PlanSettings",
    "QuotaSettings",
    "RetentionSettings",
    "Settings",
    "SmtpSettings",
    "WebhookSettings",
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
    """Of storage, tables and files together, without what anything beside their content takes."""
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
    webhook_endpoints: Amount = 20
    """How many addresses its events may be sent to."""
    retention_days: Amount = 0
    """For how many days a tenant may have its records kept, where it wishes for more than the platform's own time."""


def _plan(
    calls: int,
    cpu_s: int,
    egress_mb: int,
    concurrency: int,
    storage_mb: int,
    rows: int,
    plugins: int,
    retention_days: int,
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

    return PlanSettings(tenant=share(1), plugin=share(2), plugins=plugins, retention_days=retention_days)


_PLANS = {
    "free": _plan(6_000, 60, 50, 64, 128, 100_000, 20, 0),
    "pro": _plan(60_000, 240, 500, 128, 4 * 1024, 2_000_000, 100, 365),
    "enterprise": _plan(6_000_000, 2_400, 5_000, 1_024, 64 * 1024, 20_000_000, 500, 3_650),
}


class EgressSettings(BaseSettings):
    """What leaves the platform: which addresses are reached, and how much one request may take."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_EGRESS_", frozen=True)

    allowed: tuple[str, ...] = ()
    """What is reached though it is not on the public internet, as JSON: networks (`10.1.0.0/16`), addresses, and names
    of hosts, the last two with a port or without. A name alone never opens link-local addresses, where clouds keep
    their credentials: those take the network."""
    plain_http: bool = False
    """Whether the permission `http:HOST` covers `http://` on port 80. Otherwise it takes `http:HOST:80`."""
    ca_file: Path | None = None
    """Certificates of authorities that are trusted beside the usual ones, as PEM."""
    resolver: str | None = None
    """`address:port` of the name server that is asked; the system's own way when absent."""
    request_bytes: int = Field(default=7 * _MB, ge=1024)
    response_bytes: int = Field(default=8 * _MB, ge=1024)
    """Of a body, decompressed."""
    header_bytes: int = Field(default=64 * 1024, ge=1024)
    headers: int = Field(default=128, ge=8)
    redirects: int = Field(default=5, ge=0, le=20)
    total_s: float = Field(default=30.0, gt=0)
    """For one request, redirects included."""
    connect_s: float = Field(default=5.0, gt=0)
    """For the look-up, for the connection, and for TLS, each."""
    read_s: float = Field(default=15.0, gt=0)
    """Without a byte from the other side."""
    requests_per_minute: int = Field(default=600, ge=1)
    """Of one installation, on this node."""
    concurrency: int = Field(default=8, ge=1)
    """Requests of one installation at the same time."""
    tenant_concurrency: int = Field(default=24, ge=1)
    node_concurrency: int = Field(default=256, ge=1)
    buffered_bytes: int = Field(default=256 * _MB, ge=_MB)
    """Of bodies that the node holds at the same time, for all together."""
    idle_s: float = Field(default=30.0, ge=0)
    """How long a connection that nobody uses is kept."""
    connection_s: float = Field(default=300.0, gt=0)
    """How old a connection may be to be used again."""
    trace_hosts: tuple[str, ...] = ()
    """Hosts that are told which trace a request belongs to (`traceparent`), as JSON: names as in the permission
    `http:HOST`. Ids tell who else asks in the same matter, so no other host gets them."""


class DatabaseSettings(BaseSettings):
    """How the node works with PostgreSQL. SQLite needs none of it."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_DATABASE_", frozen=True)

    admin_url: str | None = Field(default=None, repr=False)
    """URL of the owner of the tables, who changes the schema when a node starts; `JACKFIELD_DATABASE_URL` when
    absent."""
    notices_url: str | None = Field(default=None, repr=False)
    """Where nodes hear one another, when `JACKFIELD_DATABASE_URL` leads to a pooler that hands out connections by
    transaction: past it."""
    role: str = "jackfield_app"
    """Who serves: each connection becomes this role, that owns nothing, so that row-level security holds for it. Empty:
    the user of the URL is such a role already."""
    pool_size: int = Field(default=10, ge=1)
    """Connections that are kept."""
    pool_overflow: int = Field(default=20, ge=0)
    """Connections beside them, for as long as they are needed."""
    pool_timeout_s: float = Field(default=5.0, gt=0)
    """How long work waits for a connection."""
    pool_recycle_s: float = Field(default=1800.0, gt=0)
    """How old a connection may grow."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    statement_timeout_s: float = Field(default=30.0, gt=0)
    """For one statement, changes of the schema excepted."""
    statement_cache: int = Field(default=512, ge=0)
    """Prepared statements that a connection keeps. 0 behind a pooler that hands out connections by transaction."""
    application_name: str | None = None
    """What the database shows; the machine's name and the process when absent."""


class BreakerSettings(BaseSettings):
    """When a handler that fails is left alone: after so many failures, when they are so large a part of its calls since
    the first of them."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_BREAKER_", frozen=True)

    in_a_row: int | None = Field(default=None, ge=1)
    """So many failures one after the other are enough, too; None: only the rate matters."""
    minimum: int = Field(default=20, ge=1)
    """Failures within the window below which the rate does not matter."""
    rate: float = Field(default=0.35, gt=0, le=1)
    window_s: float = Field(default=300.0, gt=0)
    open_s: float = Field(default=120.0, gt=0)
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


class SmtpSettings(BaseSettings):
    """The mail server that notifications leave by. Without a host, none are sent by e-mail."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_SMTP_", frozen=True)

    host: str | None = None
    port: int = Field(default=587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` is demanded, not tried. `none` is for a server on the same machine."""
    username: str | None = None
    password: str | None = Field(default=None, repr=False)
    sender: str = "no-reply@localhost"
    """Address that e-mails come from."""
    sender_name: str = "Notifications"
    ca_file: Path | None = None
    timeout_s: float = Field(default=20.0, gt=0)


class NotificationSettings(BaseSettings):
    """How notifications reach members."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_NOTIFICATION_", frozen=True)

    per_hour: int = Field(default=10, ge=1)
    """E-mails, and webhooks, of one plugin to one member; the rest goes together, once per `digest_s`."""
    in_app_per_hour: int = Field(default=60, ge=1)
    """Entries of one plugin in one member's list; the rest is one entry that grows."""
    digest_s: float = Field(default=3_600.0, ge=1)
    keep_days: int = Field(default=90, ge=1)
    attempts: int = Field(default=8, ge=1)
    retry_s: float = Field(default=30.0, gt=0)
    """After the first failure; three times as long after each further one."""
    concurrency: int = Field(default=4, ge=1)


class WebhookSettings(BaseSettings):
    """How webhooks come in and go out."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_WEBHOOK_", frozen=True)

    per_minute: int = Field(default=600, ge=1)
    """That one address takes, on this node."""
    body_bytes: int = Field(default=1 * _MB, ge=1024)
    """Of one that comes in; never more than `max_body_bytes`."""
    endpoint_concurrency: int = Field(default=8, ge=1)
    """Requests to one endpoint at the same time; one, while it fails."""
    node_concurrency: int = Field(default=16, ge=1)
    """Requests to all endpoints at the same time. The other deliveries of the node keep the rest of its places."""
    disable_after_days: float = Field(default=5.0, gt=0)
    """Of nothing but failures, after which an endpoint is switched off."""
    keep_days: int = Field(default=14, ge=1)
    """For how long attempts are kept."""


class ChannelSettings(BaseSettings):
    """What channels take."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_CHANNEL_", frozen=True)

    per_minute: int = Field(default=600, ge=1)
    """Messages on one channel, on this node."""
    sender_per_minute: int = Field(default=60, ge=1)
    """Of them from one sender, and requests of one sender for replies."""
    body_bytes: int = Field(default=1 * _MB, ge=1024)
    """Of an update that comes in."""


Days = Annotated[int, Field(ge=1, le=36_500)] | None
"""None: for ever."""


class RetentionSettings(BaseSettings):
    """For how long records are kept, in days. Tenants may wish for less, and for more where their plan allows it.

    What plugins did to the host's entities, notifications, and attempts of webhooks have settings of their own:
    `data_changes_days`, `notifications.keep_days`, `webhooks.keep_days`.
    """

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_RETENTION_", frozen=True)

    invocations_days: Days = 30
    logs_days: Days = 30
    costs_days: Days = 90
    """What each hour has cost; totals stay."""
    uses_days: Days = 90
    """On whose behalf grants were used; totals stay."""
    deliveries_days: Days = 14
    """Of events, after they ended."""
    channel_messages_days: Days = 30
    audit_days: Days = 730
    """Of each trail, a sealed checkpoint stays."""
    every_s: float = Field(default=3_600.0, gt=0)
    """How often each kind is gone through, by one of the nodes."""


class Settings(BaseSettings):
    """One node."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_", frozen=True)

    data_dir: Path = Field(default=Path(".data"), validate_default=True)
    database_url: str | None = None
    """SQLAlchemy URL; a SQLite file in `data_dir` when absent."""
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
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
    drain_s: float = Field(default=0.0, ge=0, le=300)
    """How long a node that is asked to stop says so before it does: as long as a load balancer needs to look."""
    shutdown_s: float = Field(default=30.0, gt=0)
    """How long requests that have begun may take from then on."""
    rollback_releases: int = Field(default=3, ge=0)
    """How many releases of an installation can be gone back to. Each keeps a copy of the data where that was moved."""
    rollback_days: int = Field(default=30, ge=0)
    """For how long they can."""
    update_rows: int = Field(default=250_000, ge=0)
    """Rows and keys of storage that an update may move to another release; with more it is refused."""
    public_url: str = "http://127.0.0.1:8000"
    metrics_token: str | None = Field(default=None, min_length=16, repr=False)
    """Opens `GET /metrics` and nothing else, for the monitoring system to keep. Operators' tokens open it as well."""
    metrics_open: bool = False
    """Whether everybody who reaches the port may read `GET /metrics`: which plugins run, how much, how they fail."""
    metrics_tenants: tuple[str, ...] = ()
    """Tenants that are told apart in the metrics, as JSON. Each adds as many series as it uses plugins."""
    log_form: Literal["auto", "console", "json"] = "auto"
    """Of the log that `serve` writes: by itself `console` on a terminal, else a JSON object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    tracing: bool = False
    """Whether to write OpenTelemetry spans; needs `jackfield[otel]`."""
    limits: LimitSettings = Field(default_factory=LimitSettings)
    ceilings: CeilingSettings = Field(default_factory=CeilingSettings)
    plans: dict[str, PlanSettings] = Field(default_factory=dict[str, PlanSettings], validate_default=True)
    """Plans by name, as JSON; `free`, `pro` and `enterprise` are there unless they are given. Operators can define more
    while the platform runs."""
    default_plan: str = "free"
    """Of tenants whose own plan nobody knows."""
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    smtp: SmtpSettings = Field(default_factory=SmtpSettings)
    notifications: NotificationSettings = Field(default_factory=NotificationSettings)
    egress: EgressSettings = Field(default_factory=EgressSettings)
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    channels: ChannelSettings = Field(default_factory=ChannelSettings)
    telegram_api: str = "https://api.telegram.org"
    """Where Telegram's Bot API is; another one for tests, or a Bot API server of your own."""
    data_changes_days: int = Field(default=90, ge=1, le=3650)
    """For how long what plugins did to the host's entities is kept, and can be taken back."""
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
