"""What a handler receives first: who it runs for, why, and what it may do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from jackfield_sdk.capabilities import Data, Events, Host, Log, Storage, Tables
from jackfield_sdk.errors import UserError
from jackfield_sdk.wire import CallContext, Caller, Delivery, Execution

if TYPE_CHECKING:
    from jackfield_sdk.capabilities.cache import Cache
    from jackfield_sdk.capabilities.connections import Connections
    from jackfield_sdk.capabilities.files import Files
    from jackfield_sdk.capabilities.functions import Functions
    from jackfield_sdk.capabilities.gateways import Channel, Gateways
    from jackfield_sdk.capabilities.http import Http
    from jackfield_sdk.capabilities.members import Members
    from jackfield_sdk.capabilities.migration import Migration
    from jackfield_sdk.capabilities.notify import Notify
    from jackfield_sdk.capabilities.secrets import Secrets
    from jackfield_sdk.capabilities.widgets import Widgets
    from jackfield_sdk.identifiers import Ids
    from jackfield_sdk.metrics import Metrics

__all__ = ["Context", "Health", "Request", "Response", "Tenant", "User"]

_LAZY = {
    "cache": ("jackfield_sdk.capabilities.cache", "Cache"),
    "files": ("jackfield_sdk.capabilities.files", "Files"),
    "connections": ("jackfield_sdk.capabilities.connections", "Connections"),
    "functions": ("jackfield_sdk.capabilities.functions", "Functions"),
    "http": ("jackfield_sdk.capabilities.http", "Http"),
    "members": ("jackfield_sdk.capabilities.members", "Members"),
    "migration": ("jackfield_sdk.capabilities.migration", "Migration"),
    "notify": ("jackfield_sdk.capabilities.notify", "Notify"),
    "secrets": ("jackfield_sdk.capabilities.secrets", "Secrets"),
    "widgets": ("jackfield_sdk.capabilities.widgets", "Widgets"),
}
"""Capability → module and class. Few handlers use them: they are imported and made when one is asked for first. No call
pays for what it does not use."""
_KINDS = {"event": "event", "schedule": "schedule", "webhook": "channel", "channel": "channel"}


class Tenant:
    """The tenant that the call belongs to. What is not its id is asked for when it is read first."""

    __slots__ = ("_about", "_host", "id")

    def __init__(self, id: str, host: Host | None = None) -> None:
        self.id = id
        self._host = host
        self._about: dict[str, str] | None = None

    @property
    def name(self) -> str:
        """What the organisation is called."""
        return self._told("name")

    @property
    def plan(self) -> str:
        """Its plan, as `free`."""
        return self._told("plan")

    @property
    def timezone(self) -> str:
        """Its time zone, as `Europe/Vienna`."""
        return self._told("timezone")

    @property
    def locale(self) -> str:
        """Its language, as `de-AT`."""
        return self._told("locale")

    def _told(self, name: str) -> str:
        if self._about is None:
            if self._host is None:
                raise RuntimeError("nobody to ask")
            self._about = self._host.call("members", "tenant", {})
        return (self._about or {})[name]


class User(Caller, frozen=True, array_like=True, dict=True):
    """The member on whose behalf a call runs. What is not sent along is asked for when it is read first."""

    @property
    def name(self) -> str:
        """The member's name; empty for a program with a token of its own."""
        return self._fetched("me")["name"]

    @property
    def email(self) -> str:
        """The member's address; takes the permission `members:read`.

        Raises:
            PermissionDeniedError: It is not granted.
        """
        return self._fetched("my_address")["email"]

    @property
    def locale(self) -> str:
        """Language tag: the member's setting, or what their browser asked for."""
        return _hidden(self)["locale"]

    def _fetched(self, operation: str) -> dict[str, str]:
        kept = _hidden(self)
        if operation not in kept:
            kept[operation] = kept["host"].call("members", operation, {})
        return kept[operation]


def _hidden(user: User) -> dict[str, Any]:
    """What a user has beside the fields that are sent: a frozen struct has nowhere else to keep it."""
    kept: Any = user.__dict__
    return kept


