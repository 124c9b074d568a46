"""All parts of connections, put together for one node."""

from __future__ import annotations

import asyncio

from jackfield.capabilities import Vault
from jackfield.capabilities.envelope import Envelope
from jackfield.clock import Clock
from jackfield.connections.adapters import AdapterMaker, ConnectionAdapters
from jackfield.connections.authorizing import Authorizations
from jackfield.connections.handles import ConnectionHandles
from jackfield.connections.interfaces import InstallationSource
from jackfield.connections.oauth2 import TokenClient
from jackfield.connections.revoking import Revocations
from jackfield.connections.service import Connections
from jackfield.connections.tokens import TokenKeeper
from jackfield.data_adapters import DataAdapter
from jackfield.db import Database
from jackfield.db.point_reads import PointReader
from jackfield.egress import Egress
from jackfield.settings import EgressSettings

__all__ = ["House"]

_EVERY_S = 15.0


class House:
    """One per node.

    Args:
        host: Where entities are that have no connection.
        vault: The operator's keys.
        public_url: Under which browsers reach the platform.

    Attributes:
        adapters: For `ctx.data`.
        handles: For `ctx.connections` and `ctx.http`.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        egress: Egress,
        host: DataAdapter,
        installations: InstallationSource,
        settings: EgressSettings,
        public_url: str,
        clock: Clock,
    ) -> None:
        envelope, client = Envelope(vault, PointReader(database), clock), TokenClient(egress)
        self.keeper = TokenKeeper(database, envelope, client, clock)
        maker = AdapterMaker(egress, self.keeper)
        self.adapters = ConnectionAdapters(host, database, maker, clock)
        self.handles = ConnectionHandles(database, vault, self.keeper)
        self.connections = Connections(
            database, self.keeper, client, maker, self.adapters, installations, settings, clock
        )  # fmt: skip
        self.authorizations = Authorizations(
            database, envelope, self.keeper, client, self.adapters, installations, public_url, clock
        )
        self.revocations = Revocations(database, envelope, client, clock)

    def forget(self, installation_id: str) -> None:
        """It was changed, or is gone."""
        self.adapters.forget(installation_id)

    def hear(self, subject: str) -> None:
        """Another node says that a connection was changed."""
        installation_id, _, connection_id = subject.partition(" ")
        self.adapters.forget(installation_id)
        self.keeper.forget(connection_id)

    def forget_all(self) -> None:
        """Whatever is kept of connections is read anew."""
        self.adapters.forget_all()
        self.keeper.forget_all()

    async def run(self) -> None:
        """Revoke tokens of connections that are gone, and sweep authorizations that nobody came back for."""
        while True:
            while await self.revocations.work():
                pass
            await self.authorizations.sweep()
            await asyncio.sleep(_EVERY_S)
