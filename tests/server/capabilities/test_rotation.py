"""Keys are replaced while everything runs: every secret can be read at every moment, whoever is killed when."""

from __future__ import annotations

import asyncio
import base64
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Column, insert, select, update

from jackfield.capabilities import create_key_file
from jackfield.capabilities.envelope import data_key_of, placed
from jackfield.capabilities.errors import (
    KeyInUseError,
    KeysInSettingsError,
    KeyUnknownError,
    SecretKeyInvalidError,
    SecretUnreadableError,
)
from jackfield.capabilities.models import DataKey, MasterKey, SecretValue, core
from jackfield.channels.models import ChannelRow
from jackfield.connections.models import AuthorizationRow, RevocationRow
from jackfield.db import SEALED, Database, UtcDateTime
from jackfield.notifications.models import EndpointRow as MemberEndpointRow
from jackfield.records.models import AuditEntry
from jackfield.tenants.models import Member
from jackfield.webhooks.models import AddressRow, EndpointRow
from tests.server.capabilities.keys_house import EXPECTED, TENANTS, KeysHouse
from tools.committed import ROOT

SEALING = [ChannelRow, AuthorizationRow, RevocationRow, MemberEndpointRow, AddressRow, EndpointRow]


@pytest.fixture
async def house(either_database: Database, tmp_path: Path) -> KeysHouse:
    made = KeysHouse(tmp_path / "data", either_database)
    await made.fill()
    await made.rotation.start()
    return made


async def test_each_tenant_has_a_key_of_its_own_made_with_its_first_secret(house: KeysHouse) -> None:
    async with house.database.read(None) as session:
        keys = {row.tenant_id: row.id for row in await session.scalars(select(DataKey))}
    assert sorted(keys) == sorted(TENANTS)
    assert {data_key_of(token) for token in await house.tokens()} == set(keys.values())
    assert {placed(token) for token in await house.tokens()} == {("loyalty", "api_key"), ("loyalty", "other")}
    assert await house.all_secrets() == EXPECTED


