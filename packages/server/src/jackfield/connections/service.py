"""`Connections`: what admins do with the connections of a plugin. Each verb checks, tries, then changes one row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import records
from jackfield.capabilities import set_secrets
from jackfield.clock import Clock
from jackfield.connections.adapters import DATA, AdapterMaker, ConnectionAdapters, read_settings
from jackfield.connections.credentials import (
    SECRET_FIELDS,
    AuthorizationCode,
    ClientCredentials,
    Credentials,
    Stored,
    authorized,
    read_credentials,
    required_secrets,
    seen,
    split,
)
from jackfield.connections.errors import (
    ConnectionChangedError,
    ConnectionInvalidError,
    ConnectionMissingError,
    ConnectionNotDeclaredError,
    ConnectionNotReadyError,
    ConnectionTestFailedError,
    CredentialsNeededError,
)
from jackfield.connections.interfaces import InstallationSource, Target
from jackfield.connections.models import ConnectionRow
from jackfield.connections.oauth2 import TokenClient
from jackfield.connections.reports import Finding, Report, finding_of, probe
from jackfield.connections.repository import (
    changed,
    detach,
    encoded,
    find,
    of_installation,
    sealed_values,
    secret_name,
    tokens_name,
)
from jackfield.connections.tokens import Connected, TokenKeeper, connected
from jackfield.db import Database
from jackfield.egress import OutboundRequest, UrlRefusedError, parse_url
from jackfield.egress.addresses import Allowed
from jackfield.errors import JackfieldError
from jackfield.ids import new_id
from jackfield.settings import EgressSettings
from jackfield_sdk.manifest import Connection as Declared

__all__ = ["Connections", "Seen"]

_GIVEN_BYTES = 256 * 1024
_KINDS = {"oauth2": "oauth2-authorization-code"}
"""Words of the manifest that are shorter than ours."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A connection as admins see it; secret values are never in it.

    Attributes:
        state: `missing`, `unauthorized` (nobody has agreed yet), `ready`, `broken`.
        declared: From the manifest; None for `data`.
        secrets: Secret field → whether it has a value.
    """

    name: str
    state: str
    declared: Declared | None = None
    adapter: str | None = None
    settings: Mapping[str, Any] | None = None
    credentials: Mapping[str, Any] | None = None
    secrets: Mapping[str, bool] | None = None
    reason: str | None = None
    connected_at: datetime | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None
    tested_at: datetime | None = None
    report: Report | None = None


class Connections:
    """One per node.

    Args:
        installations: Finds what a path names.
    """

    def __init__(
        self,
        database: Database,
        keeper: TokenKeeper,
        client: TokenClient,
        maker: AdapterMaker,
        adapters: ConnectionAdapters,
        installations: InstallationSource,
        egress: EgressSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._keeper = keeper
        self._client = client
        self._maker = maker
        self._adapters = adapters
        self.installations = installations
        self._allowed = Allowed(egress.allowed)
        self._clock = clock

    # -- reading -----------------------------------------------------------------------------------------------------

    async def list(self, tenant_id: str, slug: str, instance: str = "default") -> list[Seen]:
        """All connections that there are or could be: `data`, then the manifest's."""
        target = await self.installations(tenant_id, slug, instance)
        async with self._database.read(tenant_id) as session:
            rows = {row.name: row for row in await of_installation(session, target.id)}
            names = [kept for name in rows for kept in (secret_name(name), tokens_name(name))]
            stored = await sealed_values(session, target.id, names) if names else {}
        found = [self._seen(rows.get(DATA), stored, DATA, None)]
        found += [
            self._seen(rows.get(declared.name), stored, declared.name, declared)
            for declared in target.manifest.connections
        ]
        # Of an older release: it can still be looked at and removed.
        known = {seen.name for seen in found}
        return [*found, *(self._seen(row, stored, name, None) for name, row in rows.items() if name not in known)]

    async def get(self, tenant_id: str, slug: str, name: str, instance: str = "default") -> Seen:
        """One of them.

        Raises:
            ConnectionNotDeclaredError: The plugin has none of this name.
        """
        for found in await self.list(tenant_id, slug, instance):
            if found.name == name:
                return found
        raise ConnectionNotDeclaredError(slug, name)

    # -- changing ----------------------------------------------------------------------------------------------------

    async def put(
        self,
        tenant_id: str,
        slug: str,
        name: str,
        given: Mapping[str, Any],
        *,
        instance: str = "default",
        actor: str,
    ) -> Seen:
        """Connect it, or change how it is connected, after trying it.

        A secret value that is left out stays as it is, as long as it goes to the same servers as before. What has to be
        agreed to by its owner first is saved without being tried.

        Args:
            given: `adapter` and `settings` for `data`; `credentials` for all.

        Raises:
            ConnectionInvalidError, CredentialsNeededError: Nothing was tried.
            ConnectionTestFailedError: It does not work; nothing was saved.
        """
        target = await self.installations(tenant_id, slug, instance)
        declared = self._declared(target, name)
        async with self._database.read(tenant_id) as session:
            row = await find(session, target.id, name)
        wanted = await self._wanted(tenant_id, target, name, declared, given, row)
        report = None
        if wanted.can_be_tried:
            report = await self._tried(wanted)
            if not report.is_ok:
                first = next(finding for finding in report.findings if not finding.is_ok)
                raise ConnectionTestFailedError(first.message, report.plain())
        async with self._database.write(tenant_id) as session:
            await self._save(session, wanted, row, actor, is_tested=report is not None)
        self._forget(target.id, wanted.connection.id)
        found = await self.get(tenant_id, slug, name, instance)
        return Seen(**{field: getattr(found, field) for field in Seen.__slots__ if field != "report"}, report=report)

    async def test(
        self, tenant_id: str, slug: str, name: str, given: Mapping[str, Any] | None, *, instance: str = "default"
    ) -> Report:
        """Try it: as it is stored, or as it would be with these settings. Nothing is saved."""
        target = await self.installations(tenant_id, slug, instance)
        declared = self._declared(target, name)
        async with self._database.read(tenant_id) as session:
            row = await find(session, target.id, name)
        if given is None:
            if row is None:
                raise ConnectionMissingError(name)
            report = await self._tried_stored(row)
            async with self._database.write(tenant_id) as session:
                kept = await find(session, target.id, name)
                if kept is not None and kept.version == row.version:
                    kept.tested_at = self._clock.now()
            return report
        return await self._tried(await self._wanted(tenant_id, target, name, declared, given, row))

    async def remove(self, tenant_id: str, slug: str, name: str, *, instance: str = "default", actor: str) -> None:
        """Disconnect it for good; the OAuth2 server is told a little later.

        Raises:
            ConnectionMissingError: It is not connected.
        """
        target = await self.installations(tenant_id, slug, instance)
        async with self._database.write(tenant_id) as session:
            row = await find(session, target.id, name)
            if row is None:
                raise ConnectionMissingError(name)
            await detach(session, target.id, self._clock.now(), [name])
            await session.execute(delete(ConnectionRow).where(ConnectionRow.id == row.id))
            await changed(session, target.id, row.id)
            records.audit(
                session, tenant_id, actor, "connection.disconnect", f"{slug}/{name}", _summary(row), None, plugin=slug
            )
        self._forget(target.id, row.id)

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _declared(self, target: Target, name: str) -> Declared | None:
        if name == DATA:
            return None
        for declared in target.manifest.connections:
            if declared.name == name:
                return declared
        raise ConnectionNotDeclaredError(target.slug, name)

    async def _wanted(
        self,
        tenant_id: str,
        target: Target,
        name: str,
        declared: Declared | None,
        given: Mapping[str, Any],
        row: ConnectionRow | None,
    ) -> _Wanted:
        if unknown := given.keys() - {"adapter", "settings", "credentials"}:
            raise ConnectionInvalidError(f"`{min(unknown)[:40]}` is no part of a connection")
        if len(msgspec.json.encode(given)) > _GIVEN_BYTES:
            raise ConnectionInvalidError(f"a connection has more than {_GIVEN_BYTES} bytes")
        adapter: Any = given.get("adapter")
        settings: Any = given.get("settings")
        if declared is None:
            if row is not None and adapter is None and settings is None:
                adapter, settings = row.adapter, row.settings
            if not isinstance(adapter, str) or not isinstance(settings, dict):
                raise ConnectionInvalidError("`data` takes an `adapter` and its `settings`")
            allowed = target.manifest.data_adapters
            if allowed and adapter not in allowed:
                raise ConnectionInvalidError(f"{target.slug} works with {', '.join(allowed)}")
            self._check_url("settings.base_url", read_settings(adapter, settings).base_url)
        elif adapter is not None or settings:
            raise ConnectionInvalidError("only `data` takes an `adapter` and `settings`")
        else:
            # A later release may name others: what was entered for these is not theirs.
            settings = {"hosts": list(declared.hosts)}
        plain: Any = given.get("credentials")
        if plain is None:
            plain = {"kind": "none"} if row is None else dict(row.credentials)
        if not isinstance(plain, Mapping):
            raise ConnectionInvalidError("`credentials` is an object with a `kind`")
        credentials, fresh = split(_completed(declared, cast("Mapping[str, Any]", plain)))
        for what in ("authorization_url", "token_url", "revocation_url"):
            if url := getattr(credentials, what, ""):
                self._check_url(f"credentials.{what}", url)
        kept = await self._kept(row, adapter, settings, credentials, fresh)
        connection = Connected(
            row.id if row else new_id("conn"), tenant_id, target.id, target.slug, name, row.version if row else 0,
            credentials,
        )  # fmt: skip
        keeps_tokens = can_be_tried = False
        if not isinstance(credentials, AuthorizationCode):
            can_be_tried = True
        elif row is not None and _purpose(row.adapter, row.settings, read_credentials(row.credentials)) == _purpose(
            adapter, settings, credentials
        ):
            keeps_tokens = True
            can_be_tried = row.connected_at is not None and row.broken is None and not fresh
        return _Wanted(
            connection, adapter if declared is None else None, cast("Mapping[str, Any]", settings), {**kept, **fresh},
            keeps_tokens, can_be_tried,
        )  # fmt: skip

    async def _kept(
        self,
        row: ConnectionRow | None,
        adapter: str | None,
        settings: Any,
        credentials: Credentials,
        fresh: Stored,
    ) -> Stored:
        """Stored values of secret fields that are not given anew.

        Raises:
            CredentialsNeededError: Something is missing, or would go where it was not meant to go.
        """
        needed = [name for name in required_secrets(credentials) if name not in fresh]
        if not needed:
            return {}
        if row is None or row.kind != seen(credentials)["kind"]:
            raise CredentialsNeededError(needed)
        before = _servers(row.adapter, row.settings, read_credentials(row.credentials))
        if before != _servers(adapter, settings, credentials):
            # Otherwise whoever may change an address could have the secret sent to themselves.
            raise CredentialsNeededError(needed)
        stored = await self._keeper.secrets(connected(row))
        if missing := [name for name in needed if name not in stored]:
            raise CredentialsNeededError(missing)
        return {name: stored[name] for name in needed}

    def _check_url(self, what: str, url: str) -> None:
        """Credentials go out encrypted, or to where the operator has allowed it."""
        try:
            target = parse_url(url)
        except UrlRefusedError as error:
            raise ConnectionInvalidError(f"{what}: {error}"[:300]) from error
        if target.scheme != "https" and not self._allowed.names(target.host, target.port, target.address):
            raise ConnectionInvalidError(f"{what}: begins with `https://`")

    async def _tried(self, wanted: _Wanted) -> Report:
        connection, secrets = wanted.connection, wanted.secrets
        values = tuple(secrets.values())
        token = ""
        try:
            if isinstance(connection.credentials, ClientCredentials):
                tokens = await self._client.by_client(
                    connection.who, connection.credentials, secrets, self._clock.now().timestamp()
                )
                token = tokens.access
            elif isinstance(connection.credentials, AuthorizationCode):
                if not wanted.keeps_tokens:
                    # What its owner agreed to was something else; their tokens do not go there.
                    raise ConnectionNotReadyError(connection.name)
                token = await self._keeper.access(connection)
        except JackfieldError as error:
            return Report((finding_of(None, error, values),))
        if wanted.adapter is None:
            return Report((Finding(None, is_ok=True),))
        given = _Given(connection.credentials, secrets, token)
        adapter = self._maker.make(connection, wanted.adapter, wanted.settings, given)
        return await probe(adapter, connection.tenant_id, (*values, token))

    async def _tried_stored(self, row: ConnectionRow) -> Report:
        connection = connected(row)
        stored = await self._keeper.secrets(connection)
        if row.adapter is not None:
            adapter = self._maker.make(connection, row.adapter, row.settings)
            return await probe(adapter, row.tenant_id, tuple(stored.values()))
        try:
            if isinstance(connection.credentials, (ClientCredentials, AuthorizationCode)):
                await self._keeper.access(connection)
        except JackfieldError as error:
            return Report((finding_of(None, error, tuple(stored.values())),))
        return Report((Finding(None, is_ok=True),))

    async def _save(
        self, session: AsyncSession, wanted: _Wanted, was: ConnectionRow | None, actor: str, *, is_tested: bool
    ) -> None:
        connection, now = wanted.connection, self._clock.now()
        row = await find(session, connection.installation_id, connection.name)
        if (row.version if row else None) != (was.version if was else None):
            raise ConnectionChangedError(connection.name)
        before = None if row is None else _summary(row)
        if row is None:
            row = ConnectionRow(
                id=connection.id, tenant_id=connection.tenant_id, installation_id=connection.installation_id,
                slug=connection.slug, name=connection.name, version=0, created_at=now, connected_at=None,
            )  # fmt: skip
            session.add(row)
        connected_at = row.connected_at
        if not wanted.keeps_tokens:
            if before is not None:
                await detach(session, connection.installation_id, now, [connection.name])
            connected_at = None if isinstance(connection.credentials, AuthorizationCode) else now
        row.kind = seen(connection.credentials)["kind"]
        row.adapter, row.settings = wanted.adapter, dict(wanted.settings)
        row.credentials = seen(connection.credentials)
        row.broken = row.renewing_until = None
        row.version += 1
        row.changed_by, row.changed_at = actor, now
        row.connected_at = connected_at
        row.tested_at = now if is_tested else None
        await session.flush()
        values = {secret_name(connection.name): encoded(wanted.secrets) if wanted.secrets else None}
        await set_secrets(session, connection.tenant_id, connection.installation_id, connection.slug, values, by=actor)
        await changed(session, connection.installation_id, connection.id)
        action = "connection.connect" if before is None else "connection.change"
        target = f"{connection.slug}/{connection.name}"
        slug = target.partition("/")[0]
        records.audit(session, connection.tenant_id, actor, action, target, before, _summary(row), plugin=slug)

    def _seen(self, row: ConnectionRow | None, stored: Mapping[str, str], name: str, declared: Declared | None) -> Seen:
        if row is None:
            return Seen(name, "missing", declared)
        has_values = secret_name(name) in stored
        credentials = read_credentials(row.credentials)
        state = "ready"
        if row.broken is not None:
            state = "broken"
        elif required_secrets(credentials) and not has_values:
            state = "missing"
        elif isinstance(credentials, AuthorizationCode) and tokens_name(name) not in stored:
            state = "unauthorized"
        return Seen(
            name, state, declared, row.adapter, row.settings, row.credentials,
            dict.fromkeys(SECRET_FIELDS[row.kind], has_values), row.broken, row.connected_at, row.changed_at,
            row.changed_by, row.tested_at,
        )  # fmt: skip

    def _forget(self, installation_id: str, connection_id: str) -> None:
        self._adapters.forget(installation_id)
        self._keeper.forget(connection_id)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A connection as it is to be.

    Attributes:
        keeps_tokens: What its owner agreed to stays the same.
        can_be_tried: Its owner need not agree first.
    """

    connection: Connected
    adapter: str | None
    settings: Mapping[str, Any]
    secrets: Stored
    keeps_tokens: bool
    can_be_tried: bool


class _Given:
    """Credentials that are tried and not stored."""

    def __init__(self, credentials: Credentials, secrets: Stored, token: str) -> None:
        self._parts = credentials, secrets, token

    async def apply(self, request: OutboundRequest) -> OutboundRequest:
        """The request with credentials in it."""
        return authorized(request, *self._parts)

    async def renew(self, request: OutboundRequest) -> bool:
        """They are as good as they are."""
        return False


def _completed(declared: Declared | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials with what the manifest says of them; an admin cannot say otherwise."""
    if declared is None:
        return dict(given)
    kind = _KINDS.get(declared.kind, declared.kind)
    if given.get("kind", kind) not in (kind, "none"):
        raise ConnectionInvalidError(f"credentials.kind: this connection takes `{kind}`")
    fixed: dict[str, Any] = {"kind": kind}
    if kind.startswith("oauth2"):
        for what in ("authorization_url", "token_url", "revocation_url"):
            if url := getattr(declared, what):
                fixed[what] = url
        if declared.scopes:
            fixed["scopes"] = list(declared.scopes)
    for name, value in fixed.items():
        if name != "kind" and given.get(name, value) != value:
            raise ConnectionInvalidError(f"credentials.{name}: is the plugin's to say")
    return {**given, **fixed}


