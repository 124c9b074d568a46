"""Every operation is stopped at every step, by an error and by the death of the node: it has happened or it has not."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from jackfield.capabilities.models import IndexEntry, SecretValue, StorageItem, TableRow, UniqueEntry, UsageRow
from jackfield.db import Database
from jackfield.invocation import Invocation
from jackfield.lifecycle import Lifecycle
from jackfield.lifecycle.models import ExportRow, InstallationRow, LockRow, OperationRow, PastRelease
from jackfield.lifecycle.operations import Change, Step
from jackfield.lifecycle.states import State
from jackfield.lifecycle.steps import Tools, steps_of
from tests.server.lifecycle.conftest import CONFIG, TENANT, House, plugin_of, with_config, with_hooks
from tests.server.lifecycle.migrating import gated, handlers, migrating, with_ledger

Verb = Callable[[Lifecycle], Awaitable[Any]]


class Crash(BaseException):
    """The node dies."""


class FaultError(Exception):
    """A step fails."""


class Faults:
    """Makes one step raise, before its work or after it; a change is then rolled back, an effect has taken place."""

    def __init__(self, number: int = -1, when: str = "", error: type[BaseException] = Exception) -> None:
        self.number = number
        self.when = when
        self.error = error
        self.kinds = ""

    def __call__(self, kind: str, tools: Tools, data: Any, secrets: Any) -> Sequence[Step]:
        steps = steps_of(kind, tools, data, secrets)
        self.kinds = "".join("c" if isinstance(step, Change) else "e" for step in steps)
        return [self._faulty(step) if number == self.number else step for number, step in enumerate(steps)]

    def _faulty(self, step: Step) -> Step:
        do: Any = step.do

        async def fail(*arguments: Any) -> Any:
            if self.when == "after":
                await do(*arguments)
            raise self.error

        return dataclasses.replace(step, do=fail)


def faulty(house: House, number: int = -1, when: str = "", error: type[BaseException] = Exception) -> Lifecycle:
    """A new node with a fault in it."""
    lifecycle = house.start()
    lifecycle.execution.steps_of = Faults(number, when, error)
    return lifecycle


async def prepared(house: House, *, family: bool = False) -> None:
    """The releases; every hook leaves a trace in the installation's storage."""
    house.catalogue.add(with_hooks(plugin_of("base")))
    requires = {"base": ">=1"} if family else None
    house.catalogue.add(
        with_ledger(with_config(with_hooks(plugin_of(requires=requires, permissions=["customers:read"])), check=True))
    )

    # A pre-release, so that nothing but an update that names it brings it in.
    newer = with_hooks(plugin_of(version="1.1.0-rc.1", permissions=["customers:read"]), "on_update")
    house.catalogue.add(with_ledger(with_config(newer)))

    async def trace(invocation: Invocation) -> None:
        installation = invocation.installation
        async with house.database.write(installation.tenant_id) as session:
            key = f"{invocation.name}"
            if await session.get(StorageItem, (installation.id, key)) is None:
                session.add(StorageItem(installation_id=installation.id, key=key, value=b"\xc0", size_bytes=1))

    house.catalogue.add(with_config(with_hooks(migrating(permissions=["customers:read"]))))
    house.runner.handlers = {"on_install": trace, "config_check": trace}
    house.runner.handlers |= handlers(house)


async def install(lifecycle: Lifecycle) -> None:
    await lifecycle.install(TENANT, "points", grants=["customers:read"], config=CONFIG)


async def configure(lifecycle: Lifecycle) -> None:
    await lifecycle.configure(TENANT, "points", {"shop": "south", "api_key": "n3w-key"})


async def update(lifecycle: Lifecycle) -> None:
    config = {"shop": "south", "api_key": "n3w-key"}
    await lifecycle.update(TENANT, "points", version="1.1.0-rc.1", config=config)


async def migrate(lifecycle: Lifecycle) -> None:
    await lifecycle.update(TENANT, "points", version="2.0.0-rc.1")


