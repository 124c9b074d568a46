"""The HTTP side: who may do what, what an answer holds, and that a secret never comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import jackfield_sdk as jf
from jackfield.clock import SystemClock
from jackfield.health import Health, Watch
from jackfield.health import router as health_router
from jackfield.http import Caller
from jackfield.invocation import Invocation
from jackfield.jobs import Deliveries, Delivery, OutboxEvent
from jackfield.lifecycle import deliveries_router, permissions_router, reading_router, router
from jackfield.records import InvocationRecord, Recorder, Records
from jackfield.settings import HealthSettings
from tests.server.conftest import KnownCallers, application, client
from tests.server.lifecycle.conftest import CONFIG, SURFACE, TENANT, House, plugin_of, with_config, with_hooks

CALLERS = {
    "owner": Caller("owner", TENANT, "mem_1"),
    "admin": Caller("admin", TENANT, None, None, "tok_1"),
    "member": Caller("member", TENANT, "mem_2"),
    "stranger": Caller("owner", "other", "mem_9"),
    "operator": Caller("operator", None, None, None, "tok_2"),
    "publisher": Caller("publisher", None, None, "pub_1"),
}


class Web:
    """Asks as one of the callers."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, method: str, path: str, who: str = "owner", **options: Any) -> httpx.Response:
        async with client(self.app, who) as asking:
            return await asking.request(method, f"/api/plugins{path}", **options)


@pytest.fixture
async def recorder(house: House, tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(house.database, tmp_path / "journal")
    yield recorder
    await recorder.close()


@pytest.fixture
def web(house: House, recorder: Recorder) -> Web:
    health = Health(
        database=house.database, clock=SystemClock(), watch=Watch(HealthSettings(), SystemClock()),
        lifecycle=house.lifecycle, active=house.active, runner=house.runner, settings=HealthSettings(),
        flush_records=recorder.flush, is_busy=lambda: False,
    )  # fmt: skip
    return Web(
        application(
            KnownCallers(CALLERS),
            router(house.lifecycle, health),
            health_router(health),
            reading_router(house.lifecycle, Records(house.database, recorder)),
            permissions_router(house.lifecycle, Records(house.database, recorder), SURFACE),
            deliveries_router(house.lifecycle, Deliveries(house.database, SystemClock())),
        )
    )


NEWER = "1.1.0-rc.1"


def offered(house: House) -> None:
    for version in ("1.0.0", NEWER):
        plugin = with_config(with_hooks(plugin_of(version=version, permissions=["customers:read"])), check=True)

        @plugin.health
        def health(ctx: jf.Context) -> jf.Health: ...

        house.catalogue.add(plugin)


INSTALL = {"slug": "points", "grants": ["customers:read"], "config": CONFIG}

READING = [
    ("GET", path)
    for path in (
        "", "/points", "/points/stats", "/points/errors", "/points/logs", "/points/invocations", "/points/deliveries",
        "/points/health", "/points/inventory", "/points/permissions",
    )
]  # fmt: skip
CHANGING: list[tuple[str, str, Any]] = [
    ("POST", "/points/deactivate", None),
    ("POST", "/points/activate", None),
    ("PUT", "/points/config", {"config": {"shop": "south"}}),
    ("POST", "/points/config/test", {"config": {"shop": "south"}}),
    ("PUT", "/points/grants", {"grants": ["customers:read"]}),
    ("POST", "/points/update", {"version": NEWER}),
    ("DELETE", "/points", None),
    ("POST", "/install", INSTALL),
]


async def test_plan_then_install_then_look(house: House, web: Web) -> None:
    offered(house)
    plan = await web("POST", "/plan", json={"slug": "points"})
    assert plan.status_code == 200
    assert plan.json()["is_possible"] is True
    installed = await web("POST", "/install", json=INSTALL)
    assert installed.status_code == 201
    body = installed.json()
    assert (body["slug"], body["state"], body["needs_configuration"]) == ("points", "active", False)
    assert body["secrets"] == {"api_key": {"stored": True}}
    assert body["config"] == {"shop": "north", "rate": 1.0}
    assert [part["is_granted"] for part in body["permissions"] if part["permission"] == "customers:read"] == [True]
    assert (await web("GET", "/points")).json() == body
    listed = (await web("GET", "")).json()
    assert [item["slug"] for item in listed["items"]] == ["points"]
    assert listed["next_cursor"] is None
    assert listed["items"][0]["meaning"].startswith("At work")


@pytest.mark.parametrize(("method", "path"), READING)
async def test_every_member_may_read_and_nobody_else(house: House, web: Web, method: str, path: str) -> None:
    offered(house)
    await web("POST", "/install", json=INSTALL)
    for who in ("owner", "admin", "member"):
        assert (await web(method, path, who)).status_code == 200
    for who in ("operator", "publisher"):
        refused = await web(method, path, who)
        assert (refused.status_code, refused.json()["code"]) == (403, "role-missing")
    elsewhere = await web(method, path, "stranger")
    if path:
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "not-installed")
    else:
        assert elsewhere.json()["items"] == []
    assert (await web(method, path, "nobody")).status_code == 401