async def test_a_rotation_wraps_keys_anew_and_touches_no_secret(house: KeysHouse) -> None:
    before, tokens = house.vault.current, await house.tokens()
    status = await house.rotation.rotate("operator:o")
    assert house.vault.current != before
    assert status.remaining == 3
    assert await house.all_secrets() == EXPECTED
    assert await house.rotation.rewrap() == 3
    assert await house.rotation.rewrap() == 0
    assert await house.tokens() == tokens
    status = await house.rotation.status()
    assert [(key.id, key.data_keys, key.is_removable) for key in status.keys] == [
        (house.vault.current, 3, False), (before, 0, True),
    ]  # fmt: skip
    assert (status.remaining, status.tenants) == (0, 3)
    await house.rotation.forget(before, "operator:o")
    assert list(house.vault.fingerprints) == [house.vault.current]
    # Another node, that has nothing in memory, reads them with the new key alone.
    assert await KeysHouse(house.settings.data_dir, house.database).all_secrets() == EXPECTED
    async with house.database.read(None) as session:
        actions = [row.action for row in await session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert actions == ["keys.rotate", "keys.forget"]


async def test_secrets_of_old_can_be_read_and_are_sealed_anew(either_database: Database, tmp_path: Path) -> None:
    house = KeysHouse(tmp_path / "data", either_database)
    await house.fill(old=True)
    first = house.vault.current
    assert await house.all_secrets() == EXPECTED
    await house.rotation.rotate("operator:o")
    with pytest.raises(KeyInUseError) as refused:
        await house.rotation.forget(first, "operator:o")
    assert refused.value.data["needed_by"] == 6
    assert await house.rotation.rewrap() == 6
    assert all(token.startswith("v2.") for token in await house.tokens())
    await house.rotation.forget(first, "operator:o")
    assert await KeysHouse(house.settings.data_dir, house.database).all_secrets() == EXPECTED


async def test_a_tenants_own_key_is_renewed_and_no_others(house: KeysHouse) -> None:
    before = await house.tokens()
    await house.rotation.renew("acme", "operator:o")
    assert await house.all_secrets() == EXPECTED
    assert (await house.rotation.status()).remaining == 2
    assert await house.rotation.rewrap() == 2
    after = await house.tokens()
    assert (len(set(after) - set(before)), len(set(after) & set(before))) == (2, 4)
    assert len({data_key_of(token) for token in after}) == 3
    assert await KeysHouse(house.settings.data_dir, house.database).all_secrets() == EXPECTED


async def test_so_is_what_other_tables_have_sealed(house: KeysHouse) -> None:
    seal = house.gate.envelope.seal
    kept = {"jf_members": Member, **{model.__tablename__: model for model in SEALING}}
    columns = [(model, name) for model in SEALING for name, column in core(model).c.items() if column.info == SEALED]
    assert {model for model, _ in columns} == set(SEALING)
    async with house.database.write("acme") as session:
        for model in kept.values():
            values = {name: _any_value(column) for name, column in core(model).c.items()}
            for name in (name for of, name in columns if of is model):
                values[name] = await seal(
                    session, "acme", "~place", f"{model.__tablename__}.{name}", f"secret of {name}"
                )
            await session.execute(insert(core(model)).values(values))
    await house.rotation.renew("acme", "operator:o")
    assert (await house.rotation.status()).remaining == 2 + len(columns)
    assert await house.rotation.rewrap() == 2 + len(columns)
    assert (await house.rotation.status()).remaining == 0
    async with house.database.read("acme") as session:
        for model, name in columns:
            token = await session.scalar(select(core(model).c[name])) or ""
            opened = await house.gate.envelope.open(token, "acme", "~place", f"{model.__tablename__}.{name}")
            assert opened == f"secret of {name}"


def _any_value(column: Column[Any]) -> object:
    if column.name == "tenant_id":
        return "acme"
    if isinstance(column.type, UtcDateTime):
        return datetime(2026, 11, 26, tzinfo=UTC)
    return [] if isinstance(column.type, JSON) else {str: "x", int: 1, bool: True}[column.type.python_type]


async def test_other_nodes_read_the_key_file_when_they_meet_a_key_they_do_not_know(house: KeysHouse) -> None:
    other = KeysHouse(house.settings.data_dir, house.database)
    await house.rotation.rotate("operator:o")
    await house.rotation.rewrap()
    assert other.vault.current != house.vault.current
    assert await other.all_secrets() == EXPECTED
    assert other.vault.current == house.vault.current


async def test_a_node_with_an_older_key_does_not_undo_what_a_newer_one_did(house: KeysHouse) -> None:
    old = (house.settings.data_dir / "secret.key").read_text()
    await house.rotation.rotate("operator:o")
    await house.rotation.rewrap()
    new = house.vault.current
    # It has both, the old one in front: its operator has not come that far.
    both = f"{old.strip()},{(house.settings.data_dir / 'secret.key').read_text().partition(',')[0]}"
    behind = KeysHouse(house.settings.data_dir, house.database, both)
    assert behind.vault.current != new
    assert await behind.rotation.rewrap() == 0
    assert (await house.rotation.status()).keys[0].data_keys == 3
    assert await behind.all_secrets() == EXPECTED


async def test_nobody_wraps_with_a_key_that_was_taken_out_of_use(house: KeysHouse) -> None:
    behind = KeysHouse(house.settings.data_dir, house.database)
    first = house.vault.current
    await house.rotation.rotate("operator:o")
    await house.rotation.rewrap()
    await house.rotation.forget(first, "operator:o")
    assert behind.vault.current == first
    async with house.database.write("new") as session:
        token = await behind.gate.envelope.seal(session, "new", "loyalty", "api_key", "s")
    assert behind.vault.current == house.vault.current
    assert await house.gate.envelope.open(token, "new", "loyalty", "api_key") == "s"


async def test_what_encrypts_or_is_needed_or_unknown_cannot_be_taken_out_of_use(house: KeysHouse) -> None:
    first = house.vault.current
    with pytest.raises(KeyInUseError):
        await house.rotation.forget(first, "operator:o")
    with pytest.raises(KeyUnknownError):
        await house.rotation.forget("none", "operator:o")
    await house.rotation.rotate("operator:o")
    with pytest.raises(KeyInUseError):
        await house.rotation.forget(first, "operator:o")
    assert await house.all_secrets() == EXPECTED


async def test_keys_in_the_settings_are_wrapped_anew_in_their_order(either_database: Database, tmp_path: Path) -> None:
    one, two = (f"{name}:{base64.b64encode(name.encode() * 16).decode()}" for name in ("k1", "k2"))
    house = KeysHouse(tmp_path, either_database, one)
    await house.fill()
    await house.rotation.rotate("operator:o")
    assert not (tmp_path / "secret.key").exists()  # a look at one name
    house = KeysHouse(tmp_path, either_database, f"{two},{one}")
    await house.rotation.start()
    await house.rotation.rewrap()
    assert await KeysHouse(tmp_path, either_database, two).all_secrets() == EXPECTED
    with pytest.raises(KeysInSettingsError):
        await house.rotation.forget("k1", "operator:o")


async def test_another_key_under_the_same_id_keeps_a_node_from_starting(house: KeysHouse, tmp_path: Path) -> None:
    forged = f"{house.vault.current}:{base64.b64encode(b'x' * 32).decode()}"
    stranger = KeysHouse(tmp_path, house.database, forged)
    with pytest.raises(SecretKeyInvalidError):
        await stranger.rotation.start()


# -- what an attacker with the database can do -------------------------------------------------------------------------


async def test_keys_and_secrets_put_elsewhere_do_not_open(house: KeysHouse) -> None:
    async with house.database.write(None) as session:
        tokens = {row.installation_id: row.token for row in await session.scalars(select(SecretValue))}
        await session.execute(
            update(SecretValue)
            .where(SecretValue.installation_id == "inst_acme")
            .values(token=tokens["inst_globex"])
            .execution_options(synchronize_session=False)
        )
    for plugin in (house.plugin("acme"), KeysHouse(house.settings.data_dir, house.database).plugin("acme")):
        with pytest.raises(SecretUnreadableError):
            await plugin.call("secrets", "reveal", name="api_key")
    # The key of the other tenant made one's own.
    async with house.database.write(None) as session:
        await session.execute(
            update(DataKey)
            .where(DataKey.tenant_id == "globex")
            .values(tenant_id="acme")
            .execution_options(synchronize_session=False)
        )
    with pytest.raises(SecretUnreadableError):
        await KeysHouse(house.settings.data_dir, house.database).plugin("acme").call("secrets", "reveal", name="other")


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [parts[0], "dkey_none", *parts[2:]],
        lambda parts: [*parts[:3], parts[3][:-8]],
        lambda parts: [*parts[:3], "!!!"],
        lambda parts: ["v3", *parts[1:]],
        lambda parts: ["v1", parts[1], parts[3]],
        lambda parts: parts[:2],
    ],
)
async def test_a_changed_token_does_not_open(house: KeysHouse, change: object) -> None:
    token = ".".join(change((await house.tokens())[0].split(".")))  # type: ignore[operator]
    with pytest.raises(SecretUnreadableError):
        await house.gate.envelope.open(token, "acme", "loyalty", "api_key")


