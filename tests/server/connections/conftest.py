"""Connections over a real database, with servers on loopback; installations are what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from sqlalchemy import select

import jackfield_sdk as jf
from jackfield import connections
from jackfield.capabilities import CapabilityContext, Vault
from jackfield.capabilities.secrets import attach_vault
from jackfield.capabilities.vault import parse_keys
from jackfield.data_adapters import SqlAdapter
from jackfield.db import Database
from jackfield.egress import Egress
from jackfield.errors import MissingError
from jackfield.http import Caller
from jackfield.records import AuditEntry
from jackfield.settings import EgressSettings
from jackfield.surface import Surface
from jackfield_sdk.manifest import Manifest
from tests.server.conftest import KnownCallers, ManualClock, application, client
from tests.servers.oauth2 import OAuth2Server
from tests.servers.rest import Api
from tests.servers.serving import serving

KEY = "k1:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="
ADMIN = "member:mem_1"
EGRESS = EgressSettings(allowed=("127.0.0.1",), requests_per_minute=1_000_000)
CALLERS = {
    "admin": Caller("admin", "t", "mem_1"), "owner": Caller("owner", "t", "mem_2"),
    "member": Caller("member", "t", "mem_3"), "other": Caller("admin", "u", "mem_9"),
}  # fmt: skip


def plugin(**changes: Any) -> jf.Plugin:
    made = jf.Plugin("crm", version="1.0.0", permissions=["people:read", "people:write"], **changes)
    made.connection("calendar", "oauth2", hosts=["127.0.0.1:1"])
    made.connection("mail", "basic", hosts=["127.0.0.1:1"])
    return made


@dataclass
class House:
    """Everything, for tenants `t` and `u`, each of which has the plugin `crm`."""

    database: Database
    vault: Vault
    egress: Egress
    clock: ManualClock
    manifest: Manifest = field(default_factory=lambda: plugin().manifest())
    node: connections.House = field(init=False)

    def __post_init__(self) -> None:
        attach_vault(self.database, self.vault)
        self.node = self.start()

    def start(self) -> connections.House:
        """A node: nothing of another one is in its memory."""
        host = SqlAdapter(self.database, Surface())
        return connections.House(
            self.database, self.vault, self.egress, host, self.find, EGRESS, "http://jackfield.test", self.clock
        )

    async def find(self, tenant_id: str, slug: str, instance: str) -> connections.Target:
        if slug != "crm" or instance != "default" or tenant_id not in ("t", "u"):
            raise MissingError("not installed")
        return connections.Target(f"inst_{tenant_id}", "crm", self.manifest)

    def context(self, tenant_id: str = "t", *grants: str) -> CapabilityContext:
        held = frozenset(grants or self.manifest.permissions)
        return CapabilityContext(tenant_id, f"inst_{tenant_id}", "crm", self.manifest, held)

    def client(self, token: str | None = "admin") -> httpx.AsyncClient:
        node = self.node
        app = application(KnownCallers(CALLERS), connections.router(node.connections, node.authorizations))
        return client(app, token)

    async def audit(self, tenant_id: str = "t") -> list[str]:
        async with self.database.read(tenant_id) as session:
            return list(await session.scalars(select(AuditEntry.action).order_by(AuditEntry.at)))


@pytest.fixture
async def house(either_database: Database, clock: ManualClock) -> AsyncIterator[House]:
    egress = Egress(EGRESS)
    yield House(either_database, Vault(parse_keys(KEY)), egress, clock)
    await egress.close()


@pytest.fixture
def oauth2() -> Iterator[tuple[str, OAuth2Server]]:
    server = OAuth2Server()
    with serving(server.app) as url:
        yield url, server


@pytest.fixture
def api() -> Iterator[tuple[str, Api]]:
    server = Api(page_rows=50)
    with serving(server.app) as url:
        yield url, server


def people(url: str, **changes: Any) -> dict[str, Any]:
    """Settings of the REST adapter for `tests.servers.rest`."""
    one = {"path": "/people/{id}", "row": "data"}
    return {
        "base_url": f"{url}/v1",
        "tenant": {"header": "X-Org"},
        "entities": {
            "people": {
                "fields": {
                    "id": {"at": "ident", "type": "integer"},
                    "name": {"at": "attributes.name", "writable": True, "nullable": False},
                },
                "list": {"path": "/people", "rows": "data", "natural": ["id"]},
                "get": one, "create": {"path": "/people", "row": "data", "wrap": "data"},
                "update": {**one, "wrap": "data"}, "delete": {"path": one["path"]},
            }
        },
        **changes,
    }  # fmt: skip