class Context:
    """Passed to every handler.

    Attributes:
        tenant: Whose installation runs.
        user: The member on whose behalf it runs; None for events and schedules.
        trigger: `function`, `event`, `filter`, `route`, `widget`, `lifecycle`, `health` …
        invocation_id: Names this call in records and logs.
        delivery: For events: the delivery's stable id and the attempt, counted from 1.
        storage, tables, data, events, log, cache, files, http, secrets, functions, gateways, members, notify,
            widgets: The capabilities.
        ids: Makes identifiers.
        metrics: Counts what the plugin wants counted.
    """

    __slots__ = (
        "_call", "_config", "_host", "_texts", "cache", "connections", "data", "delivery", "events", "files",
        "functions", "gateways", "http", "ids", "invocation_id", "log", "members", "metrics", "migration", "notify",
        "secrets", "storage", "tables", "tenant", "trigger", "user", "widgets",
    )  # fmt: skip

    if TYPE_CHECKING:
        cache: Cache
        connections: Connections
        files: Files
        functions: Functions
        gateways: Gateways
        http: Http
        ids: Ids
        members: Members
        migration: Migration
        metrics: Metrics
        notify: Notify
        secrets: Secrets
        tenant: Tenant
        user: User | None
        widgets: Widgets

    def __init__(
        self,
        call: CallContext,
        config: Callable[[], Any],
        host: Host,
        texts: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._call = call
        self._host = host
        self._texts = texts
        self.trigger: str = call.trigger
        self.invocation_id: str = call.invocation_id
        self.delivery: Delivery | None = call.delivery
        self._config = config
        self.storage = Storage(host)
        self.tables = Tables(host)
        self.data = Data(host)
        self.events = Events(host)
        self.log = Log(host)

    def __getattr__(self, name: str) -> Any:
        """What has not been asked for before; called for no other attribute."""
        made: Any
        if name in _LAZY:
            module, kind = _LAZY[name]
            made = getattr(importlib.import_module(module), kind)(self._host)
        elif name == "tenant":
            made = Tenant(self._call.tenant_id, self._host)
        elif name == "user":
            made = self._acting()
        elif name == "gateways":
            gateways = importlib.import_module("jackfield_sdk.capabilities.gateways").Gateways
            made = gateways(self._host, self._call.execution)
        elif name == "metrics":
            made = importlib.import_module("jackfield_sdk.metrics").Metrics()
        elif name == "ids":
            made = importlib.import_module("jackfield_sdk.identifiers").Ids()
        else:
            raise AttributeError(f"the context has no {name!r}", name=name, obj=self)
        setattr(self, name, made)
        return made

    @property
    def config(self) -> Any:
        """The configuration, of the type declared by `@plugin.config`; None when the plugin declares none.

        Raises:
            PluginError: `config-incomplete`: the tenant has not set what has no default.
        """
        return self._config()

    @property
    def now(self) -> datetime:
        """When the call began, in UTC, by the platform's clock."""
        return datetime.fromtimestamp(self._call.now, UTC)

    @property
    def trace_id(self) -> str:
        """The trace that the call belongs to, 32 hex digits, to be handed on and logged; empty when nobody traces."""
        return self._call.traceparent[3:35]

    @property
    def locale(self) -> str:
        """Language tag of the acting user."""
        return self._call.locale

    @property
    def execution(self) -> Execution:
        """In what the call takes part: on its own, a workflow's step, a schedule, an event, a channel, or a plugin."""
        return self._call.execution or Execution(_KINDS.get(self._call.trigger, "standalone"))

    @property
    def channel(self) -> Channel | None:
        """The channel that an event came from, or that a function is called on, with its settings for this plugin."""
        execution = self._call.execution
        if execution is None or not execution.channel_id:
            return None
        channel = importlib.import_module("jackfield_sdk.capabilities.gateways").Channel
        return channel(execution.channel_id, execution.channel, execution.settings)

    @property
    def shared(self) -> Mapping[str, Any]:
        """What the first caller handed along to all calls and events that follow from it; can only be read.

        `correlation_id` is always there, and the same all along; `variables` are those of a workflow.
        """
        return MappingProxyType(self._call.shared or {"correlation_id": self._call.invocation_id})

    def validate(self, kind: Any, value: Any) -> Any:
        """A value of a type, or one that fits a JSON Schema.

        Args:
            kind: A type as functions take it (the value is converted to it), or a JSON Schema as a dict (the value
                comes back as it is).

        Raises:
            ValidationError: It does not fit; `problems` says what is wrong, and where.
        """
        validate = importlib.import_module("jackfield_sdk.validation").validate
        return validate(kind, value)

    def translate(self, key: str, /, **values: object) -> str:
        """A text of the plugin's `translations` in the language of the acting user.

        `{name}` in a text is replaced by that value. With a value `count`, `KEY.zero`, `KEY.one` and `KEY.other` are
        tried first. The language falls back: `de-AT`, `de`, `en`, any. Without a text, it is the key itself.
        """
        translate = importlib.import_module("jackfield_sdk.translation").translate
        return translate(self._texts or {}, self._call.locale, key, values)

    _ = translate

    def counted(self) -> dict[str, int] | None:
        """What `metrics` has counted; None when nothing was. For the loop that runs handlers."""
        # Not by the attribute, which would make one.
        try:
            metrics: Metrics = _METRICS.__get__(self)
        except AttributeError:
            return None
        return metrics.counts or None

    def _acting(self) -> User | None:
        caller = self._call.caller
        if caller is None:
            return None
        user = User(caller.id, caller.role)
        _hidden(user).update(host=self._host, locale=self._call.locale)
        return user


_METRICS: Any = Context.__dict__["metrics"]
"""The slot itself."""


class Request(msgspec.Struct, frozen=True):
    """An HTTP request to one of the plugin's routes.

    Attributes:
        params: Parts of the path that the route's pattern names.
        query: Query parameters; the last value of each.
        headers: Lower-case names; credentials are left out.
        body: Raw bytes.
    """

    method: str
    path: str
    params: dict[str, str] = {}
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; None when it is empty.

        Raises:
            UserError: It is not valid JSON.
        """
        if not self.body:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f"the body is not valid JSON: {error}", code="body-not-json") from error


class Response(msgspec.Struct, frozen=True):
    """An HTTP answer; a handler that returns plain data answers 200 with that data as JSON.

    Attributes:
        body: Data for JSON, or text or bytes with a `content_type` of its own.
    """

    body: Any = None
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = {}


class Health(msgspec.Struct, frozen=True):
    """What a health check answers."""

    ok: bool
    message: str = ""
