"""A platform around the life cycle: real database, capabilities and records, releases of plugins written here, and a
runner that answers for the isolates.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, create_engine, select

import jackfield_sdk as jf
from jackfield.capabilities import Vault
from jackfield.capabilities.models import SecretValue, StorageItem, TableRow, UniqueEntry, UsageRow
from jackfield.capabilities.secrets import attach_vault
from jackfield.capabilities.vault import parse_keys
from jackfield.clock import SystemClock
from jackfield.db import Base, Database
from jackfield.db.migrate import load_models
from jackfield.errors import MissingError
from jackfield.ids import new_id
from jackfield.invocation import Invocation, Outcome
from jackfield.lifecycle import ActiveInstallations, Actor, Lifecycle, Snapshots
from jackfield.lifecycle.models import InstallationRow, LockRow, OperationRow, StepRow
from jackfield.records import AuditEntry
from jackfield.registry import Release
from jackfield.surface import Access, Entity, Event, FilterHook, Slot, Surface
from jackfield_sdk import wire
from jackfield_sdk.guest import failure_of

TENANT = "acme"
KEY = "k1:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="
OWNER = Actor("mem_1", "owner", "member:mem_1")

_CUSTOMERS = Table(
    "customers", MetaData(), Column("id", String, primary_key=True), Column("tenant_id", String), Column("name", String)
)

SURFACE = Surface(
    filters=[FilterHook("booking.beforeCreate")],
    events=[Event("sale.created")],
    slots=[Slot("POS.AfterCheckout")],
    entities=[
        Entity("customers", _CUSTOMERS, readable=("id", "name"), writable=("name",)),
        Entity(
            "invoices",
            _CUSTOMERS,
            readable=("id", "name"),
            writable=("name",),
            access={"admin": Access(read=[["name", "eq", "$user.id"]], write=False), "member": Access(False, False)},
        ),
    ],
)

Handler = Callable[[Invocation], Awaitable[Any]]


class Catalogue:
    """Releases, as a registry would have them."""

    def __init__(self) -> None:
        self.by_slug: dict[str, list[Release]] = {}

    def add(self, plugin: jf.Plugin, *, state: str = "published") -> Release:
        manifest = plugin.manifest()
        release = Release(
            slug=manifest.slug, version=manifest.version, digest=hashlib.sha256(manifest.encode()).hexdigest(),
            manifest=manifest, image_path=Path("/nowhere/image"), package_path=Path("/nowhere/package"),
            publisher_id="pub_1", published_at=datetime(2026, 1, 1, tzinfo=UTC), state=state,
        )  # fmt: skip
        self.by_slug.setdefault(manifest.slug, []).append(release)
        return release

    async def release(self, slug: str, version: str | None = None) -> Release:
        found = await self.releases(slug)
        if version is None:
            return [release for release in found if "-" not in release.version][-1]
        for release in found:
            if release.version == version:
                return release
        raise MissingError(f"no {slug} {version}")

    async def releases(self, slug: str) -> list[Release]:
        if slug not in self.by_slug:
            raise MissingError(f"no {slug}")
        return self.by_slug[slug]


@dataclass
class Runner:
    """Answers calls with what the test says; keeps what was called.

    Attributes:
        handlers: Hook or `slug.hook` → what it does; one that is not here does nothing.
    """

    handlers: dict[str, Handler] = field(default_factory=dict)
    calls: list[Invocation] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [f"{call.installation.slug}.{call.name}" for call in self.calls]

    async def run(self, invocation: Invocation) -> Outcome:
        self.calls.append(invocation)
        slug, name = invocation.installation.slug, invocation.name
        handler = self.handlers.get(f"{slug}.{name}") or self.handlers.get(name)
        try:
            value = await handler(invocation) if handler else None
        except Exception as error:
            failure = failure_of(error)
            return Outcome(new_id("inv"), "user-error" if failure.kind == "user" else "error", None, failure)
        return Outcome(new_id("inv"), "ok", value)

    async def retire(self, installation_id: str) -> None:
        self.retired.append(installation_id)


@dataclass
class House:
    """The whole, with questions that tests ask often."""

    database: Database
    data_dir: Path
    vault: Vault
    catalogue: Catalogue = field(default_factory=Catalogue)
    runner: Runner = field(default_factory=Runner)
    lifecycle: Lifecycle = field(init=False)
    active: ActiveInstallations = field(init=False)

    def __post_init__(self) -> None:
        self.envelope = attach_vault(self.database, self.vault)
        self.lifecycle = self.start()

    def start(self) -> Lifecycle:
        """A node starts: nothing of an earlier one is in memory, and those are known to be gone."""
        here = new_id("node")
        snapshots = Snapshots(self.database, self.catalogue)
        self.active = ActiveInstallations(snapshots)
        self.lifecycle = Lifecycle(
            database=self.database, catalogue=self.catalogue, runner=self.runner, surface=SURFACE, snapshots=snapshots,
            active=self.active, clock=SystemClock(), data_dir=self.data_dir, flush_records=nothing,
            node_id=here, is_gone=lambda owner: owner != here,
        )  # fmt: skip
        return self.lifecycle

    def fails(self, hook: str, message: str = "no licence") -> None:
        """From now on this hook raises."""

        async def fail(_invocation: Invocation) -> None:
            raise jf.UserError(message, code="refused-by-plugin")

        self.runner.handlers[hook] = fail

    async def rows(self, model: Any, tenant_id: str | None = None) -> list[Any]:
        async with self.database.read(tenant_id) as session:
            return list(await session.scalars(select(model)))

    async def state(self, slug: str = "points") -> str:
        found = [row.state for row in await self.rows(InstallationRow) if row.slug == slug]
        return found[0] if found else "gone"

    async def residue(self) -> dict[str, int]:
        """What there is of any installation, by table."""
        models = (InstallationRow, StorageItem, TableRow, UniqueEntry, SecretValue, UsageRow, LockRow)
        counts = {model.__tablename__: len(await self.rows(model)) for model in models}
        return {name: count for name, count in counts.items() if count}

    async def operations(self) -> list[tuple[str, str]]:
        rows = sorted(await self.rows(OperationRow), key=lambda row: row.id)
        return [(row.kind, row.state) for row in rows]

    async def steps(self) -> list[tuple[str, str]]:
        rows = sorted(await self.rows(StepRow), key=lambda row: (row.operation_id, row.position))
        return [(row.name, row.state) for row in rows]

    async def audit(self) -> list[AuditEntry]:
        return sorted(await self.rows(AuditEntry), key=lambda row: row.id)

    async def secret(self, installation_id: str, name: str = "api_key", slug: str = "points") -> str | None:
        """The stored value, decrypted."""
        for row in await self.rows(SecretValue):
            if (row.installation_id, row.name) == (installation_id, name):
                return await self.envelope.open(row.token, row.tenant_id, slug, name)
        return None

    async def owns(self, installation_id: str, slug: str = "points") -> None:
        """Give an installation something in each of its stores."""
        async with self.database.write(TENANT) as session:
            session.add(
                StorageItem(installation_id=installation_id, key="k", value=wire.encode({"a": 1}), size_bytes=4)
            )
            session.add(
                TableRow(
                    installation_id=installation_id, table_name="ledger", id="row_1", data={"points": 3}, size_bytes=4,
                    created_at=datetime.now(UTC),
                )
            )  # fmt: skip


async def nothing() -> None:
    """There are no records to flush."""


def plugin_of(slug: str = "points", version: str = "1.0.0", **head: Any) -> jf.Plugin:
    """A plugin with nothing in it."""
    return jf.Plugin(slug, version=version, **head)


def with_hooks(plugin: jf.Plugin, *names: str) -> jf.Plugin:
    """The same plugin with life-cycle handlers; what they do, the runner says."""
    for name in names or ("on_install", "on_activate", "on_configure", "on_deactivate", "on_uninstall"):

        def handler(ctx: jf.Context) -> None: ...

        handler.__name__ = f"do_{name}"
        getattr(plugin, name)(handler)
    return plugin


def with_config(plugin: jf.Plugin, *, check: bool = False) -> jf.Plugin:
    """The same plugin with a configuration: one field with a default, one without, and a secret."""

    class Config:
        shop: str
        api_key: jf.Secret
        rate: float = 1.0

    plugin.config(Config)
    if check:

        def try_config(ctx: jf.Context) -> None: ...

        plugin.config_check(try_config)
    return plugin


CONFIG = {"shop": "north", "api_key": "s3cret-key"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables. Copying one is quicker than making it, and there are hundreds of tests here."""
    load_models()
    path = tmp_path_factory.mktemp("template") / "jackfield.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture
async def sqlite(tmp_path: Path, template: Path) -> AsyncIterator[Database]:
    copyfile(template, tmp_path / "jackfield.sqlite3")
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'jackfield.sqlite3'}")
    yield database
    await database.close()


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    house = House(database, tmp_path / "data", Vault(parse_keys(KEY)))
    yield house
    await house.lifecycle.close()