def _servers(adapter: str | None, settings: Any, credentials: Credentials) -> tuple[Any, ...]:
    """Where secret values go."""
    hosts: list[str] = [] if adapter is not None else settings.get("hosts", [])
    urls = [settings.get("base_url", "")] if adapter is not None else []
    urls += [getattr(credentials, what, "") for what in ("token_url", "revocation_url")]
    return (*(parse_url(url).origin if url else None for url in urls), *hosts)


def _purpose(adapter: str | None, settings: Any, credentials: Credentials) -> tuple[Any, ...] | None:
    """What a member agreed to, and where their tokens go: they are kept as long as it stays the same."""
    if not isinstance(credentials, AuthorizationCode):
        return None
    return (
        *_servers(adapter, settings, credentials),
        credentials.authorization_url, credentials.token_url, credentials.client_id, sorted(credentials.scopes),
        credentials.issuer,
    )  # fmt: skip


def _summary(row: ConnectionRow) -> dict[str, Any]:
    """A connection in the audit trail: nothing secret is in its row."""
    digest = hashlib.sha256(repr(sorted(row.settings.items())).encode()).hexdigest()[:16] if row.settings else None
    return {
        "kind": row.kind, "adapter": row.adapter, "base_url": (row.settings or {}).get("base_url"),
        "settings_digest": digest, "client_id": row.credentials.get("client_id"),
        "username": row.credentials.get("username"),
    }  # fmt: skip
