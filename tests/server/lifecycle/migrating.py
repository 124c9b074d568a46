"""Releases of the plugin `points` whose tables differ, the migrations between them, and calls through a real gate."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import jackfield_sdk as jf
from jackfield.capabilities import CapabilityContext, Gate, Vault
from jackfield.capabilities.vault import parse_keys
from jackfield.data_adapters import SqlAdapter
from jackfield.db import Database
from jackfield.invocation import ActiveInstallation, Invocation
from jackfield.lifecycle import Installed, Lifecycle
from tests.server.capabilities.installations import Installed as Isolate
from tests.server.lifecycle.conftest import KEY, SURFACE, House

__all__ = ["gate_of", "gated", "handlers", "isolate_of", "migrating", "with_ledger"]

_gates: WeakKeyDictionary[Database, Gate] = WeakKeyDictionary()


def with_ledger(plugin: jf.Plugin) -> jf.Plugin:
    """With the table `ledger`, as releases before 2.0 have it."""

    @plugin.table("ledger", indexes=[["customer"]])
    class Ledger:
        customer: str
        points: int = 0

    return plugin


def migrating(version: str = "2.0.0-rc.1", *, downs: bool = True, **head: Any) -> jf.Plugin:
    """The release in which `points` is called `amount`, and each row has a count; with two migrations."""
    plugin = jf.Plugin("points", version=version, **head)

    @plugin.table("ledger", indexes=[["customer", "amount"]], unique=[["serial"]])
    class Ledger:
        customer: str
        amount: int = 0
        serial: int | None = None

    @plugin.migration(to="2.0.0")
    def rename(ctx: jf.Context) -> None: ...

    @plugin.migration(to="2.0.0")
    def keep_count(ctx: jf.Context) -> None: ...

    if downs:

        @rename.down
        def rename_back(ctx: jf.Context) -> None: ...

        @keep_count.down
        def forget_count(ctx: jf.Context) -> None: ...

    return plugin


def gate_of(database: Database) -> Gate:
    """The gate of a database; one for all who ask, since it is an expensive thing."""
    found = _gates.get(database)
    if found is None:
        found = _gates[database] = Gate(database, Vault(parse_keys(KEY)), SqlAdapter(database, SURFACE))
    return found


def gated(lifecycle: Lifecycle, seen: Installed) -> Isolate:
    """What an isolate of the installation as it is now can do."""
    context = CapabilityContext(seen.tenant_id, seen.id, seen.slug, seen.manifest, frozenset(seen.grants))
    return Isolate(gate_of(lifecycle._database), context)


def isolate_of(house: House, installation: ActiveInstallation) -> Isolate:
    """What an isolate of an invocation can do."""
    context = CapabilityContext(
        installation.tenant_id, installation.id, installation.slug, installation.manifest, installation.grants,
        staging=installation.staging,
    )  # fmt: skip
    return Isolate(gate_of(house.database), context)


Handler = Callable[[Invocation], Awaitable[None]]


def handlers(house: House) -> dict[str, Handler]:
    """What the migrations do, for the house's runner."""
    return {
        # Twice in a row it would lose everything: there is no `points` any more.
        "migrate rename": _each(house, lambda row, _: {"set": {"amount": row["points"]}, "drop": ["points"]}),
        "migrate keep_count": _each(house, lambda _, number: {"set": {"serial": number}}),
        "down rename": _each(house, lambda row, _: {"set": {"points": row["amount"]}, "drop": ["amount"]}),
        "down keep_count": _each(house, lambda *_: {"set": {}, "drop": ["serial"]}),
    }


def _each(house: House, change: Callable[[dict[str, Any], int], dict[str, Any]]) -> Handler:
    async def run(invocation: Invocation) -> None:
        plugin = isolate_of(house, invocation.installation)
        after, number = "", itertools.count()
        while after is not None:
            page = await plugin.call("migration", "rows", table="ledger", after=after, limit=200)
            rows = [{"id": row["id"], **change(row, next(number))} for row in page["rows"]]
            await plugin.call("migration", "put", table="ledger", rows=rows)
            after = page["after"]

    return run
