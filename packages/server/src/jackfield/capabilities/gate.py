"""The gate: every capability call of every isolate comes through here."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from jackfield.capabilities.config import Config
from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.data import Data
from jackfield.capabilities.declared import Declarations
from jackfield.capabilities.errors import (
    ArgumentsInvalidError,
    PermissionDeniedError,
    UnknownCapabilityError,
    UnknownOperationError,
)
from jackfield.capabilities.events import Events
from jackfield.capabilities.operations import Capability
from jackfield.capabilities.permissions import covers
from jackfield.capabilities.secrets import Secrets, attach_vault
from jackfield.capabilities.storage import Storage
from jackfield.capabilities.tables import Tables
from jackfield.capabilities.usage import Meter, SpaceOf
from jackfield.capabilities.vault import Vault
from jackfield.clock import Clock, SystemClock
from jackfield.data_adapters import DataAdapter
from jackfield.db import Database
from jackfield.db.point_reads import DatabaseUnavailableError, PointReader
from jackfield.db.statements import charged
from jackfield.quotas import Space

__all__ = ["Gate"]

STORAGE_BYTES = 64 * 1024 * 1024


class Gate:
    """Decodes, checks, does, answers.

    Args:
        vault: Becomes the database's: `set_secrets` encrypts with it from now on.
        adapter: Where the host's entities are.
        storage_bytes: What one installation may keep in storage and tables together, when nobody says what plans allow.
        space_of: What the installations of a tenant may keep.
        query_limit_s: How long one query over a plugin's tables may take.
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
    ) -> None:
        attach_vault(database, vault)
        fixed = Space(storage_bytes, None)
        meter = Meter(database, space_of or (lambda _tenant_id: fixed))
        reader, declarations = PointReader(database), Declarations()
        self._capabilities: dict[str, Capability] = {
            "storage": Storage(database, reader, meter).operations,
            "tables": Tables(database, reader, meter, declarations, clock or SystemClock(), query_limit_s).operations,
            "data": Data(adapter).operations,
            "secrets": Secrets(reader, vault).operations,
            "config": Config().operations,
            "events": Events(database, declarations).operations,
        }

    @property
    def operations(self) -> Mapping[str, tuple[str, ...]]:
        """Names of all capabilities and what each can do."""
        return {name: tuple(operations) for name, operations in self._capabilities.items()}

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
        needed = found.needs(decoded)
        if needed is not None and needed not in context.grants and not covers(context.grants, needed):
            raise PermissionDeniedError(needed)
        payer = charged.set(context.tally)
        try:
            return await found.run(context, decoded)
        except SQLAlchemyError as error:
            raise DatabaseUnavailableError("the database could not do this") from error
        finally:
            charged.reset(payer)