@pytest.mark.parametrize(("method", "path", "body"), CHANGING)
async def test_owners_and_admins_may_change_and_nobody_else(
    house: House, web: Web, method: str, path: str, body: Any
) -> None:
    offered(house)
    if path != "/install":
        await web("POST", "/install", json=INSTALL)
    before = (await house.residue(), await house.state())
    for who in ("member", "operator", "publisher"):
        refused = await web(method, path, who, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "role-missing")
    if path != "/install":
        assert (await web(method, path, "stranger", json=body)).status_code == 404
    assert (await house.residue(), await house.state()) == before
    assert (await web(method, path, "admin", json=body)).status_code in (200, 201)


async def test_no_answer_holds_a_secret(house: House, web: Web) -> None:
    offered(house)
    answers = [await web("POST", "/install", json=INSTALL)]
    changed = {"config": {"shop": "south", "api_key": "n3w-key"}}
    answers.append(await web("PUT", "/points/config", json=changed))
    answers.append(await web("POST", "/points/config/test", json=changed))
    answers.append(await web("PUT", "/points/config", json={"config": {"shop": 5, "api_key": "n3w-key"}}))
    answers.append(await web("PUT", "/points/config", json={"config": {"shop": "x", "api_key": ["n3w-key"]}}))
    answers += [await web(method, path) for method, path in READING]
    answers.append(await web("DELETE", "/points"))
    assert all("s3cret-key" not in answer.text and "n3w-key" not in answer.text for answer in answers)
    assert [answer.status_code for answer in answers[:5]] == [201, 200, 200, 422, 422]
    trail = str([(entry.before, entry.after) for entry in await house.audit()])
    assert "s3cret-key" not in trail
    assert "n3w-key" not in trail


async def test_a_refusal_is_a_problem_document_with_a_code_and_a_hint(house: House, web: Web) -> None:
    offered(house)
    refused = await web("POST", "/install", json={"slug": "points", "config": CONFIG})
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    body = refused.json()
    assert (body["code"], body["missing"]) == ("grants-missing", ["customers:read"])
    assert body["hint"]
    await web("POST", "/install", json=INSTALL)
    again = await web("POST", "/install", json=INSTALL)
    assert (again.status_code, again.json()["code"]) == (409, "already-installed")
    house.fails("on_configure", "the key is not valid")
    refused = await web("PUT", "/points/config", json={"config": {"shop": "south"}})
    assert (refused.status_code, refused.json()["code"], refused.json()["detail"]) == (
        409, "configure-failed", "the key is not valid",
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"slug": "../x"},
        {"slug": "points", "grants": "all"},
        {"slug": "points", "surprise": 1},
        {"slug": "points", "instance": "A B"},
        {"slug": "points", "grants": ["x"] * 500},
        {"slug": "points", "config": ["a"]},
    ],
)
async def test_what_is_no_request_is_refused(house: House, web: Web, body: Any) -> None:
    offered(house)
    refused = await web("POST", "/install", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "request-invalid")
    assert await house.operations() == []


