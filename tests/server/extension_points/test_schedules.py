"""A plugin's schedules, from its manifest to the run of its handler, through everything that happens to a plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from jackfield import Platform, Settings, Surface, ensure_key_file
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project

SOURCE = """
import jackfield_sdk as jf

plugin = jf.Plugin("nightly", version="VERSION")


@plugin.schedule("CRON", name="purge", timezone="Europe/Vienna", catch_up="once")
def purge(ctx: jf.Context) -> None:
    ctx.storage.set("ran", [*ctx.storage.get("ran", []), [ctx.trigger, ctx.execution.kind, ctx.delivery.attempt]])
    if ctx.storage.get("fails"):
        raise RuntimeError("broken")


@plugin.function()
def ran(ctx: jf.Context) -> list[list[str | int]]:
    return ctx.storage.get("ran", [])
"""


class House:
    def __init__(self, platform: Platform, folder: Path, owner: httpx.AsyncClient, key: Any) -> None:
        self.platform, self.folder, self.owner, self.key = platform, folder, owner, key

    async def publish(self, version: str, cron: str = "30 3 * * *") -> httpx.Response:
        project = self.folder / version
        project.mkdir()
        (project / "plugin.py").write_text(SOURCE.replace("VERSION", version).replace("CRON", cron))
        (project / "pyproject.toml").write_text(f'[project]\nname = "nightly"\nversion = "{version}"\n')
        pack_project(project, project / "out.jfp", key=self.key)
        token = (await self.platform.tenants.issue_token("publisher", publisher_id="pub")).plaintext
        return await self.owner.post(
            "/api/registry/releases", content=(project / "out.jfp").read_bytes(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"},
        )  # fmt: skip

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.owner.request(method, f"/api/plugins{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def schedule(self) -> dict[str, Any]:
        (found,) = (await self.ask("GET", "/nightly/schedules"))["items"]
        return found

    async def ran(self) -> list[list[str | int]]:
        await self.platform.drain_events()
        return (await self.ask("POST", "/nightly/functions/ran", arguments={}))["output"]

    async def traces(self) -> list[str]:
        """To which traces its runs belong."""
        calls = (await self.ask("GET", "/nightly/invocations"))["items"]
        return [call["trace_id"] for call in calls if call["kind"] == "schedule"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    ensure_key_file(tmp_path / "data")
    key = create_key(tmp_path / "keys")
    async with Platform(Settings(data_dir=tmp_path / "data", isolation="unprivileged"), Surface()) as platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await platform.tenants.ensure_tenant("acme", name="Acme")
        token = (await platform.tenants.issue_token("owner", tenant_id="acme")).plaintext
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=platform.asgi), base_url="http://test",
            headers={"Authorization": f"Bearer {token}"},
        ) as owner:  # fmt: skip
            yield House(platform, tmp_path, owner, key)


async def test_it_runs_when_asked_shows_its_times_and_its_runs(house: House) -> None:
    assert (await house.publish("1.0.0")).status_code == 201
    await house.ask("POST", "/install", slug="nightly", grants=[])
    shown = await house.schedule()
    assert (shown["name"], shown["cron"], shown["timezone"], shown["is_active"]) == (
        "purge", "30 3 * * *", "Europe/Vienna", True,
    )  # fmt: skip
    assert len(shown["coming"]) == 5
    assert shown["coming"][0] == shown["next_at"]
    house.owner.headers["traceparent"] = f"00-{'ab' * 16}-{'cd' * 8}-01"
    delivery = (await house.ask("POST", "/nightly/schedules/purge/run"))["delivery_id"]
    del house.owner.headers["traceparent"]
    assert await house.ran() == [["schedule", "schedule", 1]]
    assert await house.traces() == ["ab" * 16], "of the request that asked for it"
    history = (await house.ask("GET", "/nightly/schedules/purge/history"))["items"]
    assert [(run["id"], run["state"]) for run in history] == [(delivery, "done")]
    calls = (await house.ask("GET", "/nightly/invocations"))["items"]
    assert [call["name"] for call in calls if call["kind"] == "schedule"] == ["purge"]
    missing = await house.owner.post("/api/plugins/nightly/schedules/nothing/run")
    assert (missing.status_code, missing.json()["code"]) == (404, "schedule-not-found")


async def test_it_fires_by_itself(house: House) -> None:
    await house.publish("1.0.0")
    await house.ask("POST", "/install", slug="nightly", grants=[])
    database, clock = house.platform.database, house.platform.clock
    from sqlalchemy import update

    from jackfield.jobs.models import ScheduleRow

    async with database.write(None) as session:
        due = clock.now() - timedelta(seconds=1)
        await session.execute(update(ScheduleRow).values(next_at=due, due_at=due))
    await house.platform.schedules.fire_due()
    assert await house.ran() == [["schedule", "schedule", 1]]
    (trace,) = await house.traces()
    assert len(trace) == 32, "one of its own"
    assert (await house.schedule())["last_fired_at"]


async def test_it_follows_the_life_of_its_plugin(house: House) -> None:
    await house.publish("1.0.0")
    await house.ask("POST", "/install", slug="nightly", grants=[])
    await house.ask("POST", "/nightly/deactivate")
    assert (await house.schedule())["next_at"] is None
    refused = await house.owner.post("/api/plugins/nightly/schedules/purge/run")
    assert (refused.status_code, refused.json()["code"]) == (409, "schedule-inactive")
    await house.ask("POST", "/nightly/activate")
    paused = await house.ask("POST", "/nightly/schedules/purge/pause")
    assert (paused["next_at"], paused["coming"]) == (None, [])
    assert paused["paused_by"]
    await house.publish("1.1.0", "0 4 * * *")
    await house.ask("POST", "/nightly/update")
    updated = await house.schedule()
    assert (updated["cron"], updated["next_at"]) == ("0 4 * * *", None)
    assert (await house.ask("POST", "/nightly/schedules/purge/resume"))["next_at"]
    await house.ask("POST", "/nightly/rollback")
    assert (await house.schedule())["cron"] == "30 3 * * *"
    owned = (await house.ask("GET", "/nightly/inventory"))["owned"]
    assert owned["schedules"] == 1
    await house.ask("DELETE", "/nightly?data=delete")
    async with house.platform.database.read(None) as session:
        from sqlalchemy import func, select

        from jackfield.jobs.models import ScheduleRow

        assert await session.scalar(select(func.count()).select_from(ScheduleRow)) == 0


@pytest.mark.parametrize("cron", ["99 * * * *", "0 0 31 2 *", "whenever"])
async def test_a_release_with_a_schedule_that_never_runs_is_not_published(house: House, cron: str) -> None:
    refused = await house.publish("1.0.0", cron)
    assert (refused.status_code, refused.json()["code"]) == (422, "cron-invalid")