async def write(lifecycle: Lifecycle) -> None:
    """Three rows and a key, by whatever release is there."""
    seen = await lifecycle.get(TENANT, "points")
    plugin = gated(lifecycle, seen)
    column = "amount" if seen.version.startswith("2") else "points"
    for number in range(3):
        await plugin.call("tables", "insert", table="ledger", row={"customer": f"c{number}", column: number})
    await plugin.call("storage", "set", key=seen.version, value=1)


async def quarantine(lifecycle: Lifecycle) -> None:
    seen = await lifecycle.get(TENANT, "points")
    await lifecycle.quarantine(TENANT, seen.id, ("crash-loop", "it died"), revision=seen.revision)


VERBS: dict[str, tuple[list[Verb], Verb]] = {
    "install": ([], install),
    "install-with-others": ([], install),
    "reinstall": ([install, lambda on: on.uninstall(TENANT, "points", data="keep")], install),
    "configure": ([install], configure),
    "config-test": ([install], lambda on: on.test_config(TENANT, "points", {"shop": "x", "api_key": "n3w-key"})),
    "set-grants": ([install], lambda on: on.set_grants(TENANT, "points", ["customers:read"])),
    "deactivate": ([install], lambda on: on.deactivate(TENANT, "points")),
    "activate": ([install, lambda on: on.deactivate(TENANT, "points")], lambda on: on.activate(TENANT, "points")),
    "quarantine": ([install], quarantine),
    "activate-quarantined": ([install, quarantine], lambda on: on.activate(TENANT, "points")),
    "update": ([install], update),
    "update-migrating": ([install, write], migrate),
    "rollback-restoring": ([install, write, migrate, write], lambda on: on.rollback(TENANT, "points", way="restore")),
    "rollback-transforming": ([install, write, migrate, write], lambda on: on.rollback(TENANT, "points")),
    "uninstall-delete": ([install], lambda on: on.uninstall(TENANT, "points")),
    "uninstall-keep": ([install], lambda on: on.uninstall(TENANT, "points", data="keep")),
    "uninstall-export": ([install], lambda on: on.uninstall(TENANT, "points", data="export")),
}
STEPS = {
    "install": "cecec",
    "install-with-others": "cececec" + "ec",
    "reinstall": "cecec",
    "configure": "cec",
    "config-test": "cec",
    "set-grants": "c",
    "deactivate": "cec",
    "activate": "cec",
    "quarantine": "c",
    "activate-quarantined": "cec",
    "update": "ceeec",
    "update-migrating": "ceeeec",
    "rollback-restoring": "ceec",
    "rollback-transforming": "ceeeeeec",
    "uninstall-delete": "ceeec",
    "uninstall-keep": "ceeec",
    "uninstall-export": "ceeeec",
}
"""Changes and effects. A change that fails is rolled back whether it had done its work or not; an effect is not."""
POINTS = [
    (verb, number, when)
    for verb, kinds in STEPS.items()
    for number, kind in enumerate(kinds)
    for when in (("before", "after") if kind == "e" else ("after",))
]


async def picture(house: House) -> list[Any]:
    """Everything that matters about a tenant's plugins, without ids, times and revisions."""
    slugs = {row.id: f"{row.slug}" for row in await house.rows(InstallationRow)}
    return [
        sorted(
            (row.slug, row.state, row.version, tuple(row.grants), str(row.config))
            for row in await house.rows(InstallationRow)
        ),
        sorted(
            (slugs.get(row.installation_id, row.installation_id[:4]), row.key) for row in await house.rows(StorageItem)
        ),
        sorted(
            (slugs.get(row.installation_id, row.installation_id[:4]), str(sorted(row.data.items())))
            for row in await house.rows(TableRow)
        ),
        # What indexes and unique groups know, by installation and layout.
        sorted((slugs.get(row.installation_id, "stray"), row.columns, row.key) for row in await house.rows(IndexEntry)),
        sorted((slugs.get(row.installation_id, "stray"), row.columns) for row in await house.rows(UniqueEntry)),
        sorted(
            (slugs.get(row.installation_id, "stray"), row.used_rows, row.used_bytes, row.layout, row.closed_by)
            for row in await house.rows(UsageRow)
        ),
        sorted((row.version, row.ended_by, row.has_data, row.rows) for row in await house.rows(PastRelease)),
        sorted(
            [
                (slugs.get(row.installation_id, row.installation_id[:4]), await house.secret(row.installation_id))
                for row in await house.rows(SecretValue)
            ]
        ),
        len(await house.rows(ExportRow)),
        len(list((house.data_dir / "exports").rglob("*.*"))),
    ]