async def test_the_list_pages_and_filters(house: House, web: Web) -> None:
    for slug in ("alpha", "beta", "gamma", "delta"):
        house.catalogue.add(plugin_of(slug, name=f"The {slug.upper()} plugin"))
        await house.lifecycle.install(TENANT, slug)
    await house.lifecycle.deactivate(TENANT, "beta")
    first = (await web("GET", "", params={"limit": 3})).json()
    assert [item["slug"] for item in first["items"]] == ["alpha", "beta", "delta"]
    second = (await web("GET", "", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [item["slug"] for item in second["items"]] == ["gamma"]
    assert second["next_cursor"] is None
    resting = (await web("GET", "", params={"state": "inactive"})).json()
    assert [item["slug"] for item in resting["items"]] == ["beta"]
    both = (await web("GET", "", params=[("state", "inactive"), ("state", "active")])).json()
    assert len(both["items"]) == 4
    found = (await web("GET", "", params={"q": "the gam"})).json()
    assert [item["slug"] for item in found["items"]] == ["gamma"]
    assert (await web("GET", "", params={"state": "sleepy"})).status_code == 422
    assert (await web("GET", "", params={"cursor": "x"})).json()["code"] == "cursor-invalid"


async def test_an_instance_is_named_in_the_path(house: House, web: Web) -> None:
    offered(house)
    await web("POST", "/install", json=INSTALL)
    south = {**INSTALL, "instance": "south", "config": {**CONFIG, "shop": "south"}}
    assert (await web("POST", "/install", json=south)).status_code == 201
    assert (await web("GET", "/points@south")).json()["config"]["shop"] == "south"
    assert (await web("GET", "/points")).json()["config"]["shop"] == "north"
    assert (await web("DELETE", "/points@south")).status_code == 200
    assert (await web("GET", "/points@south")).status_code == 404
    assert (await web("GET", "/points")).status_code == 200
    assert (await web("GET", "/points@")).status_code == 404


async def test_an_export_is_fetched_by_those_who_may(house: House, web: Web) -> None:
    offered(house)
    await web("POST", "/install", json=INSTALL)
    removed = (await web("DELETE", "/points", params={"data": "export"})).json()
    assert removed["data"] == "export"
    path = f"/exports/{removed['export_id']}"
    fetched = await web("GET", path)
    assert fetched.status_code == 200
    assert fetched.headers["cache-control"] == "no-store"
    assert fetched.text.splitlines()[0].startswith('{"kind":"export"')
    assert (await web("GET", path, "member")).status_code == 403
    assert (await web("GET", path, "stranger")).json()["code"] == "export-not-found"
    assert (await web("DELETE", "/points", params={"data": "burn"})).status_code == 422


async def test_health_is_asked_now(house: House, web: Web) -> None:
    offered(house)
    answers: list[Any] = [
        {"ok": True, "message": "fine"},
        {"ok": False, "message": "no till"},
        None,
        "odd",
        {"ok": 1, "message": 2},
    ]

    async def answer(_invocation: Invocation) -> Any:
        return answers.pop(0)

    house.runner.handlers["health"] = answer
    await web("POST", "/install", json=INSTALL)
    seen = [(await web("GET", "/points/health")).json() for _ in range(5)]
    assert [(report["status"], report["message"]) for report in seen] == [
        ("ok", "fine"), ("failing", "no till"), ("ok", ""), ("ok", ""), ("ok", ""),
    ]  # fmt: skip
    house.fails("health", "cannot reach the bank")
    failing = (await web("GET", "/points/health")).json()
    assert (failing["status"], failing["message"], failing["code"]) == (
        "failing",
        "cannot reach the bank",
        "refused-by-plugin",
    )
    await web("POST", "/points/deactivate")
    assert (await web("GET", "/points/health")).json()["status"] == "inactive"


async def test_records_of_one_installation_are_shown_and_go_with_it(house: House, web: Web, recorder: Recorder) -> None:
    offered(house)
    installed = (await web("POST", "/install", json=INSTALL)).json()
    recorder.record(
        InvocationRecord(
            id="inv_1", tenant_id=TENANT, installation_id=installed["id"], plugin="points", version="1.0.0",
            kind="event", name="sale.created", handler="award", caller_id=None, caller_role=None,
            started_at=1_780_000_000.0, duration_us=1500, cpu_us=900, host_calls=1, memory_kb=0, status="error",
            error_code="plugin-error",
            error_message="ValueError: no", error_trace="Traceback …", delivery_id=None,
            log=[("info", "awarded", {"n": 1})],
        )
    )  # fmt: skip
    assert (await web("GET", "/points/stats")).json()["failures"] == 1
    assert (await web("GET", "/points/errors")).json()["items"][0]["error_trace"] == "Traceback …"
    assert (await web("GET", "/points/invocations")).json()["items"][0]["id"] == "inv_1"
    assert (await web("GET", "/points/logs")).json()["items"][0]["message"] == "awarded"
    assert (await web("GET", "/points/logs", params={"level": "loud"})).json()["code"] == "log-level-invalid"
    owned = (await web("GET", "/points/inventory")).json()["owned"]
    assert (owned["secrets"], owned["invocations"], owned["logs"]) == (1, 1, 1)
    assert (await web("DELETE", "/points")).json()["owned"] == owned
    await web("POST", "/install", json=INSTALL)
    assert set((await web("GET", "/points/inventory")).json()["owned"].values()) == {0, 1}
    assert (await web("GET", "/points/invocations")).json()["items"] == []


async def test_deliveries_are_shown_and_replayed(house: House, web: Web) -> None:
    from datetime import UTC, datetime

    offered(house)
    house.catalogue.add(plugin_of("other"))
    await house.lifecycle.install(TENANT, "other")
    installed = (await web("POST", "/install", json=INSTALL)).json()
    now = datetime.now(UTC)
    async with house.database.write(TENANT) as session:
        session.add(
            OutboxEvent(id="ev_1", tenant_id=TENANT, name="sale.created", payload="{}", source="host", created_at=now)
        )
        await session.flush()
        session.add(
            Delivery(
                id="dlv_1", event_id="ev_1", tenant_id=TENANT, installation_id=installed["id"], handler="award",
                event="sale.created", ordered=True, state="dead", place=None, attempt=5, failures=5, interruptions=0,
                max_attempts=5, created_at=now, finished_at=now,
            )
        )  # fmt: skip
    [shown] = (await web("GET", "/points/deliveries", params={"state": "dead"})).json()["items"]
    assert (shown["id"], shown["state"]) == ("dlv_1", "dead")
    assert (await web("POST", "/points/deliveries/dlv_1/replay", "member")).status_code == 403
    assert (await web("POST", "/other/deliveries/dlv_1/replay")).json()["code"] == "delivery-not-found"
    assert (await web("POST", "/points/deliveries/dlv_1/replay")).json()["state"] == "pending"
    await web("POST", "/points/deactivate")
    assert (await web("GET", "/points/deliveries")).json()["items"][0]["state"] == "skipped"
    await web("DELETE", "/points")
    assert await house.rows(Delivery) == []


async def test_an_update_that_asks_for_more_is_accepted_and_waits(house: House, web: Web) -> None:
    house.catalogue.add(plugin_of())
    house.catalogue.add(
        plugin_of(version="1.1.0", permissions=["customers:read"], permission_reasons={"customers:read": "To greet."})
    )
    await web("POST", "/install", json={"slug": "points", "version": "1.0.0"})
    waiting = await web("POST", "/points/update")
    assert (waiting.status_code, waiting.json()["version"]) == (202, "1.0.0")
    (listed,) = (await web("GET", "", "member")).json()["items"]
    (missing,) = listed["pending_update"]["missing"]
    assert (missing["permission"], missing["text"], missing["risk"], missing["reason"]) == (
        "customers:read", "see your customers", "medium", "To greet.",
    )  # fmt: skip
    assert (await web("DELETE", "/points/update", "member")).status_code == 403
    assert (await web("DELETE", "/points/update", "stranger")).status_code == 404
    assert (await web("DELETE", "/points/update", "admin")).json()["pending_update"] is None
    assert (await web("DELETE", "/points/update")).json()["code"] == "nothing-pending"
    assert (await web("POST", "/points/update")).status_code == 202
    where = [["name", "eq", "$user.id"]]
    done = await web("PUT", "/points/grants", json={"grants": [{"permission": "customers:read", "where": where}]})
    assert (done.status_code, done.json()["version"], done.json()["pending_update"]) == (200, "1.1.0", None)
    assert done.json()["grant_filters"] == {"customers:read": where}


@pytest.mark.parametrize(
    ("grant", "status", "code"),
    [
        ({"permission": "customers:read", "where": [["name", "is", 1]]}, 422, "row-filter-invalid"),
        ({"permission": "customers:read", "where": "name"}, 422, "request-invalid"),
        ({"permission": "customers:read", "rows": []}, 422, "request-invalid"),
        ({"permission": "invoices:write"}, 403, "grant-not-held"),
        ({"permission": "x" * 201}, 422, "request-invalid"),
    ],
)
async def test_a_grant_that_cannot_be_given_is_refused_with_a_code(
    house: House, web: Web, grant: Any, status: int, code: str
) -> None:
    house.catalogue.add(plugin_of(optional_permissions=["customers:read", "invoices:write"]))
    await web("POST", "/install", json={"slug": "points"})
    refused = await web("PUT", "/points/grants", "admin", json={"grants": [grant]})
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert refused.json()["hint"]


async def test_what_a_plugin_made_of_its_grants_can_be_looked_up(house: House, web: Web, recorder: Recorder) -> None:
    house.catalogue.add(plugin_of())
    installed = (await web("POST", "/install", json={"slug": "points"})).json()
    recorder.record(
        InvocationRecord(
            id="inv_1", tenant_id=TENANT, installation_id=installed["id"], plugin="points", version="1.0.0",
            kind="function", name="f", handler="f", caller_id="mem_2", started_at=1.0, permissions={"storage": 4},
        )
    )  # fmt: skip
    found = {p["permission"]: p for p in (await web("GET", "/points/permissions")).json()}
    assert (found["storage"]["uses"], found["storage"]["users"][0]["user_id"]) == (4, "mem_2")
    assert (found["log"]["uses"], found["log"]["last_used_at"]) == (0, None)
