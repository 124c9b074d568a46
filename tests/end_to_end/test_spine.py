"""The spine: from publishing to uninstalling, and two tenants who see nothing of each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.demo import Demo, running_demo

ROOT = Path(__file__).parents[2]
SHOP, CLINIC = "corner-shop", "harbour-clinic"

HOSTILE = """
import os
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("hostile", version="1.0.0", optional_permissions=["customers:read"])


@plugin.function()
def loop(ctx: jf.Context) -> None:
    while True:
        pass


@plugin.function()
def fork(ctx: jf.Context) -> None:
    os.fork()


@plugin.function()
def eat(ctx: jf.Context) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


@plugin.function()
def flood(ctx: jf.Context) -> None:
    while True:
        print("x" * 1000)


@plugin.function()
def lie(ctx: jf.Context) -> int:
    return "not a number"


@plugin.function()
def garbage(ctx: jf.Context) -> Any:
    return object()


@plugin.function()
def peek(ctx: jf.Context) -> list:
    return ctx.data["customers"].list()


@plugin.function()
def secret(ctx: jf.Context) -> str:
    return open("/etc/passwd").read()


@plugin.function()
def fine(ctx: jf.Context, n: int) -> int:
    return n + 1


@plugin.on("demo.ping")
def heard(ctx: jf.Context, ping: jf.hooks.Ping) -> None:
    ctx.storage.set("last", ping.n)


@plugin.function()
def last(ctx: jf.Context) -> int | None:
    return ctx.storage.get("last")
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("spine") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def cli(demo: Demo, home: Path, token: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `jackfield` as an author or admin would."""
    environment = {
        **os.environ, "JACKFIELD_URL": demo.url, "JACKFIELD_TOKEN": token, "JACKFIELD_HOME": str(home), "NO_COLOR": "1",
    }  # fmt: skip
    done = subprocess.run(
        [str(Path(sys.executable).with_name("jackfield")), *arguments],
        check=False, capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def hostile(demo: Demo, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A hostile plugin, made, published and installed by the command line alone."""
    folder = tmp_path_factory.mktemp("hostile") / "hostile"
    folder.mkdir()
    (folder / "plugin.py").write_text(HOSTILE)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "hostile"\nversion = "1.0.0"\ndependencies = ["jackfield-sdk"]\n'
    )
    package = folder.parent / "hostile.jfp"
    cli(demo, home, demo.facts["publisher_token"], "pack", str(folder), "-o", str(package))
    cli(demo, home, demo.facts["publisher_token"], "publish", str(package))
    cli(demo, home, demo.token(SHOP, "owner"), "install", "hostile", "--grant-all")
    return demo


