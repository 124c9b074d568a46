"""`connections`: what plugins may know of their connections, and what a handle of one stands for in their requests."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from jackfield.capabilities import CapabilityContext
from jackfield.capabilities.operations import Arguments, Capability, answer, operation
from jackfield.capabilities.permissions import covers
from jackfield.capabilities.vault import Vault
from jackfield.connections.credentials import AuthorizationCode, Basic, ClientCredentials, handed, read_credentials
from jackfield.connections.errors import ConnectionBrokenError, ConnectionMissingError, ConnectionNotDeclaredError
from jackfield.connections.models import ConnectionRow
from jackfield.connections.repository import find, sealed_values, secret_name, tokens_name
from jackfield.connections.tokens import TokenKeeper, connected
from jackfield.db import Database
from jackfield.egress import HostPolicy, InjectedSecret, Target
from jackfield.errors import JackfieldError
from jackfield_sdk.manifest import Connection as Declared

__all__ = ["ConnectionHandles"]

_OAUTH2 = frozenset({"oauth2", "oauth2-client-credentials"})


class _Named(Arguments, frozen=True):
    name: Annotated[str, Meta(max_length=32, pattern=r"^[a-z][a-z0-9_]*\Z")]


class ConnectionHandles:
    """The capability, and a `SecretSource` of `ctx.http`."""

    def __init__(self, database: Database, vault: Vault, keeper: TokenKeeper) -> None:
        self._database = database
        self._vault = vault
        self._keeper = keeper
        self.operations: Capability = {
            "get": operation(_Named, None, self._get),
            "ref": operation(_Named, lambda arguments: f"connections:{arguments.name}", self._ref),
        }

    async def injected(self, context: CapabilityContext, handle: str) -> InjectedSecret | None:
        """What a handle stands for; None when it is no handle of this installation's connections.

        Raises:
            ConnectionMissingError, ConnectionBrokenError, ConnectionNotReadyError, TokenEndpointError: It is one, and
                there is nothing to put in its place.
        """
        for declared in context.manifest.connections:
            if handle not in self._vault.handles(context.tenant_id, context.installation_id, _place(declared.name)):
                continue
            # Asked again here: a handle outlives a grant.
            context.rights.require(f"connections:{declared.name}")
            value, hosts = await self._value(context, declared)
            context.tally.revealed.append(value)
            return InjectedSecret(handle, value, hosts, f"the connection `{declared.name}`")
        return None

    async def renewed(self, context: CapabilityContext, secret: InjectedSecret) -> InjectedSecret | None:
        """A new access token in place of one that a host did not accept, although it should have been good."""
        for declared in context.manifest.connections:
            if secret.handle not in self._vault.handles(
                context.tenant_id, context.installation_id, _place(declared.name)
            ):
                continue
            row = await self._row(context, declared.name)
            if row is None:
                return None
            connection = connected(row)
            if not isinstance(connection.credentials, (ClientCredentials, AuthorizationCode)):
                return None
            value = await self._keeper.access(connection, refused=secret.value)
            if value == secret.value:
                return None
            context.tally.revealed.append(value)
            return replace(secret, value=value)
        return None

    async def bound_to(
        self, context: CapabilityContext, target: Target, known: Collection[str]
    ) -> list[InjectedSecret]:
        """Values of connections that a host may have been given before: it can repeat them at any time."""
        found: list[InjectedSecret] = []
        for declared in context.manifest.connections:
            # Access tokens are left out: to have one at hand might take a question to another server.
            if declared.kind in _OAUTH2 or not HostPolicy("", "", tuple(declared.hosts)).allows(
                target.scheme, target.host, target.port
            ):
                continue
            handle = self._vault.handles(context.tenant_id, context.installation_id, _place(declared.name))[0]
            if handle in known:
                continue
            with contextlib.suppress(JackfieldError):  # of one that is not ready there is nothing to be hidden
                value, hosts = await self._value(context, declared)
                found.append(InjectedSecret(handle, value, hosts, f"the connection `{declared.name}`"))
        return found

    async def _value(self, context: CapabilityContext, declared: Declared) -> tuple[str, tuple[str, ...]]:
        """The value, and the hosts that both the release names and the admin has entered it for."""
        row = await self._row(context, declared.name)
        if row is None:
            raise ConnectionMissingError(declared.name)
        if row.broken is not None:
            raise ConnectionBrokenError(declared.name, row.broken)
        connection = connected(row)
        agreed = row.settings.get("hosts", ())
        hosts = tuple(host for host in declared.hosts if host in agreed)
        if isinstance(connection.credentials, (ClientCredentials, AuthorizationCode)):
            return await self._keeper.access(connection), hosts
        return handed(connection.credentials, await self._keeper.secrets(connection)), hosts

    async def _row(self, context: CapabilityContext, name: str) -> ConnectionRow | None:
        async with self._database.read(context.tenant_id) as session:
            return await find(session, context.installation_id, name)

    async def _ref(self, context: CapabilityContext, arguments: _Named) -> bytes:
        declared = _declared(context, arguments.name)
        return answer(self._vault.handles(context.tenant_id, context.installation_id, _place(declared.name))[0])

    async def _get(self, context: CapabilityContext, arguments: _Named) -> bytes:
        declared = _declared(context, arguments.name)
        names = [secret_name(declared.name), tokens_name(declared.name)]
        async with self._database.read(context.tenant_id) as session:
            row = await find(session, context.installation_id, declared.name)
            stored = await sealed_values(session, context.installation_id, names)
        username, state = "", "ready"
        if row is None:
            state = "missing"
        elif row.broken is not None:
            state = "broken"
        else:
            credentials = read_credentials(row.credentials)
            if isinstance(credentials, AuthorizationCode) and names[1] not in stored:
                state = "unauthorized"
            elif not isinstance(credentials, AuthorizationCode) and names[0] not in stored:
                state = "missing"
            if isinstance(credentials, Basic) and covers(context.rights.grants, f"connections:{declared.name}"):
                username = credentials.username
        return answer({"name": declared.name, "kind": declared.kind, "state": state, "username": username})


def _declared(context: CapabilityContext, name: str) -> Declared:
    for declared in context.manifest.connections:
        if declared.name == name:
            return declared
    raise ConnectionNotDeclaredError(context.slug, name)


def _place(name: str) -> str:
    """No secret field can be called so: their handles are others."""
    return f"connection:{name}"
