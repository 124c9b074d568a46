"""Nothing passes the gate that is not known, well formed and granted."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

import jackfield_sdk.capabilities as author_side
from jackfield.capabilities import Gate
from jackfield.capabilities.errors import (
    ArgumentsInvalidError,
    PermissionDeniedError,
    UnknownCapabilityError,
    UnknownOperationError,
)
from jackfield.db import Database
from jackfield.db.point_reads import DatabaseUnavailableError
from jackfield.errors import JackfieldError
from jackfield_sdk.capabilities import Data, Events, Storage, Tables
from tests.server.capabilities.installations import Installed

encode = msgspec.msgpack.encode


class RecordingHost:
    """Notes what the author's side of a capability asks for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def call(self, capability: str, operation: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((capability, operation, arguments))
        return {"found": False, "value": None}

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None: ...


async def refused(plugin: Installed, capability: str, operation: str, arguments: dict[str, Any]) -> str | None:
    """The code with which a call is refused, or None."""
    try:
        await plugin.call(capability, operation, **arguments)
    except JackfieldError as error:
        return error.code
    return None


async def test_what_the_sdk_sends_is_what_the_gate_takes(plugin: Installed) -> None:
    host = RecordingHost()
    storage, table, data, events = Storage(host), Tables(host)["ledger"], Data(host), Events(host)
    storage.get("k"), storage.set("k", 1), storage.delete("k"), storage.keys("p", after="pq")
    table.insert(customer="c"), table.get("x"), table.find({"points": 1}, order="-points"), table.count()
    table.delete("x"), table.update("x", points=2)
    data.entities(), data["customers"].get("1"), data["customers"].list([("name", "like", "A%")], order=["name"])
    data["customers"].count(), data["customers"].create(name="A"), data["customers"].update("77", name="B")
    data["customers"].delete("78"), events.emit("loyalty.awarded", {"points": 1})
    assert len(host.calls) == 18
    for capability, operation, arguments in host.calls:
        refusal = await refused(plugin, capability, operation, arguments)
        assert refusal in (None, "row-not-found", "entity-not-found"), (capability, operation)


OPTIONAL = {"connections", "functions", "gateways", "notify", "widgets"}
"""Capabilities that a gate has only with what carries them out."""


async def test_the_gate_knows_all_that_the_sdk_calls_and_nothing_that_it_does_not(gate: Gate) -> None:
    folder = Path(author_side.__file__).parent
    sources = [*folder.glob("*.py"), folder.parent / "context.py", folder.parent / "guest.py"]
    called, texts = set[tuple[str, str]](), ""
    for text in (source.read_text(encoding="utf-8") for source in sources):
        texts += text
        called |= set(re.findall(r'\.call\(\s*"(\w+)",\s*"(\w+)"', text))
        if own := re.search(r'\.call\(\s*"(\w+)",\s*operation', text):
            called |= {(own[1], name) for name in re.findall(r'\b_call\(\s*"(\w+)"', text)}
    assert len(called) > 50
    known = {(name, operation) for name, operations in gate.operations.items() for operation in operations}
    assert {pair for pair in called if pair[0] not in OPTIONAL} <= known
    silent = {pair for pair in known - called if f'"{pair[1]}"' not in texts}
    assert silent <= {("config", "get")}, "an isolate has its configuration; nothing else is there in vain"


async def test_unknown_names_are_refused(plugin: Installed) -> None:
    with pytest.raises(UnknownCapabilityError):
        await plugin.call("shell", "run")
    with pytest.raises(UnknownOperationError):
        await plugin.call("storage", "__init__")


@pytest.mark.parametrize(
    ("needed", "capability", "operation", "arguments"),
    [
        ("storage", "storage", "get", {"key": "k"}),
        ("storage", "storage", "set", {"key": "k", "value": 1}),
        ("storage", "storage", "delete", {"key": "k"}),
        ("storage", "storage", "keys", {}),
        ("tables", "tables", "insert", {"table": "ledger", "row": {"customer": "c"}}),
        ("tables", "tables", "get", {"table": "ledger", "id": "x"}),
        ("tables", "tables", "find", {"table": "ledger"}),
        ("tables", "tables", "count", {"table": "ledger"}),
        ("tables", "tables", "update", {"table": "ledger", "id": "x", "changes": {}}),
        ("tables", "tables", "delete", {"table": "ledger", "id": "x"}),
        ("customers:read", "data", "get", {"entity": "customers", "id": "1"}),
        ("customers:read", "data", "list", {"entity": "customers"}),
        ("customers:read", "data", "count", {"entity": "customers"}),
        ("customers:read", "data", "page", {"entity": "customers"}),
        ("customers:read", "data", "aggregate", {"entity": "customers", "measures": {"n": ("count", None)}}),
        ("customers:write", "data", "create_many", {"entity": "customers", "rows": []}),
        ("customers:write", "data", "update_many", {"entity": "customers", "changes": []}),
        ("customers:write", "data", "create", {"entity": "customers", "values": {"name": "A"}}),
        ("customers:write", "data", "update", {"entity": "customers", "id": "1", "changes": {}}),
        ("customers:write", "data", "delete", {"entity": "customers", "id": "1"}),
        ("secrets:api_key", "secrets", "reveal", {"name": "api_key"}),
        ("events:loyalty.awarded", "events", "emit", {"name": "loyalty.awarded", "payload": {"points": 1}}),
    ],
)
async def test_each_operation_takes_its_own_permission_and_no_other_does(
    plugin: Installed, needed: str, capability: str, operation: str, arguments: dict[str, Any]
) -> None:
    others = {
        "storage", "tables", "log", "customers:read", "customers:write", "visits:read", "visits:write",
        "events:loyalty.other", "events:loyaltyx.*", "secrets:other", "http:*", "*", "*:read", "customers",
    } - {needed}  # fmt: skip
    with pytest.raises(PermissionDeniedError) as denied:
        await plugin.holding(others).call(capability, operation, **arguments)
    assert denied.value.code == "permission-denied"
    assert denied.value.data == {"permission": needed}
    refusal = await refused(plugin.holding({needed}), capability, operation, arguments)
    assert refusal in (None, "row-not-found", "entity-not-found", "secret-not-set")