def _call(api: httpx.Client, slug: str, function: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    return api.post(f"/api/plugins/{slug}/functions/{function}", json={"arguments": arguments or {}}).json()


def test_an_echo_goes_from_a_folder_to_an_answer_by_the_command_line(demo: Demo, home: Path, tmp_path: Path) -> None:
    owner = demo.token(CLINIC, "owner")
    cli(demo, home, owner, "install", "echo", "--grant-all")
    answer = json.loads(cli(demo, home, owner, "call", "echo", "echo", '{"text": "hi"}').stdout)
    assert answer["text"] == "hi"
    assert answer["tenant_id"] == CLINIC
    cli(demo, home, owner, "uninstall", "echo", "--yes")
    gone = cli(demo, home, owner, "call", "echo", "echo", '{"text": "hi"}', check=False)
    assert gone.returncode == 1
    assert "plugin-not-active" in gone.stdout + gone.stderr


@pytest.mark.parametrize(("function", "codes"), [
    ("loop", {"cpu-exceeded", "deadline-exceeded"}),
    ("fork", {"plugin-error"}),
    ("eat", {"memory-exceeded"}),
    ("flood", {"protocol-violation"}),
    ("lie", {"result-invalid"}),
    ("garbage", {"result-not-data"}),
    ("secret", {"plugin-error"}),
])  # fmt: skip
def test_a_plugin_that_misbehaves_gives_a_typed_error_and_the_next_call_works(
    hostile: Demo, function: str, codes: set[str]
) -> None:
    with hostile.api(hostile.token(SHOP, "owner")) as api:
        answer = _call(api, "hostile", function)
        assert answer["success"] is False
        assert answer["error"]["code"] in codes, answer
        assert answer["error"]["message"]
        assert "root:" not in json.dumps(answer)
        assert _call(api, "hostile", "fine", {"n": 1})["output"] == 2
        assert api.get("/api/health").json()["status"] == "ok"


def test_a_permission_can_be_withdrawn_while_it_runs(hostile: Demo) -> None:
    with hostile.api(hostile.token(SHOP, "owner")) as api:
        assert _call(api, "hostile", "peek")["success"] is True
        granted = api.get("/api/plugins/hostile").json()["grants"]
        without = [permission for permission in granted if permission != "customers:read"]
        assert api.put("/api/plugins/hostile/grants", json={"grants": without}).status_code == 200
        answer = _call(api, "hostile", "peek")
        assert (answer["success"], answer["error"]["code"]) == (False, "permission-denied")
        assert api.put("/api/plugins/hostile/grants", json={"grants": granted}).status_code == 200
        assert _call(api, "hostile", "peek")["success"] is True


def test_wrong_arguments_never_wake_the_plugin(hostile: Demo) -> None:
    with hostile.api(hostile.token(SHOP, "member")) as api:
        before = api.get("/api/plugins/hostile/stats").json()["calls"]
        answer = api.post("/api/plugins/hostile/functions/fine", json={"arguments": {"n": "one"}})
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "arguments-invalid"
        assert api.get("/api/plugins/hostile/stats").json()["calls"] == before


def test_an_event_reaches_the_plugin(hostile: Demo) -> None:
    with hostile.api(hostile.token(SHOP, "owner")) as api:
        assert api.post("/api/events/demo.ping", json={"n": 7}).status_code == 202
        deadline = time.monotonic() + 20
        while _call(api, "hostile", "last")["output"] != 7:
            assert time.monotonic() < deadline
        assert api.post("/api/events/demo.ping", json={"n": "x"}).json()["code"] == "payload-invalid"
        assert api.post("/api/events/demo.pong", json={}).json()["code"] == "event-unknown"


JSON = {"content-type": "application/json"}
PACKAGE = {"content-type": "application/octet-stream"}
LONG = b'{"arguments": {"text": "' + b"x" * 3_000_000 + b'"}}'


@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        (lambda api: api.get("/api/plugins", headers={"Authorization": ""}), 401, None),
        (lambda api: api.get("/api/plugins", headers={"Authorization": "Bearer jf_owner_x"}), 401, "token-invalid"),
        (lambda api: api.post("/api/plugins/install", json={"slug": "nothing", "grants": []}), 404, "plugin-not-found"),
        (lambda api: api.post("/api/plugins/install", content=b"{", headers=JSON), 422, None),
        (lambda api: api.post("/api/plugins/echo/functions/echo", content=LONG, headers=JSON), 413, "body-too-large"),
        (lambda api: api.post("/api/registry/releases", content=b"not a package", headers=PACKAGE), 403, None),
        (lambda api: api.get("/api/plugins/../../etc/passwd"), 404, None),
        (lambda api: api.get("/api/plugins/ui-components/No.Such"), 404, "slot-unknown"),
    ],
)
def test_bad_requests_are_problem_documents(demo: Demo, make: Any, status: int, code: str | None) -> None:
    with demo.api(demo.token(CLINIC, "owner")) as api:
        answer = make(api)
        assert answer.status_code == status, answer.text
        document = answer.json()
        assert document["code"]
        assert code is None or document["code"] == code


def test_garbage_is_no_package(demo: Demo) -> None:
    with demo.api(demo.facts["publisher_token"]) as api:
        answer = api.post(
            "/api/registry/releases", content=b"garbage" * 100, headers={"content-type": "application/octet-stream"}
        )
        assert answer.status_code == 422
        assert answer.json()["code"]


def test_a_member_may_use_but_not_change(demo: Demo) -> None:
    with demo.api(demo.token(SHOP, "member")) as api:
        assert api.get("/api/plugins").status_code == 200
        assert api.post("/api/plugins/loyalty-points/deactivate").status_code == 403
        assert api.post("/api/plugins/install", json={"slug": "echo", "grants": []}).status_code == 403