def is_like(seen: list[Any], after: list[Any]) -> bool:
    """The same, though something may be inactive that would be active: so a failed `on_activate` ends."""

    def at_rest(picture: list[Any]) -> list[Any]:
        rows = [(slug, "inactive" if state == "active" else state, *rest) for slug, state, *rest in picture[0]]
        return [rows, *picture[1:]]

    return at_rest(seen) == at_rest(after)


_READY: dict[str, tuple[bytes, list[Any]]] = {}


async def run_to(house: House, verb: str) -> tuple[list[Any], Verb]:
    """Everything up to the operation; the picture before it. Done once, then taken from a copy of the database."""
    before, last = VERBS[verb]
    await prepared(house, family=verb == "install-with-others")
    path = house.data_dir.parent / "jackfield.sqlite3"
    if not house.database.is_sqlite:
        lifecycle = house.start()
        for step in before:
            await step(lifecycle)
        return await picture(house), last
    if verb in _READY:
        path.write_bytes(_READY[verb][0])
    else:
        lifecycle = house.start()
        for step in before:
            await step(lifecycle)
        seen = await picture(house)
        async with house.database.engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        _READY[verb] = (path.read_bytes(), seen)
    return _READY[verb][1], last


Pictures = Callable[[str], Awaitable[tuple[list[Any], list[Any], str]]]
_SEEN: dict[str, tuple[list[Any], list[Any], str]] = {}


async def look(house: House, verb: str) -> tuple[list[Any], list[Any], str]:
    before, last = await run_to(house, verb)
    lifecycle = house.start()
    lifecycle.execution.steps_of = faults = Faults()
    await last(lifecycle)
    return before, await picture(house), faults.kinds


@pytest.fixture
async def pictures(house: House, tmp_path: Path, template: Path) -> AsyncIterator[Pictures]:
    """Before and after an operation when nothing goes wrong, and of which steps it is; looked at once, elsewhere."""
    databases: list[Database] = []

    async def see(verb: str) -> tuple[list[Any], list[Any], str]:
        if verb not in _SEEN:
            folder = tmp_path / f"twin-{verb}"
            folder.mkdir()
            copyfile(template, folder / "jackfield.sqlite3")
            databases.append(Database(f"sqlite+aiosqlite:///{folder / 'jackfield.sqlite3'}"))
            _SEEN[verb] = await look(House(databases[0], folder / "data", house.vault), verb)
        return _SEEN[verb]

    yield see
    for database in databases:
        await database.close()


async def settled(house: House) -> None:
    """Nothing is half done."""
    assert await house.rows(LockRow) == []
    assert {row.state for row in await house.rows(OperationRow)} <= {"done", "failed"}
    assert all(row.data == {} for row in await house.rows(OperationRow))
    assert not any(State(row.state).is_transitional for row in await house.rows(InstallationRow))


@pytest.mark.parametrize("verb", VERBS)
async def test_the_table_of_steps_is_whole(pictures: Pictures, verb: str) -> None:
    _before, _after, kinds = await pictures(verb)
    assert STEPS[verb] == kinds


@pytest.mark.parametrize(("verb", "number", "when"), POINTS)
async def test_an_error_at_any_step_leaves_it_done_or_undone(
    house: House, pictures: Pictures, verb: str, number: int, when: str
) -> None:
    before, after, _ = await pictures(verb)
    _, last = await run_to(house, verb)
    lifecycle = faulty(house, number, when, FaultError)
    stopped = False
    try:
        await last(lifecycle)
    except Exception:
        stopped = True
    await settled(house)
    seen = await picture(house)
    if verb.startswith("uninstall") and stopped:
        # What had said goodbye to its work is not put back to it, and stays where the data is.
        assert seen[1:] == before[1:]
        assert {row[1] for row in seen[0]} <= {"active", "inactive", "uninstall-failed"}
    elif stopped:
        assert seen in (before, after) if verb == "deactivate" else seen == before
    elif verb == "rollback-transforming" and not is_like(seen, after):
        # What cannot be transformed is restored.
        _, restored, _ = await pictures("rollback-restoring")
        assert seen == restored
    else:
        assert is_like(seen, after)


