"""What a handler receives first: who it runs for, why, and what it may do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from jackfield_sdk.capabilities import Data, Events, Host, Log, Storage, Tables
from jackfield_sdk.errors import UserError
from jackfield_sdk.wire import CallContext, Caller, Delivery

__all__ = ["Context", "Health", "Request", "Response", "Tenant"]


class Tenant(msgspec.Struct, frozen=True):
    """The tenant that the call belongs to."""

    id: str


class Context:
    """Passed to every handler.

    Attributes:
        tenant: Whose installation runs.
        user: The member on whose behalf it runs; None for events and schedules.
        trigger: `function`, `event`, `filter`, `route`, `widget`, `lifecycle`, `health` …
        invocation_id: Names this call in records and logs.
        delivery: For events: the delivery's stable id and the attempt, counted from 1.
        storage, tables, data, events, log: The capabilities.
    """

    __slots__ = (
        "_call", "_config", "data", "delivery", "events", "invocation_id", "log", "storage", "tables", "tenant",
        "trigger", "user",
    )  # fmt: skip

    def __init__(self, call: CallContext, config: Callable[[], Any], host: Host) -> None:
        self._call = call
        self.tenant = Tenant(call.tenant_id)
        self.user: Caller | None = call.caller
        self.trigger: str = call.trigger
        self.invocation_id: str = call.invocation_id
        self.delivery: Delivery | None = call.delivery
        self._config = config
        self.storage = Storage(host)
        self.tables = Tables(host)
        self.data = Data(host)
        self.events = Events(host)
        self.log = Log(host)

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
