"""A publisher adds keys that it can prove to hold, and revokes them for good."""

from __future__ import annotations

import pytest

from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.registry import Registry
from tests.sdk.crafted import KEY, Key
from tests.server.registry.uploads import PUBLISHER


async def refused(registry: Registry, publisher_id: str, public: bytes, proof: bytes) -> str:
    with pytest.raises(JackfieldError) as caught:
        await registry.add_key(publisher_id, public, proof)
    return caught.value.code


async def test_a_proof_is_for_one_publisher_and_one_purpose(registry: Registry) -> None:
    key = Key(5)
    await registry.ensure_publisher("pub_other")
    for message in (
        b"jackfield-key-v1\npub_other",
        PUBLISHER.encode(),
        b"",
        b"jackfield-package-v1\n" + PUBLISHER.encode(),
    ):
        assert await refused(registry, PUBLISHER, key.public, key.sign(message)) == "key-proof-invalid"
    assert (
        await refused(registry, PUBLISHER, key.public, KEY.sign(b"jackfield-key-v1\npub_corner")) == "key-proof-invalid"
    )
    added = await registry.add_key(PUBLISHER, key.public, key.sign(b"jackfield-key-v1\npub_corner"), "laptop")
    assert (added.key_id, added.name, added.revoked_at) == (key.key_id, "laptop", None)
    assert [known.key_id for known in await registry.keys(PUBLISHER)] == sorted([KEY.key_id, key.key_id])


@pytest.mark.parametrize("public", [b"", b"short", bytes(33)])
async def test_what_is_no_key_is_refused(registry: Registry, public: bytes) -> None:
    assert await refused(registry, PUBLISHER, public, bytes(64)) == "key-invalid"


async def test_a_key_serves_one_publisher_and_a_revoked_one_does_not_come_back(registry: Registry) -> None:
    await registry.ensure_publisher("pub_other")
    proof = KEY.sign(b"jackfield-key-v1\npub_other")
    assert await refused(registry, "pub_other", KEY.public, proof) == "key-taken"
    revoked = await registry.revoke_key(PUBLISHER, KEY.key_id)
    assert revoked.revoked_at is not None
    assert await registry.revoke_key(PUBLISHER, KEY.key_id) == revoked
    assert await refused(registry, PUBLISHER, KEY.public, KEY.sign(b"jackfield-key-v1\npub_corner")) == "key-taken"


async def test_a_publisher_revokes_its_own_keys_only(registry: Registry) -> None:
    await registry.ensure_publisher("pub_other")
    with pytest.raises(JackfieldError) as caught:
        await registry.revoke_key("pub_other", KEY.key_id)
    assert caught.value.code == "key-not-found"


async def test_an_unknown_publisher_has_no_keys(registry: Registry) -> None:
    proof = KEY.sign(b"jackfield-key-v1\npub_nobody")
    assert await refused(registry, "pub_nobody", KEY.public, proof) == "publisher-unknown"


async def test_a_publisher_is_made_once_and_may_be_renamed(registry: Registry, database: Database) -> None:
    assert (await registry.ensure_publisher("pub_new")).name == "pub_new"
    assert (await registry.ensure_publisher("pub_new", "New Tools")).name == "New Tools"
    assert (await registry.ensure_publisher("pub_new")).name == "New Tools"
