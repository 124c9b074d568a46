"""A platform with the hostile plugins installed for one tenant, and a neighbour who only wants to work."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Container, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import structlog

from jackfield import Platform, Settings, Surface, ensure_key_file, isolation
from jackfield.isolation import doctor
from jackfield.settings import CrashSettings, HealthSettings, PlanSettings, QuotaSettings
from jackfield_cli.keys import SigningKey, create_key
from jackfield_cli.pack import pack_project
from jackfield_sandbox import Layer
from tests.hostile import leaks
from tests.hostile.canaries import Canaries
from tests.hostile.case import OK, Case, Class, Plugin

__all__ = ["ATTACKER", "BYSTANDER", "House", "Packages", "Verdict", "pack", "running", "withstands"]

ATTACKER, BYSTANDER = "attacker", "bystander"
BUDGET_S = 3.0
"""What a neighbour's call may take while an attack runs. A human would not wait longer; the machine may be busy."""
_HERE = Path(__file__).parent

_NEIGHBOUR = """
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("neighbour", version="1.0.0", permissions=["storage"])


@plugin.config
class Config:
    api_key: jf.Secret | None = None


@plugin.table("notes")
class Note:
    text: str


@plugin.function()
def settle(ctx: jf.Context, note: str, row: str) -> str:
    ctx.storage.set("note", note)
    ctx.storage.set("stock", 42)
    return ctx.tables["notes"].insert(text=row)["id"]


@plugin.function()
def work(ctx: jf.Context, number: int) -> list[int]:
    return [number + 1, ctx.storage.get("stock")]
"""


@dataclass(frozen=True)
class Packages:
    """Signed packages of all plugins, by slug, and their publisher's key."""

    files: dict[str, Path]
    permissions: dict[str, tuple[str, ...]]
    key: SigningKey

    def only(self, slugs: Container[str]) -> Packages:
        """Some of them."""
        return replace(self, files={slug: path for slug, path in self.files.items() if slug in slugs})


def pack(
    folder: Path, classes: Sequence[Class], plugins: Sequence[Plugin] = (), others: Mapping[str, str] | None = None
) -> Packages:
    """Make the packages, as their author would.

    Args:
        plugins: More plugins than those that the classes run in.
        others: Slug → source of still others.
    """
    key = create_key(folder / "keys")
    every = {plugin.slug: plugin for plugin in (*(cls.plugin for cls in classes), *plugins)}
    sources = {slug: plugin.source(classes) for slug, plugin in every.items()}
    sources |= {"neighbour": _NEIGHBOUR, **(others or {})}
    arsenal = (_HERE / "arsenal.py").read_text()
    files: dict[str, Path] = {}
    for slug, source in sources.items():
        project = folder / slug
        project.mkdir()
        (project / "plugin.py").write_text(source)
        (project / "arsenal.py").write_text(arsenal)
        (project / "pyproject.toml").write_text(f'[project]\nname = "{slug}"\nversion = "1.0.0"\n')
        files[slug] = pack_project(project, folder / f"{slug}.jfp", key=key).path
    permissions = {slug: plugin.permissions for slug, plugin in every.items()} | {"neighbour": ("storage",)}
    return Packages(files, permissions, key)


@dataclass(frozen=True)
class Verdict:
    """How one attack ended, as its tenant's admin sees it."""

    status: str
    code: str | None
    message: str
    output: Any
    seconds: float

    def __str__(self) -> str:
        what = f"output {self.output!r}"[:300] if self.status == "ok" else f"{self.message!r}"[:300]
        return f"{self.status}/{self.code} after {self.seconds:.2f} s: {what}"


