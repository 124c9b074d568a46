"""A platform in memory for a plugin's tests.

Handlers run through the same guest loop and the same wire encoding as in an isolate, and every capability call is
decided by the grants. What differs: it is one process, so a module's globals outlive what would be several isolates,
and `print` stays with the test.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

import msgspec

from jackfield_sdk import hooks, ui, wire
from jackfield_sdk.capabilities.gateways import Channel
from jackfield_sdk.context import Health, Response
from jackfield_sdk.errors import CapabilityError, PluginError, UserError, VetoError
from jackfield_sdk.manifest import Manifest, parse_manifest
from jackfield_sdk.plugin import Plugin
from jackfield_sdk.schema import Secret, return_type, to_plain
from jackfield_sdk.testing.broker import Broker, Emitted
from jackfield_sdk.testing.channels import SentMessage
from jackfield_sdk.testing.conditions import holds
from jackfield_sdk.testing.isolate import Isolate
from jackfield_sdk.testing.memory import Tables
from jackfield_sdk.testing.people import Told
from jackfield_sdk.testing.permissions import asked
from jackfield_sdk.testing.rights import Access, Rights
from jackfield_sdk.testing.routing import find_route, webhook_request
from jackfield_sdk.testing.web import FakeWeb

__all__ = ["FakePlatform"]

V = TypeVar("V")
Role = Literal["member", "admin", "owner"]
_ROLES = ("member", "admin", "owner")


class FakePlatform:
    """One installation of one plugin.

    Args:
        config: Configuration, secrets included; what is left out takes its default.
        withhold: Permissions that the tenant does not grant. All others that the manifest asks for are granted.
        grant_filters: Grant → conditions of the rows that the tenant narrows it to, as `[["city", "eq", "Berlin"]]`.
        access: What members may do with the host's entities: entity → role → `read` and `write`, each True, False, or
            conditions of the rows that the role has. Everything, when left out.
        entities: The host's entities: name → rows, each with its `id`.
        now: Time that handlers see; the real one when left out.

    Attributes:
        caller: The member on whose behalf functions, routes, filters and widgets run; None for the host itself.
        now: As above; may be set.
        locale: Language that handlers speak; may be set.
        execution: In what functions take part, as a step of a workflow; None: as the trigger says. May be set.
        shared: What the first caller handed along; may be set.

    Raises:
        ManifestError: The plugin's manifest would not be accepted.
    """

    def __init__(
        self,
        plugin: Plugin,
        *,
        config: Mapping[str, Any] | None = None,
        withhold: Iterable[str] = (),
        grant_filters: Mapping[str, list[Any]] | None = None,
        access: Access | None = None,
        entities: Mapping[str, Iterable[dict[str, Any]]] | None = None,
        tenant_id: str = "acme",
        now: datetime | None = None,
    ) -> None:
        self.plugin = plugin
        # As the registry has it: frozen, and read again from its bytes.
        self.manifest: Manifest = parse_manifest(plugin.manifest().encode())
        self.state: Literal["available", "inactive", "active"] = "available"
        self.caller: wire.Caller | None = wire.Caller("tester", "owner")
        self.now = now
        self.locale = "en"
        self.execution: wire.Execution | None = None
        self.shared: dict[str, Any] = {}
        self._tenant_id = tenant_id
        self._numbers = itertools.count(1)
        grants = set(asked(self.manifest))
        if unknown := sorted(set(withhold) - grants):
            raise ValueError(f"`{unknown[0]}` is not asked for; there are {', '.join(sorted(grants))}")
        types = {table.name: plugin.table_type(table.name) for table in self.manifest.tables}
        grants -= set(withhold)
        self._rights = Rights(self.manifest, grants, grant_filters or {}, access or {}, tenant_id)
        self._rights.caller = lambda: self.caller
        self._broker = Broker(
            self.manifest, grants, Tables(self.manifest.tables, types), plugin.event_types, rights=self._rights,
            tenant_id=tenant_id,
        )  # fmt: skip
        self._broker.people.caller = lambda: self.caller
        self._broker.now = lambda: (self.now or datetime.now(UTC)).timestamp()
        for entity, rows in (entities or {}).items():
            self._broker.entities.put(entity, *rows)
        self._config: dict[str, Any] = {}
        self._metrics: dict[str, int] = {}
        self._set_config(dict(config or {}))
        self._isolate = self._start_isolate()

    def __enter__(self) -> FakePlatform:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what `async def` handlers took."""
        self._isolate.close()

    # -- life cycle ----------------------------------------------------------------------------------------------

    def start(self) -> FakePlatform:
        """Install and activate."""
        return self.install().activate()

    def install(self) -> FakePlatform:
        """Install; a failure of `on_install` undoes it."""
        self._expect("available")
        self.state = "inactive"
        try:
            self._lifecycle("on_install")
        except PluginError:
            self._broker.purge()
            self.state = "available"
            raise
        return self

    def activate(self) -> FakePlatform:
        """Activate; a failure of `on_activate` leaves it inactive."""
        self._expect("inactive")
        self._lifecycle("on_activate")
        self.state = "active"
        return self

    def deactivate(self) -> FakePlatform:
        """Deactivate, whatever `on_deactivate` does; its failure is logged."""
        self._expect("active")
        self.state = "inactive"
        self._lifecycle_logged("on_deactivate")
        return self

    def uninstall(self) -> FakePlatform:
        """Deactivate if need be, and remove all that the installation owns."""
        if self.state == "active":
            self.deactivate()
        self._expect("inactive")
        self._lifecycle_logged("on_uninstall")
        self._broker.purge()
        self.state = "available"
        return self

    def configure(self, **values: Any) -> FakePlatform:
        """Change the configuration, secrets included. A failed check or `on_configure` keeps the old one.

        Raises:
            UserError: `config-invalid`, or what the plugin's own check raises.
        """
        kept, secrets = self._config, dict(self._broker.secrets)
        self._set_config({**kept, **secrets, **values})
        self._isolate = self._start_isolate()
        try:
            if self.manifest.config is not None and self.manifest.config.validate is not None:
                self._run("config-check", self.manifest.config.validate, None)
            if self.state != "available":
                self._lifecycle("on_configure")
        except PluginError:
            self._config = kept
            self._broker.secrets = secrets
            self._isolate = self._start_isolate()
            raise
        return self

    def put_rows(self, table: str, rows: Iterable[Mapping[str, Any]]) -> FakePlatform:
        """Put rows into a table as another release may have left them: nothing is checked, and each needs its `id`.

        The table may be one that only the other release has.
        """
        held = self._broker.tables.rows.setdefault(table, {})
        for row in rows:
            held[str(row["id"])] = dict(to_plain(dict(row)))
        return self

    def migrate(self, name: str) -> FakePlatform:
        """Run one of the plugin's migrations over what is there; a failure leaves the rows as they were."""
        declared = _named(name, {item.name: item for item in self.manifest.migrations}, "migration")
        return self._migrated(declared.up)

    def migrate_back(self, name: str) -> FakePlatform:
        """Take one of the plugin's migrations back.

        Raises:
            LookupError: It has no `down`.
        """
        declared = _named(name, {item.name: item for item in self.manifest.migrations}, "migration")
        if declared.down is None:
            raise LookupError(f"the migration `{name}` has no `down`")
        return self._migrated(declared.down)

    # -- triggers ------------------------------------------------------------------------------------------------

    def call(self, function: str, /, **arguments: Any) -> Any:
        """Call a function; what it returns, as plain data.

        Raises:
            PluginError: What the handler raised; `role-too-low`; `arguments-invalid` or `result-invalid` for what does
                not fit the function's types.
        """
        declared = _named(function, {item.name: item for item in self.manifest.functions}, "function")
        self._require(declared.role)
        self._expect("active")
        handler = self.plugin.handlers[declared.handler]
        plain = to_plain(arguments)
        _check_type(plain, handler.payload, "arguments-invalid")
        answer = self._run("function", declared.handler, plain)
        _check_type(answer, return_type(handler.function, path=function), "result-invalid")
        return answer

    def emit(self, event: str, payload: Any, *, attempts: int = 1) -> list[wire.Delivery]:
        """Hand an event to the plugin's handlers whose condition holds; the deliveries that were made.

        Args:
            attempts: How often each handler gets the same delivery. All but the last are cut off at their end, as when
                the platform dies there: what they wrote to storage and tables and emitted is gone, what they did
                elsewhere is done.
        """
        self._expect("active")
        plain = to_plain(payload)
        handlers = [item for item in self.manifest.events if item.event == event]
        _named(event, {item.event: item for item in self.manifest.events}, "handler of the event")
        made: list[wire.Delivery] = []
        for handler in handlers:
            if not holds(handler.when, event, plain):
                continue
            id = f"delivery_{next(self._numbers)}"
            for attempt in range(1, attempts + 1):
                made.append(wire.Delivery(id, attempt))
                with self.acting_as(None), self._broker.delivering(is_interrupted=attempt < attempts):
                    self._run("event", handler.handler, plain, made[-1])
        return made

    def filter(self, hook: str, value: V) -> V:
        """Pass a value through the plugin's handlers of a hook; a struct comes back as one.

        Raises:
            VetoError: A handler vetoed, or raised a `UserError`, which comes to the same.
        """
        self._expect("active")
        plain = to_plain(value)
        _named(hook, {item.hook: item for item in self.manifest.filters}, "filter of the hook")
        for item in sorted(self.manifest.filters, key=lambda item: (item.observe, item.priority)):
            if item.hook != hook or not holds(item.when, hook, plain):
                continue
            try:
                made = self._run("filter", item.handler, plain)
                plain = plain if item.observe else made
            except (UserError, VetoError) as error:
                if item.observe:
                    continue
                raise VetoError(str(error), hint=error.hint) from error
        return cast("V", msgspec.convert(plain, type(value)) if isinstance(value, msgspec.Struct) else plain)

    def route(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Request one of the plugin's routes.

        Args:
            path: Below `/api/plugins/{slug}/api`; it may carry a query.
            body: Bytes as they are; anything else goes as JSON.

        Raises:
            PluginError: What the handler raised; `route-unknown`, `role-too-low`.
        """
        self._expect("active")
        route, request = find_route(self.manifest.routes, method, path, body, query or {}, headers or {})
        if route.auth != "public":
            if self.caller is None:
                raise PluginError("nobody has signed in", code="role-too-low")
            self._require(route.auth)
        answer = self._run("route", route.handler, request)
        return msgspec.convert(answer, Response)

    def webhook(
        self,
        name: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> wire.Delivery:
        """Send to one of the plugin's webhooks, as its sender would: signatures are taken to be good. The delivery.

        Args:
            body: Bytes as they are; anything else goes as JSON.
            attempts: How often the handler gets it. All but the last are cut off at their end, as when
                the platform dies there: what they wrote to storage and tables and emitted is gone, what they did
                elsewhere is done.

        Raises:
            PluginError: What the handler raised; `webhook-refused` when the secret that it needs is not configured.
        """
        self._expect("active")
        webhook = _named(name, {item.name: item for item in self.manifest.webhooks}, "webhook")
        if webhook.verify != "none" and webhook.secret not in self._broker.secrets:
            raise PluginError(
                f"the secret `{webhook.secret}` is not set",
                code="webhook-refused",
                hint=f"FakePlatform(plugin, config={{{webhook.secret!r}: …}})",
            )
        request = webhook_request(name, body, query or {}, headers or {})
        delivery = wire.Delivery(f"delivery_{next(self._numbers)}", 1)
        for attempt in range(1, attempts + 1):
            delivery = wire.Delivery(delivery.id, attempt)
            with self.acting_as(None), self._broker.delivering(is_interrupted=attempt < attempts):
                self._run("webhook", webhook.handler, request, delivery)
        return delivery

    def fire(self, schedule: str, *, attempts: int = 1) -> wire.Delivery:
        """Have one of the plugin's schedules fire; the delivery.

        Args:
            attempts: How often the handler gets it. All but the last are cut off at their end, as when
                the platform dies there: what they wrote to storage and tables and emitted is gone, what they did
                elsewhere is done.
        """
        self._expect("active")
        declared = _named(schedule, {item.name: item for item in self.manifest.schedules}, "schedule")
        delivery = wire.Delivery(f"delivery_{next(self._numbers)}", 1)
        for attempt in range(1, attempts + 1):
            delivery = wire.Delivery(delivery.id, attempt)
            with self.acting_as(None), self._broker.delivering(is_interrupted=attempt < attempts):
                self._run("schedule", declared.handler, None, delivery)
        return delivery

    def widget(self, slot: str, context: Any = None) -> dict[str, Any] | None:
        """The plugin's widget for a slot, checked as a page would get it; None when it has nothing to show here.

        Raises:
            PluginError: What the handler raised; `widget-invalid` when its tree cannot be shown.
        """
        trees = self.widgets(slot, context)
        return trees[0] if trees else None

    def widgets(self, slot: str, context: Any = None) -> list[dict[str, Any]]:
        """All of the plugin's widgets for a slot, in their order."""
        self._expect("active")
        plain = to_plain({} if context is None else context)
        _named(slot, {item.slot: item for item in self.manifest.widgets}, "widget for the slot")
        items = sorted((item for item in self.manifest.widgets if item.slot == slot), key=lambda item: item.order)
        pages = self._broker.pages
        pages.is_drawing = True
        try:
            trees = [self._run("widget", item.handler, plain) for item in items if holds(item.when, slot, plain)]
        finally:
            pages.is_drawing = False
        return [ui.check_tree(tree) for tree in trees if tree is not None]

    def health(self) -> Health:
        """What the health check says; one that raises is not well."""
        if self.manifest.health is None:
            return Health(True)
        try:
            return msgspec.convert(self._run("health", self.manifest.health.handler, None), Health)
        except (PluginError, msgspec.ValidationError) as error:
            return Health(False, str(error))

    # -- who else is there -----------------------------------------------------------------------------------------

    def neighbour(self, plugin: str, /, **functions: Callable[..., Any]) -> FakePlatform:
        """Another plugin is at work; its public functions are these. What they raise is what it raises."""
        self._broker.neighbours.put(plugin, functions)
        return self

    def connect(self, name: str, value: str = "a token", *, username: str = "") -> FakePlatform:
        """Connect one of the plugin's connections, as an admin would; `value` is what its handle stands for."""
        self._broker.web.connections.values[name] = value
        self._broker.web.connections.usernames[name] = username
        return self

    def channel(self, kind: str = "telegram", *, id: str | None = None, **settings: Any) -> Channel:
        """A connected channel that the plugin is assigned to, with what the tenant has set for it there."""
        return self._broker.channels.open(kind, settings, id)

    def channel_message(
        self,
        text: str = "",
        *,
        kind: str = "telegram",
        channel: str | None = None,
        chat_id: str = "42",
        user_id: str | None = "42",
        id: str | None = None,
        sent_at: str | None = None,
        attempts: int = 1,
    ) -> list[wire.Delivery]:
        """Somebody writes on a channel: `channel.message`, and on Telegram `telegram.message`; the deliveries.

        Args:
            channel: The channel's id; one of the kind is opened when the test has opened none.
            id: Names the message; the same one again is the same message.
        """
        name = id or f"{chat_id}:{next(self._numbers)}"
        place = self._place(kind, channel)
        at = sent_at or (self.now or datetime.now(UTC)).isoformat()
        general = hooks.ChannelMessage(
            channel=place.id, kind=kind, id=name, chat_id=chat_id, sent_at=at, text=text, user_id=user_id
        )
        made = self._on_channel(place, "channel.message", general, attempts)
        if kind == "telegram":
            exact = hooks.TelegramMessage(
                channel=place.id, update_id=next(self._numbers), message_id=next(self._numbers), sent_at=at, text=text,
                chat=hooks.TelegramChat(id=int(chat_id)),
                sender=None if user_id is None else hooks.TelegramUser(id=int(user_id)),
            )  # fmt: skip
            made += self._on_channel(place, "telegram.message", exact, attempts)
        return made

    def channel_event(self, event: str, payload: Any, *, attempts: int = 1) -> list[wire.Delivery]:
        """Any event of a channel, as `channel.sent` or `telegram.callback`, on the channel that it names."""
        plain = to_plain(payload)
        kind = "telegram" if event.startswith("telegram.") else plain["kind"]
        return self._on_channel(self._place(kind, plain["channel"]), event, payload, attempts)

    def member(self, id: str, role: Role = "member", *, name: str = "", email: str = "", locale: str = "") -> None:
        """A person joins the tenant."""
        self._broker.people.add(id, role, name=name, email=email, locale=locale)

    # -- who acts, and what goes wrong ---------------------------------------------------------------------------

    @contextmanager
    def acting_as(self, id: str | None, role: Role = "member") -> Generator[FakePlatform]:
        """Let another member act within a `with` block; nobody when the id is None."""
        before = self.caller
        self.caller = None if id is None else wire.Caller(id, role)
        try:
            yield self
        finally:
            self.caller = before

    def before(self, operation: str, action: Callable[[], object], *, times: int = 1) -> None:
        """Do something just before the next calls of a capability operation, such as `tables.insert`.

        An action that raises a `CapabilityError` makes that call fail; one that uses this platform happens in the midst
        of the handler, as another isolate's work may.
        """
        self._broker.faults[operation].extend([action] * times)

    def fail(self, operation: str, *, code: str = "unavailable", times: int = 1) -> None:
        """Make the next calls of a capability operation fail."""

        def refuse() -> None:
            raise CapabilityError(f"{operation} failed, as the test asked", code=code)

        self.before(operation, refuse, times=times)

    # -- what it holds -------------------------------------------------------------------------------------------

    @property
    def grants(self) -> set[str]:
        """Permissions that are granted; may be changed."""
        return self._rights.grants

    @property
    def grant_filters(self) -> dict[str, list[Any]]:
        """Grant → conditions of the rows that it is narrowed to; may be changed."""
        return self._rights.filters

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, without secrets."""
        return dict(self._config)

    @property
    def storage(self) -> dict[str, Any]:
        """The plugin's key-value storage."""
        return self._broker.keeping.storage

    @property
    def files(self) -> dict[str, bytes]:
        """The plugin's files: path and content."""
        return {path: file.data for path, file in self._broker.keeping.files.items()}

    @property
    def web(self) -> FakeWeb:
        """The hosts that requests reach: they answer what the test has them say, and keep what they were asked."""
        return self._broker.web

    @property
    def sent(self) -> list[SentMessage]:
        """What the plugin wrote on channels, oldest first."""
        return self._broker.channels.sent

    @property
    def blocked(self) -> set[str]:
        """Chats that want no more messages; may be changed."""
        return self._broker.channels.blocked

    @property
    def emitted(self) -> list[Emitted]:
        """Events that the plugin sent, oldest first."""
        return self._broker.emitted

    @property
    def notified(self) -> list[Told]:
        """Notifications that members got, oldest first."""
        return self._broker.people.told

    @property
    def refreshed(self) -> list[str]:
        """Widgets that the plugin said to be changed, oldest first."""
        return self._broker.pages.refreshed

    @property
    def calls_out(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Calls of other plugins' functions: plugin, function, arguments; oldest first."""
        return self._broker.neighbours.calls

    @property
    def metrics(self) -> dict[str, int]:
        """What the plugin counted, summed over all calls."""
        return self._metrics

    @property
    def logs(self) -> list[wire.Log]:
        """Lines of the plugin's log, oldest first."""
        return self._broker.logs

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of one of the plugin's tables, oldest first."""
        return list(_named(table, self._broker.tables.rows, "table").values())

    def entities(self, name: str) -> list[dict[str, Any]]:
        """All of the host's entities of a name."""
        return list(self._broker.entities.rows.get(name, {}).values())

    # -- inside --------------------------------------------------------------------------------------------------

    def _set_config(self, values: dict[str, Any]) -> None:
        section = self.manifest.config
        if section is None or self.plugin.config_type is None:
            if values:
                raise UserError("the plugin has no configuration", code="config-invalid")
            return
        given = {name: value for name, value in values.items() if value is not None}
        try:
            msgspec.convert(given, self.plugin.config_type, dec_hook=_any_secret)
        except msgspec.ValidationError as error:
            # Before it is configured, a plugin may lack what has no default.
            if given:
                raise UserError(f"the configuration is not valid: {error}", code="config-invalid") from error
        self._broker.secrets = {name: given.pop(name) for name in section.secrets if name in given}
        self._config = to_plain(given)

    def _start_isolate(self) -> Isolate:
        """A new one, as a change of configuration retires the old."""
        broker = self._broker
        fresh = Isolate(self.plugin, self.manifest, self._config, sorted(broker.secrets), broker.answer, broker.log)
        fresh.metrics = self._metrics
        return fresh

    def _run(self, kind: str, handler: str, payload: Any, delivery: wire.Delivery | None = None) -> Any:
        number = next(self._numbers)
        context = wire.CallContext(
            self._tenant_id, f"invocation_{number}", kind, self.caller, delivery,
            now=(self.now or datetime.now(UTC)).timestamp(), locale=self.locale, execution=self.execution,
            shared={"correlation_id": f"invocation_{number}", **self.shared} if self.shared else None,
        )  # fmt: skip
        self._broker.entities.begin_call()
        return self._isolate.run(kind, handler, payload, context)

    def _place(self, kind: str, channel: str | None) -> Channel:
        known = self._broker.channels.channels
        found = next((each for each in known.values() if each.kind == kind and channel in (None, each.id)), None)
        return found or self._broker.channels.open(kind, {}, channel)

    def _on_channel(self, channel: Channel, event: str, payload: Any, attempts: int) -> list[wire.Delivery]:
        """Hand an event to those handlers that the real platform would: without the grant, nobody hears of it."""
        is_heard = any(item.event == event for item in self.manifest.events)
        if not is_heard or not self._rights.covers(f"channels:{channel.kind}"):
            return []
        before = self.execution
        self.execution = wire.Execution(
            "event", channel=channel.kind, channel_id=channel.id, settings=dict(channel.settings)
        )
        try:
            return self.emit(event, payload, attempts=attempts)
        finally:
            self.execution = before

    def _migrated(self, handler: str) -> FakePlatform:
        tables = self._broker.tables
        before = {table: dict(rows) for table, rows in tables.rows.items()}
        tables.is_migrating = True
        try:
            self._run("lifecycle", handler, None)
        except PluginError:
            tables.rows.clear()
            tables.rows.update(before)
            raise
        finally:
            tables.is_migrating = False
        return self

    def _lifecycle(self, hook: str) -> None:
        handler: str | None = getattr(self.manifest.lifecycle, hook)
        if handler is not None:
            self._run("lifecycle", handler, None)

    def _lifecycle_logged(self, hook: str) -> None:
        try:
            self._lifecycle(hook)
        except PluginError as error:
            self._broker.logs.append(wire.Log("error", f"{hook} failed: {error}"))

    def _expect(self, state: str) -> None:
        if self.state != state:
            raise PluginError(
                f"the installation is {self.state}, not {state}",
                code="plugin-not-active" if state == "active" else "state-wrong",
                hint="FakePlatform(plugin).start()",
            )

    def _require(self, role: str) -> None:
        if self.caller is not None and _ROLES.index(self.caller.role) < _ROLES.index(role):
            raise PluginError(f"this needs the role {role}", code="role-too-low")


def _check_type(value: Any, type_: Any, code: str) -> None:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise PluginError(str(error), code=code) from error


def _any_secret(annotation: type, value: Any) -> Any:
    if annotation is Secret and isinstance(value, str):
        return Secret(value, str)
    raise TypeError(f"expected text, got {type(value).__name__}")


def _named(name: str, known: Mapping[str, V], what: str) -> V:
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    raise LookupError(f"the plugin has no {what} `{name}`" + (f"; did you mean `{close[0]}`?" if close else ""))
