"""Adapters of connections: made of their settings, kept while these stay the same, and found for each call."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal, NamedTuple

import msgspec

from jackfield.clock import Clock
from jackfield.connections.credentials import AuthorizationCode, ClientCredentials, authorized
from jackfield.connections.errors import ConnectionBrokenError, ConnectionInvalidError
from jackfield.connections.models import ConnectionRow
from jackfield.connections.oauth2 import policy_for
from jackfield.connections.repository import find
from jackfield.connections.tokens import Connected, TokenKeeper, connected
from jackfield.data_adapters import Asking, DataAdapter
from jackfield.data_adapters.graphql import GraphMapping, GraphQLAdapter
from jackfield.data_adapters.postgrest import PostgRestAdapter, PostgRestMapping
from jackfield.data_adapters.remote import RemoteAdapter
from jackfield.data_adapters.remote_errors import AdapterMappingError
from jackfield.data_adapters.rest import RestAdapter, RestMapping
from jackfield.data_adapters.transport import Transport
from jackfield.db import Database
from jackfield.egress import Egress, OutboundRequest, UrlRefusedError, parse_url

__all__ = ["ADAPTERS", "DATA", "AdapterKind", "AdapterMaker", "ConnectionAdapters", "HeldCredentials", "read_settings"]

AdapterKind = Literal["postgrest", "rest", "graphql"]
ADAPTERS: dict[str, Any] = {"postgrest": PostgRestMapping, "rest": RestMapping, "graphql": GraphMapping}
"""Adapter → the type of its settings."""

DATA = "data"
"""The connection that serves `ctx.data`."""

_FOR_S = 5.0
"""How long another node's change may go unseen."""
_INSTALLATIONS = 10_000

Mapping = PostgRestMapping | RestMapping | GraphMapping


def read_settings(adapter: str, settings: Any) -> Mapping:
    """An adapter's settings from plain data.

    Raises:
        ConnectionInvalidError: They are something else.
    """
    kind = ADAPTERS.get(adapter)
    if kind is None:
        raise ConnectionInvalidError(f"adapter: one of {', '.join(ADAPTERS)}")
    try:
        found: Mapping = msgspec.convert(settings, kind)
        target = parse_url(found.base_url)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ConnectionInvalidError(f"settings: {error}"[:300]) from error
    except UrlRefusedError as error:
        raise ConnectionInvalidError(f"settings.base_url: {error}"[:300]) from error
    if "?" in target.path:
        raise ConnectionInvalidError("settings.base_url: has no query")
    return found


class HeldCredentials:
    """A connection's credentials, for requests of its adapter."""

    def __init__(self, keeper: TokenKeeper, connection: Connected) -> None:
        self._keeper = keeper
        self._connection = connection
        self._secrets: dict[str, str] | None = None
        self._refused = ""

    async def apply(self, request: OutboundRequest) -> OutboundRequest:
        """The request with credentials in it."""
        credentials = self._connection.credentials
        if isinstance(credentials, (ClientCredentials, AuthorizationCode)):
            token = await self._keeper.access(self._connection, refused=self._refused)
            return authorized(request, credentials, {}, token)
        if self._secrets is None:
            self._secrets = await self._keeper.secrets(self._connection)
        return authorized(request, credentials, self._secrets)

    async def renew(self, request: OutboundRequest) -> bool:
        """Get another access token."""
        if not isinstance(self._connection.credentials, (ClientCredentials, AuthorizationCode)):
            return False
        sent = next((value for name, value in request.headers if name == "authorization"), "")
        self._refused = sent.removeprefix("Bearer ")
        return True


class AdapterMaker:
    """Makes adapters."""

    def __init__(self, egress: Egress, keeper: TokenKeeper) -> None:
        self._egress = egress
        self._keeper = keeper

    def make(self, connection: Connected, adapter: str, settings: Any, credentials: Any = None) -> RemoteAdapter:
        """The adapter of a connection.

        Args:
            credentials: Instead of those that are stored, while a connection is tried.

        Raises:
            ConnectionInvalidError: The settings cannot be used.
        """
        mapping = read_settings(adapter, settings)
        held = credentials or HeldCredentials(self._keeper, connection)
        transport = Transport(
            adapter, self._egress, policy_for(connection.who, mapping.base_url), mapping.base_url, held
        )
        try:
            match mapping:
                case PostgRestMapping():
                    return PostgRestAdapter(mapping, transport)
                case RestMapping():
                    return RestAdapter(mapping, transport)
                case GraphMapping():
                    return GraphQLAdapter(mapping, transport)
        except AdapterMappingError as error:
            raise ConnectionInvalidError(f"settings: {error}") from error


class _Known(NamedTuple):
    """What is known of an installation until a moment."""

    until: float
    version: int
    adapter: RemoteAdapter | None
    broken: str | None


class ConnectionAdapters:
    """The `AdapterSource` of a node: the host's adapter, unless an installation has a connection called `data`.

    What is known of an installation is kept for some seconds; this node's own changes count at once, those of others as
    soon as it hears of them.
    """

    def __init__(self, host: DataAdapter, database: Database, maker: AdapterMaker, clock: Clock) -> None:
        self._host = host
        self._database = database
        self._maker = maker
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @property
    def host(self) -> DataAdapter:
        """The host's own."""
        return self._host

    async def of(self, asking: Asking) -> DataAdapter:
        """The adapter of one installation.

        Raises:
            ConnectionBrokenError: The other side does not accept its connection any more.
        """
        known = self._known.get(asking.installation_id)
        if known is None or known.until < self._clock.monotonic():
            known = await self._look(asking.tenant_id, asking.installation_id, known)
        if known.broken is not None:
            raise ConnectionBrokenError(DATA, known.broken)
        return known.adapter or self._host

    def forget(self, installation_id: str) -> None:
        """Its connections were changed."""
        self._known.pop(installation_id, None)

    def forget_all(self) -> None:
        """All may have been changed."""
        self._known.clear()

    async def _look(self, tenant_id: str, installation_id: str, known: _Known | None) -> _Known:
        async with self._database.read(tenant_id) as session:
            row = await find(session, installation_id, DATA)
        until = self._clock.monotonic() + _FOR_S
        if row is None:
            found = _Known(until, 0, None, None)
        else:
            is_same = known is not None and known.adapter is not None and known.version == row.version
            adapter = known.adapter if known is not None and is_same else self._made(row)
            found = _Known(until, row.version, adapter, row.broken)
        self._known[installation_id] = found
        self._known.move_to_end(installation_id)
        if len(self._known) > _INSTALLATIONS:
            self._known.popitem(last=False)
        return found

    def _made(self, row: ConnectionRow) -> RemoteAdapter:
        return self._maker.make(connected(row), str(row.adapter), row.settings)