def test_the_second_tenant_sees_nothing_of_the_first_by_any_request_of_the_api(hostile: Demo) -> None:
    with hostile.api(hostile.token(SHOP, "owner")) as first:
        installation = first.get("/api/plugins/hostile").json()["id"]
        document = first.get("/api/openapi.json").json()
        _call(first, "hostile", "fine", {"n": 1})
    fillers = {
        "slug": "hostile",
        "name": "fine",
        "slot": "Dashboard.Widgets",
        "path": "x",
        "id": installation,
        "version": "1.0.0",
    }
    seen: list[str] = []
    with hostile.api(hostile.token(CLINIC, "owner")) as second:
        for path, operations in document["paths"].items():
            filled = path
            for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
                filled = filled.replace(f"{{{name}}}", fillers.get(name, installation))
            for method in operations:
                if path == "/api/stream":
                    # It does not end; what it begins with has to do, and `tests/server/live` has the rest.
                    with second.stream("GET", filled) as stream:
                        assert installation not in next(stream.iter_text())
                    continue
                if method == "get":
                    answer = second.get(filled)
                elif "/api/registry" in path or "/api/tenants" in path:
                    continue
                else:
                    answer = second.request(method, filled, json={"arguments": {"n": 1}, "grants": [], "config": {}})
                text = answer.text
                if path.startswith("/api/marketplace"):
                    # The catalogue is everybody's.
                    continue
                # The demo's programs are called as the first tenant is; they are the platform's own here.
                own = text.replace("corner-shop-demo", "").replace('"actor":"corner-shop"', "")
                assert SHOP not in own, (method, filled, text[:300])
                assert installation not in own.replace(filled, ""), (method, filled, text[:300])
                if path.startswith("/api/plugins/{slug}"):
                    assert answer.status_code in {403, 404, 405, 422}, (method, filled, answer.status_code, text[:300])
                    assert '"success":true' not in text
                seen.append(f"{method} {path}")
    assert len(seen) > 25
    with hostile.api(hostile.token(SHOP, "owner")) as first:
        assert first.get("/api/plugins/hostile").json()["state"] == "active"


def test_a_sale_earns_points_that_can_be_redeemed_and_uninstalling_leaves_nothing(demo: Demo) -> None:
    with demo.api(demo.token(SHOP, "owner")) as api:
        sale = {"id": "sale-spine-1", "total": 25.0, "customer_id": "c-spine", "items": []}
        assert api.post("/api/events/sale.created", json=sale).status_code == 202
        deadline = time.monotonic() + 20
        while (answer := api.get("/api/plugins/loyalty-points/api/points/c-spine").json()).get(
            "balance", answer.get("points")
        ) != 25:
            assert time.monotonic() < deadline, answer
        too_much = api.post("/api/plugins/loyalty-points/api/points/c-spine/redeem", json={"points": 1000})
        assert too_much.status_code == 400
        redeemed = api.post("/api/plugins/loyalty-points/api/points/c-spine/redeem", json={"points": 20})
        assert redeemed.status_code == 200, redeemed.text
        assert _call(api, "loyalty-points", "balance", {"customer_id": "c-spine"})["output"] == 5
        with demo.api(demo.token(CLINIC, "owner")) as other:
            assert other.get("/api/plugins/loyalty-points/api/points/c-spine").status_code == 404
        assert api.post("/api/plugins/loyalty-points/deactivate").status_code == 200
        assert api.get("/api/plugins/loyalty-points/api/points/c-spine").status_code == 404
        assert api.post("/api/plugins/loyalty-points/activate").status_code == 200
        assert _call(api, "loyalty-points", "balance", {"customer_id": "c-spine"})["output"] == 5
        assert api.delete("/api/plugins/loyalty-points").status_code == 200
        assert api.get("/api/plugins/loyalty-points").status_code == 404
        plan = api.post("/api/plugins/plan", json={"slug": "loyalty-points"}).json()
        grants = [permission["permission"] for permission in plan["permissions"]]
        assert api.post("/api/plugins/install", json={"slug": "loyalty-points", "grants": grants}).status_code == 201
        assert _call(api, "loyalty-points", "balance", {"customer_id": "c-spine"})["output"] == 0