@dataclass
class House:
    """The platform and everything that is looked at from outside.

    Attributes:
        said: All that has come out of the platform to the attacking tenant.
    """

    platform: Platform
    canaries: Canaries
    tokens: dict[str, str]
    said: list[str] = field(default_factory=list[str])
    logged: list[Any] = field(default_factory=list[Any])
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    _clients: dict[str, httpx.AsyncClient] = field(default_factory=dict[str, httpx.AsyncClient])
    _works: int = 0

    @property
    def level(self) -> str:
        return self.platform.settings.isolation

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """One request of the API by a tenant's owner."""
        response = await self._clients[who].request(method, path, json=body)
        if who == ATTACKER:
            self.said.append(response.text)
        return response

    async def call(self, who: str, slug: str, function: str, **arguments: Any) -> dict[str, Any]:
        """One call of a function; the answer."""
        path = f"/api/plugins/{slug}/functions/{function}"
        return (await self.ask(who, "POST", path, {"arguments": arguments})).json()

    async def begin_anew(self) -> None:
        """End all of the attacker's processes: what one case has broken must not stop the next one."""
        for installation in (await self.platform.active.get(ATTACKER)).by_slug.values():
            await self.platform.isolates.retire(installation.id)

    async def attack(self, cls: Class, case: Case) -> Verdict:
        """Run a case, look at its record."""
        slug = cls.plugin.slug
        started = time.monotonic()
        answer = await self.call(ATTACKER, slug, cls.function(case), about=self.facts)
        seconds = time.monotonic() - started
        record = await self.record(slug, answer["metrics"]["invocation_id"])
        return Verdict(
            record["status"], record["error_code"], record["error_message"] or "", answer.get("output"), seconds
        )

    async def record(self, slug: str, invocation_id: str) -> dict[str, Any]:
        """The record of one call, where an admin finds it; a failure is among the errors, too.

        Raises:
            AssertionError: It is not there.
        """
        found = (await self.ask(ATTACKER, "GET", f"/api/plugins/{slug}/invocations?limit=20")).json()["items"]
        records = [item for item in found if item["id"] == invocation_id]
        assert len(records) == 1, f"{len(records)} records of the call {invocation_id!r}"
        record = records[0]
        if record["status"] not in ("ok", "user-error", "veto", "retry"):
            errors = (await self.ask(ATTACKER, "GET", f"/api/plugins/{slug}/errors")).json()["items"]
            assert invocation_id in [item["id"] for item in errors], "a failure that is not among the errors"
        return record

    async def neighbour_works(self) -> float:
        """A neighbour's call, and what it took.

        Raises:
            AssertionError: It did not answer, or not rightly.
        """
        self._works += 1
        started = time.monotonic()
        answer = await self.call(BYSTANDER, "neighbour", "work", number=self._works)
        seconds = time.monotonic() - started
        assert answer["output"] == [self._works + 1, 42], f"the neighbour's call went wrong: {answer}"
        assert seconds < BUDGET_S, f"the neighbour waited {seconds:.1f} s"
        return seconds

    async def is_well(self) -> None:
        """The server, the neighbour, and the tripwires.

        Raises:
            AssertionError: One of them is not as it should be.
        """
        health = await self.ask(BYSTANDER, "GET", "/api/health")
        assert (health.status_code, health.json()["status"]) == (200, "ok"), health.text
        await self.neighbour_works()
        assert self.canaries.tripped() == []
        assert leaks.children_of_isolates(self.platform.isolates.pids()) == []
        assert not self.canaries.seen_in("\n".join(self.said[-20:])), "a canary has been seen"

    async def everything_said(self) -> str:
        """Answers, records, errors with their traces, logs, audit: all that the attacker can read, and our own log."""
        for slug in [
            item["slug"] for item in (await self.ask(ATTACKER, "GET", "/api/plugins?limit=100")).json()["items"]
        ]:
            for page in ("logs?limit=100", "errors", "invocations?limit=100", "stats", "inventory", "health", ""):
                await self.ask(ATTACKER, "GET", f"/api/plugins/{slug}/{page}".rstrip("/"))
        await self.ask(ATTACKER, "GET", "/api/audit?limit=100")
        return "\n".join((*self.said, json.dumps(self.logged, default=str)))


async def withstands(house: House, cls: Class, case: Case) -> Verdict:
    """The three claims about one case: it fails, others go on, and it is on record.

    Raises:
        AssertionError: One of them does not hold.
    """
    attack = asyncio.ensure_future(house.attack(cls, case))
    await house.neighbour_works()
    verdict = await attack
    await house.is_well()
    assert any(end.fits(verdict.status, verdict.code, verdict.message) for end in case.ends), f"ended {verdict}"
    if verdict.status == OK.status:
        assert case.accepts is not None
        assert case.accepts(verdict.output), f"got {verdict.output!r}"[:500]
    return verdict


