"""Uninstalling: no residue, an export that can be fetched, or data that waits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jackfield.errors import JackfieldError
from jackfield.invocation import Invocation
from jackfield.lifecycle import State
from jackfield.lifecycle.errors import ExportNotFoundError
from jackfield.lifecycle.models import OperationRow
from tests.server.lifecycle.conftest import CONFIG, OWNER, TENANT, House, plugin_of, with_config, with_hooks


async def installed(house: House, **options: Any) -> str:
    """Installs `points` with something in each of its stores; its id."""
    house.catalogue.add(with_config(with_hooks(plugin_of())))
    found = await house.lifecycle.install(TENANT, "points", config=CONFIG, **options)
    await house.owns(found.id)
    house.runner.calls.clear()
    return found.id


async def test_nothing_is_left_of_it(house: House) -> None:
    installation_id = await installed(house)
    removed = await house.lifecycle.uninstall(TENANT, "points", actor=OWNER)
    assert (removed.data, removed.version, removed.export_id) == ("delete", "1.0.0", None)
    assert removed.owned["storage_keys"] == 1
    assert await house.residue() == {}
    assert house.runner.names == ["points.on_deactivate", "points.on_uninstall"]
    assert installation_id in house.runner.retired
    assert await house.state() == "gone"
    assert (await house.active.get(TENANT)).by_slug == {}
    assert all(row.data == {} for row in await house.rows(OperationRow))
    entry = (await house.audit())[-1]
    assert (entry.action, entry.actor, entry.target) == ("plugin.uninstall", "member:mem_1", "points")
    assert entry.before is not None
    assert entry.before["state"] == "active"
    assert entry.after == {"state": "gone", "data": "delete"}


async def test_only_its_own_data_goes(house: House) -> None:
    await installed(house)
    other = await house.lifecycle.install("other", "points", config=CONFIG)
    await house.lifecycle.uninstall(TENANT, "points")
    assert await house.residue() == {"jf_installations": 1, "jf_secrets": 1}
    assert (await house.lifecycle.get("other", "points")).id == other.id


async def test_its_hooks_still_have_its_data(house: House) -> None:
    installation_id = await installed(house)
    seen: list[tuple[str, int]] = []

    async def look(invocation: Invocation) -> None:
        seen.append((await house.state(), (await house.residue())["jf_storage"]))
        assert invocation.installation.id == installation_id

    house.runner.handlers = {"on_deactivate": look, "on_uninstall": look}
    await house.lifecycle.uninstall(TENANT, "points")
    assert seen == [("uninstalling", 1), ("uninstalling", 1)]


async def test_failing_hooks_stop_nothing(house: House) -> None:
    await installed(house)
    house.fails("on_deactivate")
    house.fails("on_uninstall")
    await house.lifecycle.uninstall(TENANT, "points")
    assert await house.residue() == {}
    assert {("on_deactivate", "failed"), ("on_uninstall", "failed")} <= set(await house.steps())


async def test_what_others_need_cannot_be_removed(house: House) -> None:
    house.catalogue.add(plugin_of("base"))
    house.catalogue.add(plugin_of("points", requires={"base": ">=1"}))
    await house.lifecycle.install(TENANT, "points")
    with pytest.raises(JackfieldError) as refused:
        await house.lifecycle.uninstall(TENANT, "base")
    assert refused.value.code == "has-dependants"
    await house.lifecycle.uninstall(TENANT, "points")
    await house.lifecycle.uninstall(TENANT, "base")
    assert await house.residue() == {}


async def test_kept_data_is_found_again(house: House) -> None:
    installation_id = await installed(house)
    await house.lifecycle.uninstall(TENANT, "points", data="keep")
    assert await house.lifecycle.list(TENANT) == []
    assert await house.residue() == {"jf_installations": 1, "jf_storage": 1, "jf_table_rows": 1}
    assert (await house.active.get(TENANT)).by_slug == {}
    plan = await house.lifecycle.plan_install(TENANT, "points")
    assert plan.steps[-1].kept is not None
    again = await house.lifecycle.install(TENANT, "points", config=CONFIG)
    assert again.id == installation_id
    assert again.state is State.ACTIVE
    assert await house.residue() == {"jf_installations": 1, "jf_storage": 1, "jf_table_rows": 1, "jf_secrets": 1}


async def test_kept_data_comes_with_its_configuration_but_without_consent_and_secrets(house: House) -> None:
    house.catalogue.add(with_config(plugin_of(permissions=["customers:read"])))
    await house.lifecycle.install(TENANT, "points", grants=["customers:read"], config={**CONFIG, "shop": "south"})
    await house.lifecycle.uninstall(TENANT, "points", data="keep")
    with pytest.raises(JackfieldError) as refused:
        await house.lifecycle.install(TENANT, "points")
    assert refused.value.code == "grants-missing"
    again = await house.lifecycle.install(TENANT, "points", grants=["customers:read"])
    assert again.config["shop"] == "south"
    assert again.missing_config == ("api_key",)


async def test_a_failed_new_installation_leaves_kept_data_alone(house: House) -> None:
    installation_id = await installed(house)
    await house.lifecycle.uninstall(TENANT, "points", data="keep")
    house.fails("on_install")
    with pytest.raises(JackfieldError):
        await house.lifecycle.install(TENANT, "points", config={**CONFIG, "shop": "elsewhere"})
    assert await house.state() == "uninstalled"
    assert await house.residue() == {"jf_installations": 1, "jf_storage": 1, "jf_table_rows": 1}
    house.runner.handlers.clear()
    again = await house.lifecycle.install(TENANT, "points")
    assert (again.id, again.config["shop"]) == (installation_id, "north")


async def test_an_export_has_everything_but_secrets(house: House) -> None:
    await installed(house)
    removed = await house.lifecycle.uninstall(TENANT, "points", data="export")
    assert await house.residue() == {}
    assert removed.export_id is not None
    row, path = await house.lifecycle.exports.find(TENANT, removed.export_id)
    text = path.read_bytes()
    lines = [msgspec.json.decode(line) for line in text.splitlines()]
    assert [line["kind"] for line in lines] == ["export", "config", "storage", "row", "secret"]
    assert (lines[0]["plugin"], lines[0]["version"]) == ("points", "1.0.0")
    assert lines[1]["values"] == {"shop": "north"}
    assert (lines[2]["key"], lines[2]["value"]) == ("k", {"a": 1})
    assert (lines[3]["table"], lines[3]["id"], lines[3]["values"]) == ("ledger", "row_1", {"points": 3})
    assert lines[4] == {"kind": "secret", "name": "api_key"}
    assert b"s3cret-key" not in text
    assert (row.size_bytes, row.lines) == (len(text), 5)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent == house.data_dir / "exports" / TENANT


async def test_an_export_belongs_to_its_tenant(house: House) -> None:
    await installed(house)
    removed = await house.lifecycle.uninstall(TENANT, "points", data="export")
    assert removed.export_id is not None
    for tenant, export_id in (("other", removed.export_id), (TENANT, "exp_none"), (TENANT, "../other/x")):
        with pytest.raises(ExportNotFoundError):
            await house.lifecycle.exports.find(tenant, export_id)


async def test_an_export_that_cannot_be_written_removes_nothing(house: House) -> None:
    await installed(house)
    house.data_dir.mkdir()
    (house.data_dir / "exports").write_text("in the way")
    with pytest.raises(JackfieldError) as refused:
        await house.lifecycle.uninstall(TENANT, "points", data="export")
    assert refused.value.code == "export-failed"
    seen = await house.lifecycle.get(TENANT, "points")
    assert seen.state is State.INACTIVE
    assert seen.reason is not None
    assert seen.reason[0] == "export-failed"
    assert await house.residue() == {"jf_installations": 1, "jf_storage": 1, "jf_table_rows": 1, "jf_secrets": 1}
    (house.data_dir / "exports").unlink()
    await house.lifecycle.uninstall(TENANT, "points", data="export")
    assert await house.residue() == {}