@pytest.mark.parametrize(("verb", "number", "when"), POINTS)
async def test_after_the_nodes_death_at_any_step_it_is_done_or_undone(
    house: House, pictures: Pictures, verb: str, number: int, when: str
) -> None:
    before, after, _ = await pictures(verb)
    _, last = await run_to(house, verb)
    lifecycle = faulty(house, number, when, Crash)
    with pytest.raises(Crash):
        await last(lifecycle)
    await house.start().recover()
    await settled(house)
    seen = await picture(house)
    assert seen == before or is_like(seen, after)
    assert await house.start().recover() == []


@pytest.mark.parametrize("number", range(5))
async def test_what_was_interrupted_can_be_done_again(house: House, number: int) -> None:
    _, last = await run_to(house, "install")
    lifecycle = faulty(house, number, "after", Crash)
    with pytest.raises(Crash):
        await last(lifecycle)
    lifecycle = house.start()
    await lifecycle.recover()
    if await house.state() == "gone":
        await last(lifecycle)
    if await house.state() == "inactive":
        await lifecycle.activate(TENANT, "points")
    assert await house.state() == "active"


async def test_a_node_clears_up_after_itself_without_a_new_start(house: House) -> None:
    _, last = await run_to(house, "deactivate")
    lifecycle = faulty(house, 2, "before", Crash)
    with pytest.raises(Crash):
        await last(lifecycle)
    assert await house.state() == "deactivating"
    lifecycle.execution.steps_of = steps_of
    await lifecycle.activate(TENANT, "points")
    assert await house.state() == "active"


async def test_an_interrupted_on_activate_is_told(house: House) -> None:
    _, last = await run_to(house, "activate")
    lifecycle = faulty(house, 1, "before", Crash)
    with pytest.raises(Crash):
        await last(lifecycle)
    await house.start().recover()
    seen = await house.lifecycle.get(TENANT, "points")
    assert seen.state is State.INACTIVE
    assert seen.reason == ("interrupted", "the node stopped during on_activate")


async def test_data_that_cannot_be_removed_is_told_and_tried_again(house: House) -> None:
    _, last = await run_to(house, "uninstall-delete")
    lifecycle = faulty(house, 4, "before", FaultError)
    with pytest.raises(FaultError):
        await last(lifecycle)
    assert await house.state() == "uninstall-failed"
    assert (await house.active.get(TENANT)).by_slug == {}
    await last(house.start())
    assert await house.residue() == {}


async def test_an_installation_that_cannot_be_undone_is_marked_and_can_be_cleared(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, last = await run_to(house, "install")
    house.fails("on_install", "no licence")

    async def refuse(*_arguments: Any) -> None:
        raise FaultError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Tools, "purge", refuse)
        with pytest.raises(Exception, match="no licence"):
            await last(house.lifecycle)
    seen = await house.lifecycle.get(TENANT, "points")
    assert seen.state is State.INSTALL_FAILED
    assert seen.reason is not None
    assert seen.reason[0] == "install-failed"
    assert await house.operations() == [("install", "stuck")]
    with pytest.raises(Exception, match="not possible") as refused:
        await house.lifecycle.activate(TENANT, "points")
    assert getattr(refused.value, "code", "") == "state-conflict"
    house.runner.calls.clear()
    await house.lifecycle.uninstall(TENANT, "points")
    assert await house.residue() == {}
    assert house.runner.names == []


async def test_what_arrived_behind_a_removal_goes_at_the_next_start(house: House) -> None:
    _, last = await run_to(house, "uninstall-delete")
    [row] = await house.rows(InstallationRow)
    await last(house.lifecycle)
    await house.owns(row.id)
    async with house.database.write(TENANT) as session:
        session.add(UsageRow(tenant_id=TENANT, installation_id=row.id, used_bytes=8, used_rows=0))
        session.add(UsageRow(tenant_id=TENANT, installation_id="trial_1", used_bytes=8, used_rows=0))
    await house.start().recover()
    assert await house.residue() == {"jf_storage_usage": 1}
