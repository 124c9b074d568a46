"""The gate: every capability call of every isolate comes through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from jackfield.capabilities.cache import Cache
from jackfield.capabilities.config import Config
from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.data import Data
from jackfield.capabilities.declared import Declarations
from jackfield.capabilities.dry_runs import check_dry_run
from jackfield.capabilities.errors import (
    ArgumentsInvalidError,
    UnknownCapabilityError,
    UnknownOperationError,
)
from jackfield.capabilities.events import Events
from jackfield.capabilities.files import Files
from jackfield.capabilities.functions import Functions, PluginCalls
from jackfield.capabilities.gateways import GatewayCalls, Gateways
from jackfield.capabilities.housekeeping import Housekeeping
from jackfield.capabilities.http import Http, RenewingSource, SecretGuard, SecretSource
from jackfield.capabilities.leaks import LeakBook
from jackfield.capabilities.members import Members
from jackfield.capabilities.migrating import Migration
from jackfield.capabilities.notify import Notify
from jackfield.capabilities.operations import Capability
from jackfield.capabilities.rights import AccessBook, GrantSource
from jackfield.capabilities.secret_handles import SecretHandles
from jackfield.capabilities.secret_uses import SecretUses
from jackfield.capabilities.secrets import Secrets, attach_vault
from jackfield.capabilities.storage import Storage
from jackfield.capabilities.tables import Tables
from jackfield.capabilities.usage import Meter, SpaceOf
from jackfield.capabilities.vault import Vault
from jackfield.capabilities.widget_marks import WidgetMarks
from jackfield.capabilities.work import STAGED, Work
from jackfield.clock import Clock, SystemClock
from jackfield.data_adapters import AdapterSource, DataAdapter, HostOnly
from jackfield.db import Database, unavailable
from jackfield.db.point_reads import PointReader
from jackfield.db.statements import charged
from jackfield.egress import Egress
from jackfield.jobs import Attempt
from jackfield.live import Hub
from jackfield.notifications import Notifications
from jackfield.quotas import Space

__all__ = ["Gate"]

STORAGE_BYTES = 64 * 1024 * 1024


class Gate:
    """Decodes, checks, does, answers.

    Args:
        vault: Becomes the database's: secrets are sealed with it from now on.
        adapter: Where the host's entities are.
        adapters: Where each installation's are; with the host's when absent.
        storage_bytes: What one installation may keep in storage and tables together, when nobody says what plans allow.
        space_of: What the installations of a tenant may keep.
        query_limit_s: How long one query over a plugin's tables may take.
        access: What members may do with the host's entities; everything when absent.
        egress: The way out; one of its own when absent.
        secret_sources: Know handles of more than secret fields.
        secret_guards: Know what else hosts may have been given.
        renewing_sources: Have fresh values in place of those that a host does not accept any more.
        plugin_calls: Carries calls from plugin to plugin; there are none when absent.
        notifications: Tells members; nobody does when absent.
        gateway_calls: Writes on channels; there are none when absent.
        live: Tells pages of widgets that have changed; nobody does when absent.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        adapter: DataAdapter,
        *,
        clock: Clock | None = None,
        storage_bytes: int = STORAGE_BYTES,
        space_of: SpaceOf | None = None,
        query_limit_s: float = 2.0,
        access: AccessBook | None = None,
        adapters: AdapterSource | None = None,
        egress: Egress | None = None,
        secret_sources: Sequence[SecretSource] = (),
        secret_guards: Sequence[SecretGuard] = (),
        renewing_sources: Sequence[RenewingSource] = (),
        plugin_calls: PluginCalls | None = None,
        notifications: Notifications | None = None,
        connections: Capability | None = None,
        gateway_calls: GatewayCalls | None = None,
        live: Hub | None = None,
    ) -> None:
        moments = clock or SystemClock()
        self._access = access
        self._database = database
        self._source: GrantSource | None = None
        fixed = Space(storage_bytes, None)
        reader, declarations = PointReader(database), Declarations()
        self._declarations = declarations
        meter = Meter(database, space_of or (lambda _tenant_id: fixed), declarations)
        self.envelope = attach_vault(database, vault, reader, moments)
        uses, self.leaks = SecretUses(database, moments), LeakBook(database, moments)
        self.secrets = Secrets(reader, self.envelope, uses)
        self.cache = Cache(moments.monotonic)
        storage, files = Storage(database, reader, meter, moments), Files(database, meter, moments)
        self.housekeeping = Housekeeping(storage, files, uses, self.leaks)
        handles = SecretHandles(vault, self.secrets)
        self._capabilities: dict[str, Capability] = {
            "storage": storage.operations,
            "cache": self.cache.operations,
            "files": files.operations,
            "migration": Migration(database, meter, declarations).operations,
            "tables": Tables(database, reader, meter, declarations, clock or SystemClock(), query_limit_s).operations,
            "data": Data(adapters or HostOnly(adapter), database, clock).operations,
            "secrets": {**self.secrets.operations, **handles.operations},
            "members": Members(database).operations,
            "http": Http(
                egress or Egress(), moments, (handles, *secret_sources), (handles, *secret_guards), renewing_sources
            ).operations,
            "config": Config().operations,
            "events": Events(database, declarations).operations,
        }
        if plugin_calls is not None:
            self._capabilities["functions"] = Functions(plugin_calls).operations
        if notifications is not None:
            self._capabilities["notify"] = Notify(notifications).operations
        if connections is not None:
            self._capabilities["connections"] = connections
        if gateway_calls is not None:
            self._capabilities["gateways"] = Gateways(gateway_calls).operations
        if live is not None:
            self._capabilities["widgets"] = WidgetMarks(live).operations

    @property
    def operations(self) -> Mapping[str, tuple[str, ...]]:
        """Names of all capabilities and what each can do."""
        return {name: tuple(operations) for name, operations in self._capabilities.items()}

    def forget(self, installation_id: str) -> None:
        """Drop what this node has in memory for an installation: it was changed, or is gone."""
        self.cache.entries.forget(installation_id)

    def follow(self, source: GrantSource) -> None:
        """From now on grants are those of the moment, and not those with which a call began."""
        self._source = source

    async def call(self, context: CapabilityContext, capability: str, operation: str, arguments: bytes) -> bytes:
        """Do one operation for one installation.

        Args:
            arguments: Msgpack, as the isolate sent it; anything may be in it.

        Returns:
            Msgpack of the answer.

        Raises:
            JackfieldError: It was refused or could not be done.
        """
        operations = self._capabilities.get(capability)
        if operations is None:
            raise UnknownCapabilityError(capability)
        counts = context.tally.capabilities
        counts[capability] = counts.get(capability, 0) + 1
        found = operations.get(operation)
        if found is None:
            raise UnknownOperationError(capability, operation)
        try:
            decoded = found.decode(arguments)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            raise ArgumentsInvalidError(f"{capability}.{operation}: {error}"[:300]) from error
        if context.is_dry_run:
            check_dry_run(context, capability, operation, decoded)
        rights = context.rights
        if rights.access is not self._access:
            rights.access = self._access
        if self._source is not None and not context.is_settled:
            held = self._source.peek(context.tenant_id, context.installation_id)
            if held is None or held is not rights.held or context.chain:
                await self._refresh(context, self._source)
        work = context.work
        if (needed := found.needs(decoded)) is not None:
            rights.require(needed)
        payer = charged.set(context.tally)
        try:
            if work is not None and capability in STAGED:
                return await work.run(context, capability, operation, found, decoded, len(arguments))
            if work is not None:
                work.attempt.reaches_out = True
            return await found.run(context, decoded)
        except SQLAlchemyError as error:
            raise unavailable(error, "the database could not do this") from error
        finally:
            charged.reset(payer)

    def work(self, attempt: Attempt) -> Work:
        """Where the writes of a delivery's handler wait for its end."""
        attempt.reaches_out = False  # from here on all that it does is seen
        return Work(self._database, self._declarations, attempt)

    async def settle(self, context: CapabilityContext, work: Work, duration_ms: float) -> None:
        """Commit what a handler wrote, with the end of its delivery; what it may not do any more is refused.

        Raises:
            JackfieldError: Nothing of it was written.
        """
        if self._source is not None and not context.is_settled:
            await self._refresh(context, self._source)
        for needed in sorted(work.needs):
            context.rights.require(needed)
        payer = charged.set(context.tally)
        try:
            await work.commit(context, duration_ms)
        except SQLAlchemyError as error:
            raise unavailable(error, "the database could not do this") from error
        finally:
            charged.reset(payer)

    async def _refresh(self, context: CapabilityContext, source: GrantSource) -> None:
        """Have the rights of a call, and of those that led to it, follow what is granted now."""
        for each in (context, *context.chain):
            if each.is_settled:
                continue
            held = source.peek(each.tenant_id, each.installation_id)
            if held is None:
                try:
                    held = await source.get(each.tenant_id, each.installation_id)
                except SQLAlchemyError as error:
                    raise unavailable(error, "the database could not say what is granted") from error
            if held is not each.rights.held:
                each.rights.follow(held)
