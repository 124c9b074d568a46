"""`python -m jackfield keys`: what an operator does with keys on the machine itself, and what nodes do alone."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from jackfield.__main__ import main
from jackfield.capabilities import KeyStatus, load_keys
from jackfield.capabilities.rotation import Rotation
from jackfield.settings import Settings
from tests.server.capabilities.keys_house import EXPECTED, KeysHouse


def keys(data: Path, *arguments: str) -> int:
    return main(["keys", *arguments, "--data", str(data)])


def current(data: Path) -> str:
    return load_keys(Settings(data_dir=data, secret_key=None)).current


def test_an_operator_rotates_renews_and_forgets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(tmp_path, "status") == 0
    first = current(tmp_path)
    assert f"{first:<12} encrypts" in capsys.readouterr().out

    async def fill() -> None:
        house = KeysHouse(tmp_path)
        await house.fill()
        await house.database.close()

    asyncio.run(fill())
    assert keys(tmp_path, "rotate") == 0
    assert current(tmp_path) != first
    said = capsys.readouterr().out
    assert "4 keys and secrets were encrypted anew" in said, "of three tenants, and the audit trail's"
    assert "still to be encrypted anew: 0" in said
    assert keys(tmp_path, "renew", "acme") == 0
    assert "2 keys and secrets were encrypted anew" in capsys.readouterr().out
    assert keys(tmp_path, "forget", current(tmp_path)) == 1
    assert "[key-in-use]" in capsys.readouterr().err
    assert keys(tmp_path, "forget", first) == 0
    assert first not in load_keys(Settings(data_dir=tmp_path, secret_key=None)).by_id

    async def read() -> dict[str, str]:
        house = KeysHouse(tmp_path)
        try:
            return await house.all_secrets()
        finally:
            await house.database.close()

    assert asyncio.run(read()) == EXPECTED


async def test_a_node_that_is_woken_wraps_anew_and_sweeps_go_on(tmp_path: Path) -> None:
    house = KeysHouse(tmp_path)
    await house.fill()
    housekeeping = house.gate.housekeeping
    housekeeping.rotation = house.rotation
    await house.rotation.rotate("operator")
    running = asyncio.create_task(housekeeping.run())
    housekeeping.wake()

    async def done(rotation: Rotation) -> KeyStatus:
        async with asyncio.timeout(20):
            while (status := await rotation.status()).remaining:  # noqa: ASYNC110  # another task's work, in a table
                await asyncio.sleep(0.01)
        return status

    assert (await done(house.rotation)).keys[0].data_keys == 3
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await house.database.close()
