"""The audit trail is a chain: whatever is done to it behind the platform's back is found, where it was done first."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from jackfield.__main__ import main
from jackfield.app import Platform
from jackfield.capabilities import ensure_key_file
from jackfield.db import Database, migrate
from jackfield.db.scopes import scope_of
from jackfield.http import Caller, OriginMiddleware, PageRequest
from jackfield.records import (
    PLATFORM,
    Anchors,
    AuditFilter,
    AuditKeyMissingError,
    AuditKeys,
    Recorder,
    Records,
    Trail,
    audit,
    router,
    use_keys,
)
from jackfield.records.guards import GUARDS
from jackfield.records.trail.pruning import prune_trail
from jackfield.settings import Settings
from tests.postgres import Postgres
from tests.server.conftest import KnownCallers, ManualClock, application, client

SECRETS = {"dkey_1": b"1" * 32}


@pytest.fixture
def keys(either_database: Database) -> AuditKeys:
    found = AuditKeys()
    found.take("dkey_1", SECRETS)
    use_keys(either_database, found)
    return found


@pytest.fixture
def trail(either_database: Database, keys: AuditKeys, tmp_path: Path) -> Trail:
    return Trail(either_database, keys, Anchors(either_database, keys, tmp_path))


async def fill(database: Database, tenant_id: str, count: int = 8, start: int = 0) -> None:
    for number in range(start, start + count):
        async with database.write(tenant_id) as session:
            audit(session, tenant_id, "member:ann", "plugin.configure", f"p{number}", {"n": number}, {"n": 0.5})


async def tamper(database: Database, *statements: str) -> None:
    """Do it as somebody who owns the database: without guards, and with the rows of all tenants."""

    def run(connection: Connection) -> None:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text(scope_of(None)))
        for statement in statements:
            connection.exec_driver_sql(statement)

    async with database.administer() as connection:
        if database.is_sqlite:
            for name in ("jf_audit_no_update", "jf_audit_no_delete", "jf_audit_heads_no_delete",
                         "jf_audit_checkpoints_no_update", "jf_audit_checkpoints_no_delete"):  # fmt: skip
                await connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        await connection.run_sync(run)
        await connection.commit()


COLUMNS = (
    "at, actor, actor_name, token_id, on_behalf_of, plugin, action, target, before, after, ip, user_agent, trace_id, "
    "node_id, previous, hash, key_id, seal"
)
# What is done to a trail of eight entries, and what is to be found: kind and number.
ATTACKS: dict[str, tuple[list[str], tuple[str, int]]] = {
    "who": (["UPDATE jf_audit SET actor = 'member:bob' WHERE {mine} AND seq = 3"], ("changed", 3)),
    "values": (["UPDATE jf_audit SET after = '{{\"n\": 9}}' WHERE {mine} AND seq = 8"], ("changed", 8)),
    "when": (["UPDATE jf_audit SET at = '2020-01-01 00:00:00.000000' WHERE {mine} AND seq = 1"], ("changed", 1)),
    "one-gone": (["DELETE FROM jf_audit WHERE {mine} AND seq = 5"], ("removed", 5)),
    "beginning-gone": (["DELETE FROM jf_audit WHERE {mine} AND seq <= 2"], ("removed", 1)),
    "closed-up": (
        [
            "DELETE FROM jf_audit WHERE {mine} AND seq = 8",
            "UPDATE jf_audit SET seq = -seq WHERE {mine} AND seq > 4",
            "DELETE FROM jf_audit WHERE {mine} AND seq = 4",
            "UPDATE jf_audit SET seq = -seq - 1 WHERE {mine} AND seq < 0",
        ],
        ("reordered", 4),
    ),
    "swapped": (
        [
            "UPDATE jf_audit SET seq = 100 WHERE {mine} AND seq = 2",
            "UPDATE jf_audit SET seq = 2 WHERE {mine} AND seq = 6",
            "UPDATE jf_audit SET seq = 6 WHERE {mine} AND seq = 100",
        ],
        ("reordered", 2),
    ),
    "one-more": (
        [
            f"INSERT INTO jf_audit (tenant_id, seq, {COLUMNS}) SELECT tenant_id, 9, {COLUMNS} FROM jf_audit "
            "WHERE {mine} AND seq = 8",
            "UPDATE jf_audit_heads SET seq = 9 WHERE {mine}",
        ],
        ("reordered", 9),
    ),
    "another-tenants": (
        [
            "DELETE FROM jf_audit WHERE {mine} AND seq = 8",
            f"INSERT INTO jf_audit (tenant_id, seq, {COLUMNS}) SELECT '{{tenant}}', 8, {COLUMNS} FROM jf_audit "
            "WHERE tenant_id = 'untouched' AND seq = 8",
        ],
        ("changed", 8),
    ),
    "end-gone": (["DELETE FROM jf_audit WHERE {mine} AND seq > 6"], ("truncated", 7)),
    "end-gone-and-hidden": (
        [
            "DELETE FROM jf_audit WHERE {mine} AND seq > 6",
            "UPDATE jf_audit_heads SET seq = 6, hash = (SELECT hash FROM jf_audit WHERE {mine} AND seq = 6) "
            "WHERE {mine}",
        ],
        ("truncated", 7),
    ),
    "head-gone": (
        ["DELETE FROM jf_audit WHERE {mine} AND seq > 6", "DELETE FROM jf_audit_heads WHERE {mine}"],
        ("truncated", 7),
    ),
    "all-gone": (
        ["DELETE FROM jf_audit WHERE {mine}", "DELETE FROM jf_audit_heads WHERE {mine}"],
        ("truncated", 1),
    ),
    "dropped-as-old": (
        [
            "INSERT INTO jf_audit_checkpoints (tenant_id, kind, seq, hash, removed, at, key_id, seal) "
            "SELECT tenant_id, 'prune', 4, hash, 4, at, key_id, seal FROM jf_audit WHERE {mine} AND seq = 4",
            "DELETE FROM jf_audit WHERE {mine} AND seq <= 4",
        ],
        ("checkpoint", 4),
    ),
}  # fmt: skip


async def test_whatever_is_done_to_a_trail_is_found_where_it_was_done_first(
    either_database: Database, trail: Trail
) -> None:
    for tenant_id in (*ATTACKS, "untouched"):
        await fill(either_database, tenant_id)
        assert (await trail.verify(tenant_id)).is_good
    assert trail.anchors is not None
    assert await trail.anchors.keep() == len(ATTACKS) + 1
    for tenant_id, (statements, _) in ATTACKS.items():
        mine = f"tenant_id = '{tenant_id}'"
        await tamper(either_database, *(statement.format(mine=mine, tenant=tenant_id) for statement in statements))
    found = {tenant_id: (await trail.verify(tenant_id)).fault for tenant_id in ATTACKS}
    assert {name: fault and (fault.kind, fault.seq) for name, fault in found.items()} == {
        name: expected for name, (_, expected) in ATTACKS.items()
    }
    assert (await trail.verify("untouched")).is_good
    assert await trail.anchors.keep() == 0


async def test_an_end_that_was_cut_off_and_grew_again_is_found_by_what_was_kept_elsewhere(
    either_database: Database, trail: Trail
) -> None:
    await fill(either_database, "acme")
    before = await trail.verify("acme")
    assert before.head is not None
    await tamper(
        either_database,
        "DELETE FROM jf_audit WHERE seq > 5",
        "UPDATE jf_audit_heads SET seq = 5, hash = (SELECT hash FROM jf_audit WHERE seq = 5)",
    )
    await fill(either_database, "acme", 6)
    assert (await trail.verify("acme")).is_good, "nothing in the database can tell"
    after = await trail.verify("acme", [before.head.token])
    assert after.fault is not None
    assert (after.fault.kind, after.fault.seq) == ("replaced", 8)
    forged = AuditKeys()
    forged.take("dkey_1", {"dkey_1": b"2" * 32})
    assert (await trail.verify("acme", [forged.sign("acme", 99, "0" * 64, datetime.now(UTC)).token])).is_good


async def test_whoever_has_the_database_alone_cannot_write_the_chain_anew(
    either_database: Database, trail: Trail
) -> None:
    """The hashes can be made anew by anybody; the seals cannot, nor can it be said to be older than the chain."""
    await fill(either_database, "acme")
    await tamper(either_database, "DELETE FROM jf_audit", "DELETE FROM jf_audit_heads")
    other = AuditKeys()
    other.take("dkey_1", {"dkey_1": b"guess" * 8})
    use_keys(either_database, other)
    await fill(either_database, "acme")
    fault = (await trail.verify("acme")).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("forged", 1)
    await tamper(either_database, "UPDATE jf_audit SET key_id = 'adopted'")
    assert not (await trail.verify("acme")).is_good


async def test_the_database_refuses_to_change_the_trail(either_database: Database, keys: AuditKeys) -> None:
    await fill(either_database, "acme", 2)
    for statement in (
        "UPDATE jf_audit SET actor = 'x'", "DELETE FROM jf_audit", "DELETE FROM jf_audit_heads",
        "UPDATE jf_audit SET seq = seq",
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="only ever added to"):
            async with either_database.write("acme") as session:
                await session.execute(text(statement))
    assert len(GUARDS) == 2


async def test_writers_of_all_nodes_make_one_chain(either_database: Database, keys: AuditKeys, trail: Trail) -> None:
    others = [Database(either_database.url) for _ in range(2)] if not either_database.is_sqlite else []
    for other in others:
        use_keys(other, keys)

    async def write(database: Database, tenant_ids: list[str]) -> None:
        for _ in range(5):
            async with database.write(None) as session:
                for tenant_id in tenant_ids:
                    audit(session, tenant_id, "member:ann", "plugin.configure", "p")

    nodes = [either_database, *others]
    await asyncio.gather(*(write(nodes[n % len(nodes)], ["a", "b"] if n % 2 else ["b", "a"]) for n in range(8)))
    for tenant_id in ("a", "b"):
        verdict = await trail.verify(tenant_id)
        assert (verdict.fault, verdict.entries) == (None, 40)
    for other in others:
        await other.close()


async def test_an_entry_goes_with_its_savepoint_and_its_transaction(either_database: Database, trail: Trail) -> None:
    async with either_database.write("acme") as session:
        audit(session, "acme", "a", "x.kept", "1")
        savepoint = await session.begin_nested()
        audit(session, "acme", "a", "x.lost", "2")
        inner = await session.begin_nested()
        audit(session, "acme", "a", "x.lost", "3")
        await inner.commit()
        await savepoint.rollback()
        async with session.begin_nested():
            audit(session, "acme", "a", "x.kept", "4")
        await session.execute(text("SELECT 1"))
    assert [entry.target for entry in (await trail.list("acme", PageRequest())).items] == ["4", "1"]
    assert (await trail.verify("acme")).entries == 2


async def test_what_is_old_goes_and_the_rest_still_verifies(
    either_database: Database, keys: AuditKeys, trail: Trail
) -> None:
    await fill(either_database, "acme", 6)
    middle = datetime.now(UTC)
    await fill(either_database, "acme", 3, 6)
    now = datetime.now(UTC) + timedelta(days=1)
    assert await prune_trail(either_database, keys, "acme", middle, now) == 6
    verdict = await trail.verify("acme")
    assert (verdict.fault, verdict.first, verdict.removed, verdict.entries) == (None, 7, 6, 4)
    # The entry that tells of it is not a reason to do it again.
    later = now + timedelta(days=1)
    assert await prune_trail(either_database, keys, "acme", later, later) == 4
    assert await prune_trail(either_database, keys, "acme", later, later) == 0
    verdict = await trail.verify("acme")
    assert (verdict.fault, verdict.removed, verdict.entries) == (None, 10, 1)
    assert await prune_trail(either_database, keys, "stranger", later, later) == 0


async def test_odd_values_are_the_same_when_they_come_back(either_database: Database, trail: Trail) -> None:
    odd: dict[Any, Any] = {
        "n": 1.0, "huge": 2**80, "tiny": 5e-324, "big": 1e22, "nul": "a\0b", "lone": "\ud800", "smile": "🙂",
        7: [True, None], "at": datetime(2026, 1, 1, tzinfo=UTC), "nan": float("nan"), "set": {1}, "-0": -0.0,
    }  # fmt: skip
    async with either_database.write("acme") as session:
        audit(session, "acme", "a\0\ud800" + "x" * 300, "x.y", "t" * 400, odd, {"text": "y" * 100_000, "keep": 1})
        audit(session, "acme", "a", "x.y", "t", None, {str(n): "z" * 900 for n in range(100)})
    verdict = await trail.verify("acme")
    assert (verdict.fault, verdict.entries) == (None, 2)
    last, first = (await trail.list("acme", PageRequest())).items
    assert first.after is not None
    assert first.after["keep"] == 1
    assert len(first.after["text"]) < 1_100
    assert last.after is not None
    assert last.after["left_out"] is True
    assert first.before is not None
    assert first.before["smile"] == "🙂"


CALLERS = KnownCallers(
    {
        "own": Caller("owner", tenant_id="acme", member_id="mem_1", token_id="tok_1", token_name="back office"),
        "other": Caller("owner", tenant_id="rival", token_id="tok_2"),
    }
)


@pytest.fixture
def records(either_database: Database, trail: Trail, tmp_path: Path) -> Records:
    return Records(either_database, Recorder(either_database, tmp_path / "journal"), ManualClock(), trail=trail)


async def test_the_trail_is_filtered_paged_and_says_where_changes_came_from(
    either_database: Database, records: Records
) -> None:
    app = application(CALLERS, router(records))

    @app.post("/change/{slug}")
    async def change(slug: str) -> None:
        async with either_database.write("acme") as session:
            audit(session, "acme", "member:mem_1", "plugin.configure", slug, plugin=slug, after={"über": "100%_"})
            audit(session, "acme", "platform:jobs", "plugin.update", slug, on_behalf_of="member:mem_2")

    app.add_middleware(OriginMiddleware)
    async with client(app, "own") as http:
        # The trail's reader is the one who makes the change; see `require`.
        await http.get("/api/audit")
        for slug in ("echo", "loyalty", "=cmd()"):
            assert (await http.post(f"/change/{slug}", headers={"User-Agent": "till/1.0"})).status_code == 200

        async def find(**params: Any) -> list[int]:
            found: list[int] = []
            cursor = None
            while True:
                wanted = {**params, "limit": 2} | ({"cursor": cursor} if cursor else {})
                page = (await http.get("/api/audit", params=wanted)).json()
                found += [entry["seq"] for entry in page["items"]]
                if (cursor := page["next_cursor"]) is None:
                    return found

        assert await find() == [6, 5, 4, 3, 2, 1]
        assert await find(actor="platform:jobs") == [6, 4, 2]
        assert await find(action="plugin.configure") == [5, 3, 1]
        assert await find(action="plug") == []
        assert await find(action="plugin.") == [6, 5, 4, 3, 2, 1]
        assert await find(plugin="echo") == [1]
        assert await find(target="echo") == [2, 1]
        assert await find(q="LOYAL") == [4, 3]
        assert await find(q="100%_") == [5, 3, 1]
        assert await find(q="0_0") == []
        assert await find(q="über") == [5, 3, 1]
        assert await find(since="2999-01-01T00:00:00Z") == []
        empty = await http.get("/api/audit", params={"since": "2026-01-02T00:00", "until": "2026-01-01T00:00"})
        assert (empty.status_code, empty.json()["code"]) == (422, "audit-filter-invalid")
        first = (await http.get("/api/audit", params={"target": "echo"})).json()["items"]
        assert [(e["ip"], e["user_agent"], e["on_behalf_of"]) for e in first] == [
            (None, None, "member:mem_2"), ("127.0.0.1", "till/1.0", None),
        ]  # fmt: skip

        verdict = (await http.get("/api/audit/verify")).json()
        assert (verdict["is_good"], verdict["entries"], verdict["anchor"]) == (True, 6, 0)
        again = (await http.get("/api/audit/verify", params={"head": verdict["head"]})).json()
        assert (again["is_good"], again["anchor"]) == (True, 6)
        bad = await http.get("/api/audit/verify", params={"head": "jfhead1.e30"})
        assert bad.json()["code"] == "audit-head-invalid"

        exported = await http.get("/api/audit/export", params={"format": "csv"})
        table = list(csv.DictReader(io.StringIO(exported.text)))
        assert [row["target"] for row in table][4:] == ["'=cmd()", "'=cmd()", "audit"]
        lines = [json.loads(line) for line in (await http.get("/api/audit/export")).text.splitlines()]
        assert [line.get("seq") for line in lines] == [None, *range(1, 9), None]
        assert (await http.get("/api/audit/export", params={"format": "exe"})).status_code == 422
    async with client(app, "other") as http:
        assert (await http.get("/api/audit")).json()["items"] == []
        assert (await http.get("/api/audit/verify")).json()["head"] is None
        assert "echo" not in (await http.get("/api/audit/export")).text


async def test_a_trail_from_before_the_chain_is_linked_and_vouched_for(tmp_path: Path, postgres: Postgres) -> None:
    name = await postgres.create()
    for url in (f"sqlite+aiosqlite:///{tmp_path / 'old.sqlite3'}", postgres.url(name)):
        database = Database(url)
        await migrate.upgrade(database)
        await migrate.downgrade(database, "a1c0de000016")
        insert = (
            "INSERT INTO jf_audit (tenant_id, at, actor, action, target, before, after) VALUES "
            "('{tenant}', '2026-01-0{day} 10:00:00.25', 'member:ann', 'plugin.install', 'echo', NULL, '{{\"n\": 1.0}}')"
        )
        await tamper(database, *(insert.format(tenant=t, day=d) for d in range(1, 5) for t in ("acme", "rival")))
        await migrate.upgrade(database)
        assert await migrate.differences(database) == []
        keys = AuditKeys()
        keys.take("dkey_1", SECRETS)
        use_keys(database, keys)
        trail = Trail(database, keys, anchors := Anchors(database, keys, tmp_path / name))
        assert not (await trail.verify("acme")).is_good, "nobody has vouched for it yet"
        assert (await anchors.adopt(), await anchors.adopt()) == (2, 0)
        await fill(database, "acme", 2)
        verdict = await trail.verify("acme")
        assert (verdict.fault, verdict.entries, verdict.adopted) == (None, 6, 4)
        await tamper(database, "UPDATE jf_audit SET target = 'other' WHERE tenant_id = 'acme' AND seq = 2")
        fault = (await trail.verify("acme")).fault
        assert fault is not None
        assert (fault.kind, fault.seq) == ("changed", 2)
        assert (await trail.verify(None)).entries == 2 == len(await _targets(trail))
        await database.close()
    await postgres.drop(name)


async def _targets(trail: Trail) -> list[str]:
    return [entry.target for entry in (await trail.list(None, PageRequest(), AuditFilter(action="audit.adopt"))).items]


async def test_a_trail_outlives_the_keys_that_sealed_it(sqlite: Database, tmp_path: Path) -> None:
    """The operator's key is replaced and forgotten, the trail's own is renewed: what was sealed still verifies, also on
    a node that has not heard of the new one."""
    ensure_key_file(tmp_path / "data")
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite.url)
    first = Platform(settings)
    with pytest.raises(AuditKeyMissingError):
        await first.tenants.create_tenant("Acme", tenant_id="acme")
    await first.rotation.start()
    await first.open_trail()
    await first.tenants.create_tenant("Acme", tenant_id="acme")
    old = (await first.rotation.status()).keys[0].id
    await first.rotation.rotate("operator:me")
    await first.rotation.rewrap()
    await first.rotation.forget(old, "operator:me")
    await first.rotation.renew(PLATFORM, "operator:me")
    assert (await first.rotation.status()).tenants == 0

    second = Platform(settings)
    await second.open_trail()
    await second.tenants.add_member("acme", "Ann", "ann@example.com")
    entries = (await second.trail.list("acme", PageRequest())).items
    assert [entry.action for entry in entries] == ["member.add", "tenant.create"]
    assert len({entry.key_id for entry in entries}) == 2
    assert (await second.trail.verify("acme")).is_good
    assert (await first.trail.verify("acme")).is_good
    assert (await second.trail.verify(None)).is_good
    await first.database.close()
    await second.database.close()


def test_the_command_of_the_machine_looks_through_all_trails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(tmp_path / "data")
    assert main(["token", "owner", "--tenant", "acme", "--data", data]) == 0
    assert main(["audit", "verify", "--data", data]) == 0
    database = sqlite3.connect(tmp_path / "data" / "jackfield.sqlite3")
    database.execute("DROP TRIGGER jf_audit_no_update")
    database.execute("UPDATE jf_audit SET target = 'x' WHERE tenant_id = 'acme' AND seq = 2")
    database.commit()
    database.close()
    capsys.readouterr()
    assert main(["audit", "verify", "--data", data, "--json"]) == 1
    (trail,) = json.loads(capsys.readouterr().out)["trails"]
    assert (trail["tenant_id"], trail["fault"]["kind"], trail["fault"]["seq"]) == ("acme", "changed", 2)