async def test_the_place_that_a_token_tells_of_proves_nothing(house: KeysHouse) -> None:
    own, other = (token.split(".") for token in (await house.tokens())[:2])
    forged = ".".join([own[0], own[1], other[2], own[3]])
    with pytest.raises(SecretUnreadableError):
        await house.gate.envelope.open(forged, "acme", *placed(forged))  # type: ignore[misc]
    for told in ("", "!!!", "gA", base64.urlsafe_b64encode(b"\x93\x01\x02\x03").decode(), "A" * 2000):
        assert placed(".".join([own[0], own[1], told, own[3]])) is None


async def test_what_cannot_be_read_is_told_and_stops_nothing_else(house: KeysHouse) -> None:
    async with house.database.write(None) as session:
        session.add(SecretValue(tenant_id="acme", installation_id="inst_x", name="lost", token="v1.gone.AAAA"))
    assert await house.rotation.rewrap() == 0
    status = await house.rotation.status()
    assert status.unreadable == 1
    await house.rotation.rotate("operator:o")
    assert await house.rotation.rewrap() == 3


async def test_a_key_made_in_a_transaction_that_failed_is_none(house: KeysHouse) -> None:
    async def fail() -> None:
        async with house.database.write("new") as session:
            await house.gate.envelope.seal(session, "new", "loyalty", "api_key", "s")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with house.database.write("new") as session:
        token = await house.gate.envelope.seal(session, "new", "loyalty", "api_key", "s")
    assert await KeysHouse(house.settings.data_dir, house.database).gate.envelope.open(
        token, "new", "loyalty", "api_key"
    ) == "s"  # fmt: skip


# -- kill -9 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["before-file", "after-file", "between-keys", "between-secrets", "renewed", "none"])
async def test_the_next_node_goes_on_where_a_killed_one_stopped(tmp_path: Path, point: str) -> None:
    data_dir = tmp_path / "data"
    house = KeysHouse(data_dir)
    await house.fill(old=point == "between-secrets")
    first = house.vault.current
    await house.database.close()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.capabilities.killed_rotation", str(data_dir), point, cwd=ROOT
    )
    assert await process.wait() == (0 if point == "none" else -signal.SIGKILL)
    node = KeysHouse(data_dir)
    try:
        await node.rotation.start()
        assert await node.all_secrets() == EXPECTED
        await node.rotation.rewrap()
        assert (await node.rotation.status()).remaining == 0
        if point in ("before-file", "renewed"):
            assert node.vault.current == first
        else:
            assert node.vault.current != first
            await node.rotation.forget(first, "operator:o")
        assert await node.all_secrets() == EXPECTED
    finally:
        await node.database.close()


def test_the_key_file_stays_its_owners_alone_and_whole(tmp_path: Path) -> None:
    from jackfield.capabilities.vault import change_key_file, read_key_file, with_new_key, without_key

    create_key_file(tmp_path)
    first = read_key_file(tmp_path)
    second = change_key_file(tmp_path, with_new_key)
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert read_key_file(tmp_path) == second
    assert list(second.by_id)[1:] == [first.current]
    assert change_key_file(tmp_path, lambda keys: without_key(keys, first.current)).by_id == {
        second.current: second.by_id[second.current]
    }
    assert sorted(file.name for file in tmp_path.iterdir()) == ["secret.key", "secret.key.lock"]


async def test_every_key_is_known_by_a_generation(house: KeysHouse) -> None:
    for _ in range(2):
        await house.rotation.rotate("operator:o")
    async with house.database.read(None) as session:
        generations = [row.generation for row in await session.scalars(select(MasterKey).order_by(MasterKey.since))]
    assert generations == [1, 2, 3]
