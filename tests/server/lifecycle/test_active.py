"""What is at work in a tenant: sorted, cached, loaded once, and never older than the last change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from jackfield.invocation import ActiveInstallation
from jackfield.lifecycle import ActiveInstallations
from jackfield.lifecycle.active import assemble
from jackfield_sdk.manifest import EventHandler, Filter, Manifest, Widget


def active(slug: str, tenant: str = "acme", id: str = "", **parts: Any) -> ActiveInstallation:
    manifest = Manifest(slug=slug, version="1.0.0", name=slug, **parts)
    return ActiveInstallation(
        id or f"inst_{slug}", tenant, slug, "1.0.0", "0" * 64, Path("/nowhere"), manifest, frozenset(), {}, (), 1
    )


class Loads:
    """Stands for the database; counts, and can be made to wait."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[str, ActiveInstallation]]] = {}
        self.count = 0
        self.gate: asyncio.Event | None = None

    async def active(self, tenant_id: str) -> tuple[list[tuple[str, ActiveInstallation]], list[ActiveInstallation]]:
        self.count += 1
        found = list(self.found.get(tenant_id, ()))
        if self.gate is not None:
            await self.gate.wait()
        return found, []


def cache_of(loads: Loads, capacity: int = 10) -> ActiveInstallations:
    return ActiveInstallations(loads, capacity)  # type: ignore[arg-type]  # has what is asked of `Snapshots`


def test_filters_run_by_priority_then_slug() -> None:
    plugins = assemble(
        [
            ("default", active("zeta", filters=[Filter(hook="a.b", handler="f", priority=1)])),
            ("default", active("beta", filters=[Filter(hook="a.b", handler="f", priority=5)])),
            (
                "default",
                active("alpha", filters=[Filter(hook="a.b", handler="f", priority=5), Filter(hook="a.c", handler="g")]),
            ),
        ]
    )
    assert [installation.slug for installation, _ in plugins.filters["a.b"]] == ["zeta", "alpha", "beta"]
    assert [part.handler for _, part in plugins.filters["a.c"]] == ["g"]


def test_widgets_stand_by_order_then_slug_and_events_by_slug() -> None:
    plugins = assemble(
        [
            (
                "default",
                active(
                    "beta",
                    widgets=[Widget(slot="A.B", handler="w", order=1)],
                    events=[EventHandler(event="a.b", handler="e")],
                ),
            ),
            (
                "default",
                active(
                    "alpha",
                    widgets=[Widget(slot="A.B", handler="w", order=1)],
                    events=[EventHandler(event="a.b", handler="e")],
                ),
            ),
            ("default", active("gamma", widgets=[Widget(slot="A.B", handler="w", order=0)])),
        ]
    )
    assert [installation.slug for installation, _ in plugins.widgets["A.B"]] == ["gamma", "alpha", "beta"]
    assert [installation.slug for installation, _ in plugins.events["a.b"]] == ["alpha", "beta"]


def test_every_instance_is_found() -> None:
    plugins = assemble([("south", active("a", id="inst_2")), ("default", active("a", id="inst_1"))])
    assert {key: installation.id for key, installation in plugins.by_slug.items()} == {
        "a": "inst_1",
        "a@south": "inst_2",
    }
    assert set(plugins.by_id) == {"inst_1", "inst_2"}


async def test_a_tenant_is_loaded_once_however_many_ask() -> None:
    loads = Loads()
    loads.found["acme"] = [("default", active("a"))]
    loads.gate = asyncio.Event()
    cache = cache_of(loads)
    assert cache.peek("acme") is None
    asking = [asyncio.create_task(cache.get("acme")) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    loads.gate.set()
    answers = await asyncio.gather(*asking[1:])
    assert loads.count == 1
    assert all(answer is answers[0] for answer in answers)
    assert cache.peek("acme") is answers[0]
    assert (await cache.by_id("acme", "inst_a")) is answers[0].by_slug["a"]
    assert await cache.by_id("acme", "inst_b") is None


async def test_what_was_loaded_before_a_change_is_not_kept() -> None:
    loads = Loads()
    loads.found["acme"] = [("default", active("a"))]
    loads.gate = asyncio.Event()
    cache = cache_of(loads)
    before = asyncio.create_task(cache.get("acme"))
    await asyncio.sleep(0)
    loads.found["acme"] = []
    cache.invalidate("acme")
    loads.gate.set()
    await before
    assert cache.peek("acme") is None
    assert (await cache.get("acme")).by_slug == {}


async def test_a_change_concerns_one_tenant() -> None:
    loads = Loads()
    cache = cache_of(loads)
    one, other = await cache.get("one"), await cache.get("other")
    cache.invalidate("one")
    assert cache.peek("one") is None
    assert cache.peek("other") is other
    assert await cache.get("one") is not one


async def test_the_tenant_that_was_used_least_lately_goes_first() -> None:
    cache = cache_of(Loads(), capacity=2)
    await cache.get("one")
    await cache.get("two")
    assert cache.peek("one") is not None
    await cache.get("three")
    assert cache.peek("two") is None
    assert cache.peek("one") is not None


async def test_a_load_that_fails_is_tried_again() -> None:
    loads = Loads()
    cache = cache_of(loads)

    async def fail(_tenant: str) -> Any:
        raise RuntimeError("no database")

    working, loads.active = loads.active, fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await cache.get("acme")
    loads.active = working  # type: ignore[method-assign]
    assert (await cache.get("acme")).by_slug == {}
