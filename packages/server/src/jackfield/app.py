"""Composition root: the only file that knows every folder. `Platform` is what a host embeds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, overload

import structlog
from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from prometheus_client.core import Metric
from sqlalchemy import MetaData, exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

import jackfield
from jackfield import (
    capabilities,
    connections,
    data_adapters,
    egress,
    extension_points,
    health,
    invocation,
    isolation,
    jobs,
    lifecycle,
    live,
    notifications,
    quotas,
    records,
    webhooks,
)
from jackfield import channels as channels_
from jackfield import nodes as nodes_
from jackfield import registry as registry_
from jackfield import tenants as tenants_
from jackfield.channels.models import MessageRow
from jackfield.clock import Clock, SystemClock
from jackfield.data_adapters.models import DataChange
from jackfield.db import (
    Database,
    DiskFullError,
    Notices,
    TextInvalidError,
    database_figures,
    full_since,
    is_disk_full,
    is_no_text,
    is_unavailable,
    migrate,
    unavailable,
)
from jackfield.errors import JackfieldError
from jackfield.extension_points import FilterRun, FunctionResult, WidgetResult
from jackfield.http import (
    BodyLimitMiddleware,
    FiguresMiddleware,
    HttpFigures,
    IdempotencyMiddleware,
    OriginMiddleware,
    TraceMiddleware,
    TranslationMiddleware,
    add_problem_handlers,
    probes_router,
)
from jackfield.isolation import doctor
from jackfield.jobs.models import Delivery, OutboxEvent
from jackfield.notifications.models import NotificationDelivery, NotificationRow
from jackfield.settings import Settings
from jackfield.surface import Surface
from jackfield.tasks import together
from jackfield.tracing import Tracing
from jackfield.webhooks.models import AttemptRow
from jackfield_sdk import wire

__all__ = ["Platform", "SelfAttackError", "Tenant"]

_log = structlog.get_logger("jackfield")
_POOL_SLACK = 64 * 1024
_DELIVERIES_FOR_S = 15.0
"""For how long deliveries are not counted again for the monitoring system."""


class SelfAttackError(isolation.IsolationError):
    """The platform attacked itself at start, and an attack worked."""

    code = "self-attack-succeeded"


class Tenant:
    """What a host does for one of its tenants."""

    __slots__ = ("_platform", "id")

    def __init__(self, platform: Platform, tenant_id: str) -> None:
        self._platform = platform
        self.id = tenant_id

    @overload
    async def filter(
        self, name: str, payload: Any, *, caller: wire.Caller | None = None, dry_run: Literal[False] = False
    ) -> Any: ...

    @overload
    async def filter(
        self, name: str, payload: Any, *, caller: wire.Caller | None = None, dry_run: Literal[True]
    ) -> FilterRun: ...

    async def filter(self, name: str, payload: Any, *, caller: wire.Caller | None = None, dry_run: bool = False) -> Any:
        """Pass a value through a filter hook; it comes back in the type it went in.

        Args:
            dry_run: Only show what each plugin would do: a `FilterRun`. Nothing is left behind.

        Raises:
            VetoedError: A plugin objects; its message is for the acting user.
            FilterAbortedError: A plugin that the host may not go on without has failed.
        """
        if dry_run:
            return await self._platform.filters.dry_run(self.id, name, payload, caller)
        return await self._platform.filters.apply(self.id, name, payload, caller)

    async def emit(
        self,
        name: str,
        payload: Any,
        *,
        session: AsyncSession | Session | None = None,
        shared: Mapping[str, Any] | None = None,
    ) -> str:
        """Record an event, in the host's own transaction when a session is given; its id.

        Args:
            shared: A few values that go along with all that follows from it, as `ctx.shared`.
        """
        return await self._platform.events.emit(self.id, name, payload, session=session, shared=shared)

    async def call(
        self,
        slug: str,
        function: str,
        arguments: dict[str, Any],
        *,
        caller: wire.Caller | None = None,
        context: Mapping[str, Any] | None = None,
        locale: str = "en",
    ) -> FunctionResult:
        """Call a function of an active plugin.

        Args:
            context: In what the call takes part: `{"workflow": {"id": …, "run_id": …, "step": 0, "previous": …,
                "variables": {…}}, "shared": {…}}`, each optional.
            locale: Language tag of whoever it runs for.

        Raises:
            ContextInvalidError: The context has another form, or is too large.
        """
        about = extension_points.read_context(context)
        return await self._platform.functions.call(
            self.id,
            slug,
            function,
            arguments,
            caller,
            locale=locale,
            origin=about.origin,
            execution=about.execution,
        )

    async def widgets(self, slot: str, context: Any, *, caller: wire.Caller | None = None) -> list[WidgetResult]:
        """Widgets of all active plugins for a slot, in order."""
        return await self._platform.widgets.fill(self.id, slot, context, caller)


class Platform:
    """Everything, put together. Use it as an async context manager, or let `asgi` do so by its lifespan.

    Args:
        surface: What the host opens to plugins.

    Attributes:
        is_draining: Whether this node has said that it is about to stop.
        metric_sources: What `GET /metrics` tells, in groups.
        asgi: The HTTP API, an ASGI application. Mount it at the root; its paths begin with `/api`.
    """

    def __init__(self, settings: Settings, surface: Surface | None = None, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.surface = surface or Surface()
        self.clock = clock or SystemClock()
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.database = Database(settings.url, settings.database)
        self.notices = Notices(self.database)
        self.nodes = nodes_.Nodes(self.database, self.clock, version=jackfield.__version__)
        vault = capabilities.Vault(capabilities.load_keys(settings), lambda: capabilities.load_keys(settings))
        self._tracing = Tracing() if settings.tracing else None
        self.quotas = quotas.Quotas(self.database, settings, self.clock)
        self.tenants = tenants_.TenantService(self.database, self.clock, has_plan=self.quotas.has_plan)
        self._answers = tenants_.SqlAnswers(self.database, self.clock)
        self.registry = registry_.Registry(
            self.database,
            settings.data_dir,
            level=settings.isolation,
            max_package_bytes=settings.max_package_bytes,
            host_events=self.surface.event_index,
            clock=self.clock,
        )
        self.figures = records.Figures(tenants=settings.metrics_tenants)
        self.recorder = records.Recorder(
            self.database, settings.data_dir / "journal", self.clock, observe=self.figures.observe
        )
        self.audit_keys = records.AuditKeys()
        self.audit_keys.reload = self._load_audit_keys
        records.use_keys(self.database, self.audit_keys)
        self.audit_anchors = records.Anchors(self.database, self.audit_keys, settings.data_dir, self.clock)
        self.trail = records.Trail(self.database, self.audit_keys, self.audit_anchors, self.clock)
        self.records = records.Records(self.database, self.recorder, self.clock, trail=self.trail)
        self.egress = egress.Egress(
            settings.egress,
            charge=self._charge_egress,
            tracing=self._tracing,
        )
        self.connected = connections.House(
            self.database,
            vault,
            self.egress,
            data_adapters.SqlAdapter(self.database, self.surface, clock=self.clock),
            self._installed,
            settings.egress,
            settings.public_url,
            self.clock,
        )
        adapters = self.connected.adapters
        self.changes = data_adapters.Changes(self.database, adapters, self.clock)
        calls = extension_points.PluginCalls()
        sender = webhooks.Sender(self.egress, settings.egress)
        letters = notifications.Webhooks(sender)
        self.notifications = notifications.Notifications(
            self.database,
            settings.notifications,
            self.clock,
            has_email=settings.smtp.host is not None,
            check_url=letters.check,
        )
        lines = channels_.Lines(channels_.Telegram(self.egress, settings.telegram_api))
        sending = channels_.Sending(self.database, lines, self.clock)
        self.live = live.Hub(self.database, self.clock)
        gate = capabilities.Gate(
            self.database,
            vault,
            adapters.host,
            clock=self.clock,
            adapters=adapters,
            connections=self.connected.handles.operations,
            secret_sources=(self.connected.handles,),
            secret_guards=(self.connected.handles,),
            renewing_sources=(self.connected.handles,),
            space_of=self.quotas.space_of,
            access=capabilities.AccessBook(self.surface),
            egress=self.egress,
            plugin_calls=calls,
            notifications=self.notifications,
            gateway_calls=sending,
            live=self.live,
        )
        self.notifications.sealer = lines.sealer = gate.envelope
        self.courier = notifications.Courier(
            self.database,
            gate.envelope,
            letters,
            None if settings.smtp.host is None else notifications.Mailer(settings.smtp),
            settings.notifications,
            self.clock,
            sender=settings.smtp.sender,
            sender_name=settings.smtp.sender_name,
            public_url=settings.public_url,
        )
        self.notifications.on_due = self.courier.wake
        self._machine = quotas.Machine.here()
        capacity, ceilings = quotas.capacity_of(settings, self._machine), settings.ceilings
        self.supervisor = isolation.Supervisor(settings.isolation, settings.data_dir / "cache")
        self.isolates = isolation.IsolatePool(
            self.supervisor,
            isolation.PoolSettings(
                budget=capacity.isolates,
                memory_budget_mb=capacity.memory_mb,
                calls=settings.isolate_calls,
                idle_s=settings.isolate_idle_s,
                descriptors=settings.limits.descriptors,
                spare_memory_mb=settings.limits.memory_mb,
                # What a call may send is looked at when it has come; this is what any call could be allowed.
                frame_bytes=max(
                    settings.limits.result_bytes,
                    settings.limits.host_call_bytes,
                    ceilings.result_bytes,
                    ceilings.host_call_bytes,
                )
                + _POOL_SLACK,
            ),
        )
        watch = health.Watch(settings.health, self.clock)
        self.invoker = invocation.Invoker(
            self.isolates,
            gate,
            self.recorder,
            settings.limits,
            self.clock,
            admissions=(self.quotas, watch),
            tracing=self._tracing,
            limit_source=self.quotas,
            leaks=gate.leaks,
        )
        snapshots = lifecycle.Snapshots(self.database, self.registry)
        self.quotas.on_limits_changed(self.invoker.retire)
        self.active = lifecycle.ActiveInstallations(snapshots, prepare=self.quotas.prepare)
        gate.follow(lifecycle.LiveGrants(self.active))
        self.lifecycle = lifecycle.Lifecycle(
            database=self.database,
            catalogue=self.registry,
            runner=self.invoker,
            surface=self.surface,
            snapshots=snapshots,
            active=self.active,
            clock=self.clock,
            data_dir=settings.data_dir,
            flush_records=self._write_down,
            node_id=self.database.node_id,
            is_gone=self.nodes.gone.__contains__,
            policy_of=self.quotas.policy,
            kept=lifecycle.Kept(settings.rollback_releases, settings.rollback_days),
            move_limit=settings.update_rows,
        )
        inventory = lifecycle.Inventory(self.database)
        self.live.slugs_of = inventory.slugs_by_id
        self.live.talk_since = channels_.talk_since
        self.housekeeping, self.leaks = gate.housekeeping, gate.leaks
        self._envelope = gate.envelope
        self.rotation = capabilities.Rotation(
            self.database, gate.envelope, settings, inventory.slugs_of, self.clock
        )  # fmt: skip
        self.housekeeping.rotation = self.rotation
        self.files = capabilities.FileReader(self.database)
        self.usage = quotas.UsageReader(self.quotas, inventory, settings.quota_warning)
        self._operating = quotas.Operating(self.database, self.quotas, inventory, self.clock)
        self.health = health.Health(
            database=self.database,
            clock=self.clock,
            watch=watch,
            lifecycle=self.lifecycle,
            active=self.active,
            runner=self.invoker,
            settings=settings.health,
            flush_records=self.recorder.flush,
            is_busy=lambda: self.isolates.stats().waiting > 0,
            notifications=self.notifications,
        )
        self.filters = extension_points.Filters(self.surface, self.active, self.invoker)
        self.events = extension_points.Events(
            self.database, self.surface, self.active, self.invoker, tracing=self._tracing
        )  # fmt: skip
        self.events.audience = channels_.Audience(self.database)
        self.functions = extension_points.Functions(self.active, self.invoker)
        self.channels = channels_.Channels(self.database, lines, self.active, settings.public_url, self.clock)
        self.intake = channels_.Intake(self.database, self.clock)
        self._talking = channels_.Talking(self.database, self.intake, settings.channels, self.clock)
        self._offering = channels_.Offering(self.database, self.active, self.functions)
        self._polling = channels_.Polling(self.database, self.channels, self.intake, lines, self.clock)
        calls.connect(self.active, self.functions, self.clock)
        self.routes = extension_points.Routes(self.active, self.invoker)
        self.widgets = extension_points.Widgets(self.surface, self.active, self.invoker)
        self.schedules = jobs.Schedules(self.database, self.clock, live.schedule_told)
        handlers = extension_points.ScheduleHandlers(self.active, self.invoker)
        self.webhook_endpoints = webhooks.Endpoints(
            self.database, gate.envelope, sender, settings.webhooks, self.clock,
            limit_of=self._endpoint_limit, tell_admins=self._tell_admins,
        )  # fmt: skip
        self._webhook_addresses = webhooks.Addresses(self.database, gate.envelope, settings.public_url, self.clock)
        self.webhooks = extension_points.Webhooks(
            self.active, self.invoker, self._webhook_addresses, webhooks.Intake(self.database, self.clock),
            gate.secrets, settings.webhooks, self.clock,
        )  # fmt: skip
        self._webhook_upkeep = webhooks.Housekeeping(self.database, self.clock)
        self._delivering = extension_points.Delivering(
            self.events,
            {"schedule:": handlers, webhooks.EVENT_PREFIX: self.webhooks},
            {webhooks.ID_PREFIX: self.webhook_endpoints},
            tracing=self._tracing,
        )
        self._counted = jobs.Counted(self._delivering, self.clock)
        self.dispatcher = jobs.Dispatcher(
            self.database, extension_points.Subscribing(self.events, self.webhook_endpoints), self._counted,
            self.clock,
            tell_others=lambda: self.notices.hint(jobs.outbox.JOBS), owner=self.database.node_id,
        )  # fmt: skip
        self.retention = records.Retention(
            self.database, self._kinds(), self.clock, limit_of=self._retention_limit,
            every=timedelta(seconds=settings.retention.every_s),
        )  # fmt: skip
        self._listen()
        self.deliveries = jobs.Deliveries(self.database, self.clock)
        self.report: doctor.Report | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._is_running = False
        self.is_draining = False
        self._http_figures = HttpFigures()
        self.metric_sources: list[records.Source] = [
            self._node_figures,
            self.figures.now,
            self._counted.now,
            records.cached(lambda: jobs.delivery_figures(self.database, self.clock), _DELIVERIES_FOR_S),
            records.cached(lambda: health.breaker_figures(self.database), _DELIVERIES_FOR_S),
            records.cached(lambda: nodes_.nodes_figures(self.nodes), _DELIVERIES_FOR_S),
        ]
        self.asgi = self._build_asgi()

    def _charge_egress(self, tenant_id: str, installation_id: str, size: int) -> None:
        # What the platform sends on its own for a tenant is no plugin's to pay.
        if installation_id.startswith("inst_"):
            self.quotas.charge(tenant_id, installation_id, egress_bytes=size)

    async def _endpoint_limit(self, tenant_id: str) -> int | None:
        return (await self.quotas.policy(tenant_id)).webhook_endpoints

    async def _retention_limit(self, tenant_id: str) -> int | None:
        if tenant_id == records.PLATFORM:
            return None
        return (await self.quotas.policy(tenant_id)).retention_days

    def _kinds(self) -> list[records.Kind]:
        """What is dropped when it is old, of all folders."""
        kept, rows = self.settings.retention, records.Rows
        is_done = jobs.goes_nowhere()
        is_sent = ~exists().where(
            NotificationDelivery.notification_id == NotificationRow.id, NotificationDelivery.finished_at.is_(None)
        )
        return [
            *records.record_kinds(kept.invocations_days, kept.logs_days, kept.costs_days, kept.uses_days),
            records.Kind(
                "deliveries", "Events, and what became of them", kept.deliveries_days,
                # Events that a delivery is left of stay; the deliveries go first.
                [rows(Delivery, Delivery.finished_at), rows(OutboxEvent, OutboxEvent.fanned_out_at, is_done)],
            ),
            records.Kind(
                "changes", "What plugins did to entities", self.settings.data_changes_days,
                [rows(DataChange, DataChange.at)],
            ),
            records.Kind(
                "notifications", "What plugins told members", self.settings.notifications.keep_days,
                [rows(NotificationRow, NotificationRow.created_at, is_sent)],
            ),
            records.Kind(
                "webhook_attempts", "Webhooks that were sent", self.settings.webhooks.keep_days,
                [rows(AttemptRow, AttemptRow.at)],
            ),
            records.Kind(
                "channel_messages", "What was said on channels", kept.channel_messages_days,
                [rows(MessageRow, MessageRow.created_at)],
            ),
            records.Kind(
                "audit", "Who changed what", kept.audit_days,
                [records.TrailRows(self.audit_keys, self.clock)], is_evidence=True,
            ),
        ]  # fmt: skip

    async def _tell_admins(self, tenant_id: str, title: str, body: str) -> None:
        note = notifications.Note(title, body, "warning")
        await self.notifications.send(tenant_id, "webhooks", "webhooks", note, ["owner", "admin"])

    def tenant(self, tenant_id: str) -> Tenant:
        """The handle of a tenant. One that the platform does not know just has nothing installed."""
        return Tenant(self, tenant_id)

    async def __aenter__(self) -> Platform:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring the database up to date, attack ourselves, recover what was cut off, start the workers.

        Raises:
            CapacityError: The settings promise more than the machine has.
            IsolationError: Plugins cannot be sealed as the settings demand.
        """
        if self._is_running:
            return
        self.is_draining = False
        quotas.check(self.settings, self._machine)
        self._is_running = True
        try:
            # None of them leans on another, and each waits for processes or disks; nothing runs before all are through.
            await together(self._open_database(), self._attack_ourselves(), self.isolates.start())
            await self.recorder.replay()
            await self.lifecycle.recover()
        except BaseException:
            await self.stop()
            raise
        loop = asyncio.get_running_loop()
        self._workers = [
            loop.create_task(self._guarded("notices", self.notices.run), name="notices"),
            loop.create_task(self._guarded("nodes", self.nodes.run), name="nodes"),
            loop.create_task(self._guarded("recorder", self.recorder.run), name="recorder"),
            loop.create_task(self._guarded("dispatcher", self.dispatcher.run), name="dispatcher"),
            loop.create_task(self._guarded("schedules", self.schedules.run), name="schedules"),
            loop.create_task(self._guarded("health", self.health.run), name="health"),
            loop.create_task(self._guarded("quotas", self.quotas.run), name="quotas"),
            loop.create_task(self._guarded("lifecycle", self.lifecycle.run), name="lifecycle"),
            loop.create_task(self._guarded("retention", self.retention.run), name="retention"),
            loop.create_task(self._guarded("housekeeping", self.housekeeping.run), name="housekeeping"),
            loop.create_task(self._guarded("courier", self.courier.run), name="courier"),
            loop.create_task(self._guarded("webhooks", self._webhook_upkeep.run), name="webhooks"),
            loop.create_task(self._guarded("connections", self.connected.run), name="connections"),
            loop.create_task(self._guarded("channels", self._polling.run), name="channels"),
            loop.create_task(self._guarded("audit", self.audit_anchors.run), name="audit"),
            loop.create_task(self._guarded("live", self.live.run), name="live"),
        ]
        _log.info("ready", isolation=self.settings.isolation, database=self.database.engine.dialect.name)

    async def make_tables(self, metadata: MetaData) -> None:
        """Make the host's own tables that are not there yet, beside the platform's, and let the platform use them.

        For a host that has no migrations of its own. Called after `start`.
        """
        async with self.database.administer() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.commit()
        await migrate.admit(self.database, metadata.sorted_tables)

    def drain(self) -> None:
        """Say that this node is about to stop (`GET /api/health`: 503), so that no more work is sent to it; what comes
        all the same is done."""
        self.is_draining = True
        self.live.close()

    async def stop(self) -> None:
        """Stop taking work, end isolates, write down what is in memory."""
        if not self._is_running:
            return
        self._is_running = False
        self.live.close()
        await self.lifecycle.close()
        await self.dispatcher.stop()
        for worker in reversed(self._workers):
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
        self._workers.clear()
        self.schedules.close()
        await self.notices.close()
        await self.isolates.stop()
        await self.egress.close()
        with contextlib.suppress(Exception):  # a lost database must not keep the process from ending
            await self.quotas.close()
        with contextlib.suppress(Exception):  # as above
            await self.housekeeping.flush()
        with contextlib.suppress(Exception):  # as above
            await self.recorder.close()
        with contextlib.suppress(Exception):  # as above
            await self.nodes.close()
        await self.database.close()

    async def drain_events(self, timeout_s: float = 30.0) -> None:
        """Wait until every event that is due has been delivered.

        Raises:
            TimeoutError: It took longer.
        """
        async with asyncio.timeout(timeout_s):
            await self.dispatcher.drain()

    async def _open_database(self) -> None:
        await migrate.upgrade(self.database)
        await migrate.admit(self.database, [entity.table for entity in self.surface.entity_index.values()])
        await migrate.verify(self.database)
        # Before anything is kept in memory, so that no change of it is missed.
        await self.notices.start()
        await self.nodes.start()
        await self.quotas.start()
        await self.rotation.start()
        await self.open_trail()
        await self.registry.start()
        if self.database.is_sqlite:
            # The only node there can be: what was under way when the last one died will never be answered.
            await self._answers.give_up_all()

    async def open_trail(self, *, is_reading: bool = False) -> None:
        """Read the keys of the audit trail: part of `start`, and of work on a database without starting.

        Args:
            is_reading: Whether to leave a trail from before there were chains as it is.
        """
        await self._load_audit_keys()
        if not is_reading:
            await self.audit_anchors.adopt()

    async def _load_audit_keys(self) -> None:
        await capabilities.load_audit_keys(self.database, self._envelope, self.audit_keys)

    def _listen(self) -> None:
        """What other nodes change is forgotten here."""
        notices = self.notices
        notices.on(lifecycle.INSTALLATIONS, self._hear_of_installation)
        notices.on(tenants_.CALLERS, self.tenants.hear)
        notices.on(quotas.RULES, lambda _subject: self.quotas.sync())
        notices.on(jobs.outbox.JOBS, lambda _subject: self.dispatcher.wake())
        notices.on(webhooks.ENDPOINTS, self.webhook_endpoints.forget)
        notices.on(connections.CONNECTIONS, self.connected.hear)
        notices.on(live.LIVE, self.live.wake)
        notices.on(health.BREAKERS, self.health.book.hear)
        notices.on_gap(self.health.book.hear)
        notices.on_gap(self.live.wake_all)
        notices.on_gap(self.connected.forget_all)
        notices.on_gap(self.webhook_endpoints.forget_all)
        notices.on_gap(self.active.invalidate_all)
        notices.on_gap(self.tenants.forget_all)
        notices.on_gap(self.dispatcher.wake)
        self.nodes.on_gone(self._take_over)

    def _hear_of_installation(self, subject: str) -> Awaitable[None]:
        tenant_id, _, installation_id = subject.partition(" ")
        self.active.invalidate(tenant_id)
        # Its isolates here may be those of a revision that is no more.
        return self.invoker.retire(installation_id)

    async def _take_over(self, gone: Collection[str]) -> None:
        """Nodes are gone: what they were doing is gone on with here, without waiting for their leases."""
        self.dispatcher.take_over(gone)
        await self.lifecycle.take_over()

    async def _attack_ourselves(self) -> None:
        if self.settings.isolation == "none":
            _log.warning("ISOLATION IS OFF: plugins can do whatever this server can. For development only.")
            return
        self.report = await doctor.examine(self.settings.isolation, self.settings.data_dir / "cache")
        if not self.report.is_clean:
            holes = "; ".join(f"{hole.name}: {hole.says}" for hole in self.report.holes)
            raise SelfAttackError(f"isolation level {self.settings.isolation} does not hold here: {holes}")

    async def _installed(self, tenant_id: str, slug: str, instance: str) -> connections.Target:
        found = await self.lifecycle.get(tenant_id, slug, instance=instance)
        return connections.Target(found.id, found.slug, found.manifest)

    async def _write_down(self) -> None:
        """Put into the tables what is in memory of calls, so that it can be removed with the plugin that made them."""
        await self.recorder.flush()
        await self.housekeeping.flush()

    async def _node_figures(self) -> Iterable[Metric]:
        version, level = jackfield.__version__, self.settings.isolation
        return [
            *records.node_figures(version, level, self.recorder.backlog),
            *isolation.pool_figures(self.isolates.stats()),
            *database_figures(self.database, self.notices),
            *self._http_figures.now(),
        ]

    async def _has_started(self) -> bool:
        # The schema is up to date by then, tenants are kept apart, and our own attacks were stopped.
        return self._is_running and bool(self._workers)

    async def _has_zygote(self) -> bool:
        return self.supervisor.is_ready

    async def _database_answers(self) -> bool | str:
        async with self.database.read(None) as session:
            answers = await session.scalar(select(1)) == 1
        # No other node could do more: reading goes on here as well as there.
        return "full" if answers and full_since(self.database) else answers

    async def _guarded(self, name: str, run: Any) -> None:
        """A worker that fails is started again: one bad row or a moment without a database must not stop all work."""
        delay_s = 0.1
        while True:
            try:
                await run()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if is_unavailable(error):
                    # Expected, and of all workers at once: traces of each would only keep the node from its work.
                    _log.warning("worker-put-off", worker=name, error=str(error)[:300], again_in_s=delay_s)
                else:
                    _log.exception("worker failed", worker=name, again_in_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 10.0)
            else:
                return

    def _build_asgi(self) -> FastAPI:
        @contextlib.asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
            started_here = not self._is_running
            await self.start()
            try:
                yield
            finally:
                if started_here:
                    await self.stop()

        app = FastAPI(
            title="Jackfield",
            version=jackfield.__version__,
            summary="A marketplace, a life cycle and a sealed runtime for plugins of a multi-tenant product.",
            lifespan=lifespan,
            generate_unique_id_function=_operation_id,
            # Its pages would load scripts from elsewhere into the host's origin.
            docs_url=None,
            openapi_url="/api/openapi.json",
            redoc_url=None,
            # Its spans would stand beside ours and name whole addresses, with the tokens of webhooks in them.
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        )
        app.state.authenticator = self.tenants
        uploads = (registry_.UPLOAD_PATH, lifecycle.DEVELOPMENT_PATH)
        app.add_middleware(
            IdempotencyMiddleware, authenticator=self.tenants, answers=self._answers, streamed=frozenset(uploads)
        )
        app.add_middleware(
            BodyLimitMiddleware,
            limit_bytes=self.settings.max_body_bytes,
            overrides=dict.fromkeys(uploads, self.settings.max_package_bytes),
        )
        app.add_middleware(OriginMiddleware)
        app.add_middleware(TraceMiddleware, tracing=self._tracing)
        app.add_middleware(TranslationMiddleware, translate=_unavailable)
        app.add_middleware(FiguresMiddleware, figures=self._http_figures)
        add_problem_handlers(app)
        app.router.routes.insert(0, extension_points.plugin_routes(self.routes, self.quotas.warning_of))
        app.include_router(tenants_.router(self.tenants))
        app.include_router(notifications.router(self.notifications))
        app.include_router(nodes_.router(self.nodes))
        app.include_router(quotas.router(self.quotas, self.usage, self._operating))
        app.include_router(registry_.router(self.registry))
        # Before the life cycle's `/api/plugins/{slug}`: `ui-components` is no slug.
        app.include_router(
            extension_points.router(
                self.surface,
                self.filters,
                self.events,
                self.functions,
                self.widgets,
                self.quotas.warning_of,
            )
        )
        app.include_router(lifecycle.router(self.lifecycle, self.health))
        app.include_router(health.router(self.health))
        app.include_router(health.operators_router(self.health))
        app.include_router(
            lifecycle.development_router(self.lifecycle, self.registry.development, is_on=self.settings.development)
        )
        app.include_router(lifecycle.reading_router(self.lifecycle, self.records))
        app.include_router(lifecycle.permissions_router(self.lifecycle, self.records, self.surface))
        app.include_router(lifecycle.keeping_router(self.lifecycle, self.files, self.leaks))
        app.include_router(capabilities.keys_router(self.rotation, self.housekeeping.wake))
        app.include_router(lifecycle.deliveries_router(self.lifecycle, self.deliveries))
        app.include_router(lifecycle.delivery_log_router(self.lifecycle, self.deliveries))
        app.include_router(lifecycle.every_delivery_router(lifecycle.EveryDelivery(self.database)))
        app.include_router(extension_points.schedules_router(self.lifecycle, self.schedules, self.deliveries))
        app.include_router(
            extension_points.webhooks_router(self.lifecycle, self.webhooks, self._webhook_addresses, self.deliveries)
        )
        app.include_router(webhooks.router(self.webhook_endpoints, self.deliveries))
        app.include_router(data_adapters.router(self.changes))
        app.include_router(connections.router(self.connected.connections, self.connected.authorizations))
        app.include_router(channels_.inbound_router(self._talking, self.intake, self._offering))
        app.include_router(channels_.router(self.channels, self._offering, self.lifecycle))
        app.include_router(live.router(self.live))
        app.include_router(records.router(self.records))
        app.include_router(records.retention_router(self.retention, self.tenants.tenant))
        app.include_router(
            records.metrics_router(
                self.metric_sources,
                self.tenants,
                token=self.settings.metrics_token,
                is_open=self.settings.metrics_open,
            )
        )

        app.include_router(
            probes_router(
                lambda: self.is_draining,
                {"start": self._has_started, "isolates": self._has_zygote, "database": self._database_answers},
            )
        )

        @app.get("/api/health", tags=["operations"], operation_id="getHealth")
        async def get_health(response: Response) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
            """Whether this node can do its work (else 503), and how its plugins are sealed. Open to everybody."""
            stats = self.isolates.stats()
            is_ok = self._is_running and self.supervisor.zygote_pid is not None and not self.is_draining
            if not is_ok:
                response.status_code = 503
            return {
                "status": "ok" if is_ok else "draining" if self.is_draining else "unavailable",
                "version": jackfield.__version__,
                "isolation": self.settings.isolation,
                "self_attack": _summary(self.report),
                "isolates": {"alive": stats.alive, "idle": stats.idle, "waiting": stats.waiting},
            }  # fmt: skip

        if self.settings.isolation == "none":

            @app.middleware("http")
            async def mark_isolation(request: Any, call_next: Any) -> Response:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
                response: Response = await call_next(request)
                response.headers["X-Jackfield-Isolation"] = "none"
                return response

        return app


def _summary(report: doctor.Report | None) -> dict[str, Any] | None:
    return None if report is None else {"clean": report.is_clean, "checks": len(report.findings)}


def _unavailable(error: Exception) -> JackfieldError | None:
    if is_disk_full(error):
        return DiskFullError("there is no room for this on the node's disk", retry_after_s=30)
    if is_no_text(error):
        return TextInvalidError("there is a character in it that cannot be kept")
    return unavailable(error, "the database did not answer") if is_unavailable(error) else None


def _operation_id(route: APIRoute) -> str:
    return route.operation_id or route.name
