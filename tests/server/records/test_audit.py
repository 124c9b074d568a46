"""Who changed what: an entry for each change, in the same transaction, without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackfield.db import Database
from jackfield.http import Caller, PageRequest
from jackfield.records import Recorder, Records, audit, router
from tests.server.conftest import KnownCallers, application, client

CALLERS = KnownCallers(
    {
        "own": Caller("owner", tenant_id="acme", token_id="tok_1"),
        "mem": Caller("member", tenant_id="acme", token_id="tok_2"),
        "other": Caller("owner", tenant_id="other", token_id="tok_3"),
        "ops": Caller("operator", token_id="tok_4"),
    }
)


@pytest.fixture
def records(database: Database, tmp_path: Path) -> Records:
    return Records(database, Recorder(database, tmp_path / "journal"))


async def test_an_entry_is_there_exactly_when_the_change_is(database: Database, records: Records) -> None:

    async def fail() -> None:
        async with database.write("acme") as session:
            audit(session, "acme", "member:mem_1", "plugin.install", "echo")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await records.trail.list("acme", PageRequest())).items == []
    async with database.write("acme") as session:
        audit(session, "acme", "member:mem_1", "plugin.install", "echo", after={"version": "1.0.0"}, ip="127.0.0.1")
    (entry,) = (await records.trail.list("acme", PageRequest())).items
    assert (entry.actor, entry.action, entry.target, entry.before, entry.after, entry.ip) == (
        "member:mem_1", "plugin.install", "echo", None, {"version": "1.0.0"}, "127.0.0.1",
    )  # fmt: skip


async def test_secrets_do_not_get_into_the_trail(database: Database, records: Records) -> None:
    async with database.write("acme") as session:
        audit(
            session,
            "acme",
            "x",
            "plugin.configure",
            "echo",
            before={"api_key": None, "url": "https://ann:hunter2@example.com"},
            after={"api_key": "hunter2", "nested": [{"webhookSecret": "hunter2"}], "points": 2},
        )
    (entry,) = (await records.trail.list("acme", PageRequest())).items
    assert "hunter2" not in repr((entry.before, entry.after))
    assert entry.before == {"api_key": None, "url": "https://ann:[redacted]@example.com"}
    assert entry.after == {"api_key": "[redacted]", "nested": [{"webhookSecret": "[redacted]"}], "points": 2}


async def test_each_reads_their_own_trail(database: Database, records: Records) -> None:
    async with database.write(None) as session:
        for number in range(5):
            audit(session, "acme", "a", "plugin.install", f"p{number % 2}")
        audit(session, "other", "b", "plugin.install", "theirs")
        audit(session, None, "c", "release.publish", "echo")
    app = application(CALLERS, router(records))
    async with client(app, "own") as http:
        first = (await http.get("/api/audit", params={"limit": 3})).json()
        second = (await http.get("/api/audit", params={"limit": 3, "cursor": first["next_cursor"]})).json()
        assert [entry["target"] for entry in first["items"] + second["items"]] == ["p0", "p1", "p0", "p1", "p0"]
        assert len((await http.get("/api/audit", params={"target": "p1"})).json()["items"]) == 2
        assert (await http.get("/api/audit", params={"cursor": "x"})).json()["code"] == "cursor-invalid"
    for token, expected in (("other", ["theirs"]), ("ops", ["echo"])):
        async with client(app, token) as http:
            assert [entry["target"] for entry in (await http.get("/api/audit")).json()["items"]] == expected
    async with client(app, "mem") as http:
        assert (await http.get("/api/audit")).status_code == 403
