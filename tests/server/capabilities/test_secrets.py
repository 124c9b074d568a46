"""Secrets rest encrypted, bound to their place, and are shown to those who may see them, or to nobody."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from sqlalchemy import select

from jackfield.capabilities import Gate, Vault, create_key_file, ensure_key_file, load_keys, secret_names, set_secrets
from jackfield.capabilities.errors import (
    PermissionDeniedError,
    SecretKeyInvalidError,
    SecretKeyMissingError,
    SecretNotSetError,
    SecretUnreadableError,
)
from jackfield.capabilities.models import SecretValue
from jackfield.capabilities.vault import parse_keys
from jackfield.db import Database
from jackfield.settings import Settings
from tests.server.capabilities.installations import KEYS, Installed, installed

OTHER = "k2:" + base64.b64encode(b"x" * 32).decode()


async def store(database: Database, plugin: Installed, **values: str | None) -> None:
    context = plugin.context
    async with database.write(context.tenant_id) as session:
        await set_secrets(session, context.tenant_id, context.installation_id, context.slug, values)


async def tokens(database: Database) -> dict[str, str]:
    async with database.read(None) as session:
        return {row.name: row.token for row in await session.scalars(select(SecretValue))}


async def test_what_was_set_is_revealed_and_rests_encrypted(plugin: Installed, database: Database) -> None:
    await store(database, plugin, api_key="sk_live_1234", other="ünïcode \0")
    assert await plugin.call("secrets", "reveal", name="api_key") == "sk_live_1234"
    assert await plugin.holding(["secrets:other"]).call("secrets", "reveal", name="other") == "ünïcode \0"
    async with database.read("acme") as session:
        assert await secret_names(session, "inst_a") == ["api_key", "other"]
    assert database.engine.url.database is not None
    for file in Path(database.engine.url.database).parent.iterdir():
        assert b"sk_live_1234" not in file.read_bytes()


async def test_setting_replaces_none_removes_and_others_stay(plugin: Installed, database: Database) -> None:
    await store(database, plugin, api_key="1", other="2")
    await store(database, plugin, api_key="3")
    assert await plugin.call("secrets", "reveal", name="api_key") == "3"
    await store(database, plugin, api_key=None)
    with pytest.raises(SecretNotSetError) as missing:
        await plugin.call("secrets", "reveal", name="api_key")
    assert missing.value.code == "secret-not-set"
    assert list(await tokens(database)) == ["other"]


async def test_without_the_grant_nothing_is_told(plugin: Installed, database: Database) -> None:
    await store(database, plugin, api_key="1")
    for name in ("api_key", "nothing"):
        with pytest.raises(PermissionDeniedError):
            await plugin.holding(["secrets:other", "storage"]).call("secrets", "reveal", name=name)


async def test_a_token_put_elsewhere_does_not_decrypt(gate: Gate, database: Database) -> None:
    victim = installed(gate, "globex", "inst_v")
    await store(database, victim, api_key="theirs")
    token = (await tokens(database))["api_key"]
    async with database.write(None) as session:
        session.add(SecretValue(tenant_id="acme", installation_id="inst_a", name="api_key", token=token))
    with pytest.raises(SecretUnreadableError):
        await installed(gate, "acme", "inst_a").call("secrets", "reveal", name="api_key")
    assert await victim.call("secrets", "reveal", name="api_key") == "theirs"


async def test_secrets_are_rolled_back_with_their_transaction(plugin: Installed, database: Database) -> None:
    async def fail_after_setting() -> None:
        async with database.write("acme") as session:
            await set_secrets(session, "acme", "inst_a", "loyalty", {"api_key": "1"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_setting()
    assert await tokens(database) == {}


async def test_a_database_without_a_vault_stores_no_secret(database: Database) -> None:
    async with database.write("acme") as session:
        with pytest.raises(SecretKeyMissingError):
            await set_secrets(session, "acme", "inst_a", "loyalty", {"api_key": "1"})


def test_the_same_secret_never_encrypts_to_the_same_token() -> None:
    vault = Vault(parse_keys(KEYS))
    assert vault.encrypt("s", "t", "p", "n") != vault.encrypt("s", "t", "p", "n")


def test_place_is_part_of_the_encryption_and_cannot_be_shifted() -> None:
    vault = Vault(parse_keys(KEYS))
    token = vault.encrypt("s", "ab", "c", "d")
    assert vault.decrypt(token, "ab", "c", "d") == "s"
    for place in (("a", "bc", "d"), ("abc", "", "d"), ("ab", "cd", ""), ("ab", "c", "e"), ("x", "c", "d")):
        with pytest.raises(SecretUnreadableError):
            vault.decrypt(token, *place)


def test_a_changed_token_is_refused_wherever_it_was_changed() -> None:
    vault = Vault(parse_keys(KEYS))
    token = vault.encrypt("secret", "t", "p", "n")
    body = bytearray(base64.b64decode(token.split(".")[2]))
    for index in range(len(body)):
        changed = bytearray(body)
        changed[index] ^= 1
        with pytest.raises(SecretUnreadableError):
            vault.decrypt(f"v1.k1.{base64.b64encode(changed).decode()}", "t", "p", "n")
    for broken in ("", "v1", "v1.k1", "v1.k1.", "v1.k1.!!!", "v2" + token[2:], token[:-8], "v1.k1.AAAA", f"{token}\n"):
        with pytest.raises(SecretUnreadableError):
            vault.decrypt(broken, "t", "p", "n")


def test_a_new_first_key_encrypts_and_the_old_one_still_decrypts() -> None:
    old = Vault(parse_keys(KEYS)).encrypt("s", "t", "p", "n")
    both = Vault(parse_keys(f"{OTHER}, {KEYS}"))
    assert both.decrypt(old, "t", "p", "n") == "s"
    assert both.encrypt("s", "t", "p", "n").startswith("v1.k2.")
    with pytest.raises(SecretUnreadableError):
        Vault(parse_keys(OTHER)).decrypt(old, "t", "p", "n")


def test_the_right_key_under_the_wrong_id_is_refused() -> None:
    token = Vault(parse_keys(KEYS)).encrypt("s", "t", "p", "n")
    renamed = Vault(parse_keys("k9" + KEYS[2:]))
    with pytest.raises(SecretUnreadableError):
        renamed.decrypt(token.replace(".k1.", ".k9."), "t", "p", "n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k1",
        "k1:",
        ":AAAA",
        "k1:AAAA",
        "k1:not base64!",
        f"{KEYS},{KEYS}",
        f"{KEYS},",
        "a b:AAAA",
        "k" * 33 + ":AAAA",
    ],
)
def test_keys_that_are_none_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SecretKeyInvalidError) as refused:
        parse_keys(text)
    assert "AAAA" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_keys_never_show_themselves() -> None:
    assert "AAEC" not in repr(parse_keys(KEYS))
    assert repr(bytes(range(8)))[2:-1] not in repr(parse_keys(KEYS))


def test_a_node_without_a_key_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SecretKeyMissingError) as missing:
        load_keys(Settings(data_dir=tmp_path, secret_key=None))
    assert missing.value.code == "secret-key-missing"


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = create_key_file(tmp_path / "new")
    assert path.stat().st_mode & 0o777 == 0o600
    keys = load_keys(Settings(data_dir=tmp_path / "new", secret_key=None))
    assert create_key_file(tmp_path / "new") == path
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["secret.key"]
    assert load_keys(Settings(data_dir=tmp_path / "new", secret_key=None)) == keys


def test_a_folder_with_a_database_that_has_lost_its_key_gets_no_other(tmp_path: Path) -> None:
    ensure_key_file(tmp_path)
    (tmp_path / "secret.key").unlink()
    settings = Settings(data_dir=tmp_path, secret_key=None)
    settings.database_file.touch()
    ensure_key_file(tmp_path)
    with pytest.raises(SecretKeyMissingError):
        load_keys(settings)


def test_the_setting_goes_before_the_file(tmp_path: Path) -> None:
    create_key_file(tmp_path)
    assert load_keys(Settings(data_dir=tmp_path, secret_key=KEYS)).current == "k1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    create_key_file(tmp_path).chmod(mode)
    with pytest.raises(SecretKeyInvalidError):
        load_keys(Settings(data_dir=tmp_path, secret_key=None))


def test_a_key_file_that_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    real = create_key_file(tmp_path / "real")
    (tmp_path / "secret.key").symlink_to(real)
    with pytest.raises(SecretKeyInvalidError):
        load_keys(Settings(data_dir=tmp_path, secret_key=None))
    for make in (Path.mkdir, os.mkfifo):
        folder = tmp_path / make.__name__
        folder.mkdir()
        make(folder / "secret.key")
        with pytest.raises(SecretKeyInvalidError):
            load_keys(Settings(data_dir=folder, secret_key=None))