@contextlib.asynccontextmanager
async def running(
    folder: Path, level: str, packages: Packages, canaries: Canaries, *, without: Layer = Layer(0)
) -> AsyncGenerator[House]:
    """The platform at a level; in a folder that has been used before, with what was installed there.

    Args:
        without: Layers to leave off. The platform has no such switch, so its supervisor is made by other hands.
    """
    is_new = not folder.exists()  # noqa: ASYNC240  # nothing else runs yet
    if is_new:
        ensure_key_file(folder)
    settings = Settings(
        data_dir=folder,
        isolation=level,  # pyright: ignore[reportArgumentType]  # one of the levels
        # Here a plugin dies five hundred times; that it would be taken from work is tested elsewhere.
        health=HealthSettings(crashes=CrashSettings(grace=100_000, limit=100_000)),
        plans={"hostile": PlanSettings(tenant=QuotaSettings(), plugin=QuotaSettings(storage_bytes=8 << 20))},
    )
    with mock.patch("jackfield.isolation.Supervisor", functools.partial(isolation.Supervisor, without=without)):
        platform = Platform(settings, Surface())
    with structlog.testing.capture_logs() as logged, _self_attack(is_wanted=not without):
        async with platform:
            if is_new:
                await _publish(platform, packages)
            tokens: dict[str, str] = {}
            for tenant in (ATTACKER, BYSTANDER):
                await platform.tenants.ensure_tenant(tenant, name=tenant, plan="hostile")
                tokens[tenant] = (await platform.tenants.issue_token("owner", tenant_id=tenant)).plaintext
            house = House(platform, canaries, tokens, logged=logged)
            async with contextlib.AsyncExitStack() as stack:
                for who, token in tokens.items():
                    house._clients[who] = await stack.enter_async_context(_client(platform, token))
                if is_new:
                    await _install(house, packages)
                installed = (await house.ask(BYSTANDER, "GET", "/api/plugins/neighbour")).json()
                house.facts |= {**canaries.facts, "neighbour": BYSTANDER, "installation": installed["id"]}
                yield house


@contextlib.contextmanager
def _self_attack(*, is_wanted: bool) -> Generator[None]:
    """The platform attacks itself when it starts, at the level that it is set to. With layers off, that is beside the
    point, and takes longer than the cases."""
    if is_wanted:
        yield
        return

    async def looks_away(level: str, *_rest: object) -> doctor.Report:
        return doctor.Report(level)

    with mock.patch.object(doctor, "examine", looks_away):
        yield


def _client(platform: Platform, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=platform.asgi, raise_app_exceptions=False), base_url="http://test",
        headers={"Authorization": f"Bearer {token}"}, timeout=60,
    )  # fmt: skip


async def _publish(platform: Platform, packages: Packages) -> None:
    await platform.registry.ensure_publisher("pub", "Pub")
    await platform.registry.add_key("pub", packages.key.public, packages.key.proof("pub"), name="test")

    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        yield data

    for path in packages.files.values():
        await platform.registry.publish(chunks(path.read_bytes()), "pub")


async def _install(house: House, packages: Packages) -> None:
    canary = house.canaries.make
    for slug in packages.files:
        for who in (ATTACKER, BYSTANDER):
            if (slug == "neighbour" and who == ATTACKER) or (who == BYSTANDER and slug not in _AT_THE_BYSTANDER):
                continue
            body: dict[str, Any] = {"slug": slug, "grants": list(packages.permissions.get(slug, ()))}
            if who == BYSTANDER:
                body["config"] = {"api_key": canary("secret")}
            elif slug == "hostile-between":
                body["config"] = {"api_key": canary("own-secret")}
            response = await house.ask(who, "POST", "/api/plugins/install", body)
            assert response.status_code == 201, response.text
            if who == BYSTANDER:
                answer = await house.call(who, slug, "settle", note=canary("storage"), row=canary("row"))
                assert answer["success"], answer
                house.facts["row"] = answer["output"]


_AT_THE_BYSTANDER = ("neighbour", "hostile-tenant")
"""The neighbour has a plugin of its own, and one that the attacker has, too."""