async def test_a_withdrawn_grant_holds_from_the_next_call_on(plugin: Installed) -> None:
    await plugin.call("storage", "set", key="k", value=1)
    with pytest.raises(PermissionDeniedError):
        await plugin.holding(plugin.context.grants - {"storage"}).call("storage", "get", key="k")


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


HOSTILE = {
    "nothing": b"",
    "not a map": encode([1, 2]),
    "cut short": encode({"key": "k", "value": "long enough"})[:-3],
    "trailing bytes": encode({"key": "k", "value": 1}) + b"\xc0",
    "an unknown field": encode({"key": "k", "value": 1, "tenant_id": "other"}),
    "a missing field": encode({"value": 1}),
    "a key of another type": encode({"key": 5, "value": 1}),
    "an empty key": encode({"key": "", "value": 1}),
    "a key with NUL": encode({"key": "a\0b", "value": 1}),
    "a key with an escape": encode({"key": "a\x1b[2J", "value": 1}),
    "a key that ends in a newline": encode({"key": "a\n", "value": 1}),
    "a long key": encode({"key": "k" * 257, "value": 1}),
    "a key that is no UTF-8": b"\x82\xa3key\xa2\xff\xfe\xa5value\x01",
    "a value that is no UTF-8": b"\x82\xa3key\xa1k\xa5value\xa2\xff\xfe",
    "a surrogate": b"\x82\xa3key\xa1k\xa5value\xa3\xed\xa0\x80",
    "bytes": encode({"key": "k", "value": b"raw"}),
    "an extension type": encode({"key": "k", "value": msgspec.msgpack.Ext(5, b"x")}),
    "a time": b"\x82\xa3key\xa1k\xa5value\xd6\xff\x00\x00\x00\x00",
    "NaN": encode({"key": "k", "value": math.nan}),
    "infinity": encode({"key": "k", "value": [{"a": -math.inf}]}),
    "a 32-bit NaN": b"\x82\xa3key\xa1k\xa5value\xca" + struct.pack(">f", math.nan),
    "an integer over 64 signed bits": encode({"key": "k", "value": 2**63}),
    "a key in the value that is no text": encode({"key": "k", "value": {1: 2}}),
    "deep nesting": b"\x82\xa3key\xa1k\xa5value" + nested(33),
    "nesting that ends the decoder": b"\x82\xa3key\xa1k\xa5value" + nested(100_000),
    "too many values": encode({"key": "k", "value": [0] * 60_000}),
    "a list that promises more than it has": b"\x82\xa3key\xa1k\xa5value\xdd\xff\xff\xff\xff",
    "too many bytes": encode({"key": "k", "value": "x" * (256 * 1024)}),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_arguments_are_refused(plugin: Installed, name: str) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await plugin.send("storage", "set", HOSTILE[name])
    assert await plugin.call("storage", "keys") == []


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("keys", {"limit": 0}),
        ("keys", {"limit": 1001}),
        ("keys", {"limit": 2**64 - 1}),
        ("keys", {"limit": 1.5}),
        ("keys", {"limit": True}),
        ("keys", {"prefix": "\0"}),
        ("get", {"key": None}),
    ],
)
async def test_numbers_out_of_range_are_refused(plugin: Installed, operation: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("storage", operation, **arguments)


async def test_a_broken_database_is_told_without_its_details(plugin: Installed, database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE jf_storage")
    for operation, arguments in (("get", {"key": "k"}), ("set", {"key": "k", "value": 1}), ("keys", {})):
        with pytest.raises(DatabaseUnavailableError) as failed:
            await plugin.call("storage", operation, **arguments)
        assert "jf_storage" not in str(failed.value)
