"""Installations that call the gate as an isolate would: msgpack in, msgpack out. And the host that they are in."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Column, Integer, MetaData, String, Table

from jackfield.capabilities import CapabilityContext, Gate, Vault, asked
from jackfield.capabilities.vault import parse_keys
from jackfield.data_adapters import SqlAdapter
from jackfield.db import Database
from jackfield.surface import Entity, Surface
from jackfield_sdk.manifest import Manifest, parse_manifest

KEYS = "k1:" + base64.b64encode(bytes(range(32))).decode()

host = MetaData()
customers = Table(
    "shop_customers",
    host,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("name", String(40), nullable=False),
    Column("email", String(80)),
    Column("notes", String(200), default="private"),
)
SURFACE = Surface(
    entities=[
        Entity("customers", customers, readable=("id", "name", "email"), writable=("name", "email")),
        Entity("visits", customers, readable=("id", "name")),
    ]
)


def manifest(**parts: Any) -> Manifest:
    """A manifest with what most tests need, and `parts` over it."""
    base: dict[str, Any] = {
        "slug": "loyalty",
        "version": "1.0.0",
        "name": "Loyalty",
        "tables": [
            {
                "name": "ledger",
                "columns": {
                    "customer": {"type": "string"},
                    "points": {"type": "integer", "default": 0},
                    "note": {"type": ["string", "null"], "maxLength": 20},
                    "extra": {},
                },
                "required": ["customer"],
            },
            {
                "name": "cards",
                "columns": {"number": {"type": ["string", "null"]}, "shop": {"type": ["string", "number"]}},
                "unique": [["number", "shop"]],
            },
        ],
        "emits": {
            "loyalty.awarded": {
                "type": "object",
                "properties": {"points": {"type": "integer"}},
                "required": ["points"],
            }
        },
        "config": {
            "schema": {"type": "object", "properties": {"rate": {"type": "number"}, "api_key": {"type": "string"}}},
            "secrets": ["api_key"],
        },
    }
    return parse_manifest({**base, **parts})


@dataclass
class Installed:
    """One installation, as its isolate sees the gate."""

    gate: Gate
    context: CapabilityContext

    async def call(self, capability: str, operation: str, **arguments: Any) -> Any:
        return await self.send(capability, operation, msgspec.msgpack.encode(arguments))

    async def send(self, capability: str, operation: str, arguments: bytes) -> Any:
        return msgspec.msgpack.decode(await self.gate.call(self.context, capability, operation, arguments))

    def holding(self, grants: Iterable[str]) -> Installed:
        """The same installation with other grants."""
        return Installed(self.gate, dataclasses.replace(self.context, grants=frozenset(grants)))


def installed(
    gate: Gate,
    tenant: str = "acme",
    installation: str = "inst_a",
    *,
    grants: Iterable[str] | None = None,
    release: Manifest | None = None,
    config: dict[str, Any] | None = None,
) -> Installed:
    """An installation with everything that comes by itself, and access to customers, unless told otherwise."""
    release = release or manifest()
    given = frozenset([*asked(release).implied, "customers:read", "customers:write"] if grants is None else grants)
    context = CapabilityContext(tenant, installation, release.slug, release, given, config=config or {})
    return Installed(gate, context)


def make_gate(database: Database, **options: Any) -> Gate:
    return Gate(database, Vault(parse_keys(KEYS)), SqlAdapter(database, SURFACE), **options)
