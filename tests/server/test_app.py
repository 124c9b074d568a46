"""The platform as a whole: how it starts, refuses to start, stops; its health and its document."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from jackfield import Platform, Settings, Surface, ensure_key_file
from jackfield import app as app_module
from jackfield.app import SelfAttackError
from jackfield.capabilities.errors import SecretKeyMissingError
from jackfield.isolation import doctor
from jackfield_sandbox.layers import Layer
from tests.server.conftest import client

OPEN = {"/api/health", "/healthz", "/readyz"}
"""Paths that need no token, and refuse nothing."""


def build(folder: Path, **settings: Any) -> Platform:
    ensure_key_file(folder)
    return Platform(Settings(data_dir=folder, **settings), Surface())


async def test_it_starts_and_stops_and_starts_again(tmp_path: Path) -> None:
    platform = build(tmp_path, isolation="unprivileged")
    async with client(platform.asgi) as http:
        assert (await http.get("/api/health")).json()["status"] == "unavailable"
        for _ in range(2):
            await platform.start()
            await platform.start()
            health = (await http.get("/api/health")).json()
            assert health["status"] == "ok"
            assert health["self_attack"]["clean"] is True
            assert health["isolation"] == "unprivileged"
            await asyncio.wait_for(platform.stop(), 20)
            await platform.stop()
            assert (await http.get("/api/health")).json()["status"] == "unavailable"


async def test_an_attack_that_works_keeps_it_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = await doctor.examine("unprivileged", tmp_path / "cache", without=Layer.SECCOMP)
    assert not report.is_clean

    async def holey(_level: str, _cache: Path) -> doctor.Report:
        return report

    monkeypatch.setattr(app_module.doctor, "examine", holey)
    platform = build(tmp_path, isolation="unprivileged")
    with pytest.raises(SelfAttackError, match="does not hold here"):
        await platform.start()
    assert platform.supervisor.zygote_pid is None
    async with client(platform.asgi) as http:
        assert (await http.get("/api/health")).json()["status"] == "unavailable"


async def test_without_isolation_every_answer_says_so(tmp_path: Path) -> None:
    platform = build(tmp_path, isolation="none")
    async with client(platform.asgi) as http:
        for path in ("/api/health", "/api/nothing"):
            assert (await http.get(path)).headers["x-jackfield-isolation"] == "none"
    await platform.database.close()


def test_without_a_key_it_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretKeyMissingError) as caught:
        Platform(Settings(data_dir=tmp_path))
    assert caught.value.code == "secret-key-missing"
    assert "JACKFIELD_SECRET_KEY" in caught.value.hint


def test_a_handle_of_a_tenant_costs_no_memory(tmp_path: Path) -> None:
    platform = build(tmp_path, isolation="none")
    assert platform.tenant("a").id == "a"
    assert not [name for name, value in vars(platform).items() if isinstance(value, dict) and "a" in value]


def operations(tmp_path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    document = build(tmp_path, isolation="none").asgi.openapi()
    OpenAPI.model_validate(document)
    return [(path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()]


def test_the_document_is_complete(tmp_path: Path) -> None:
    found = operations(tmp_path)
    assert len(found) > 30
    names = [operation["operationId"] for _, _, operation in found]
    assert len(names) == len(set(names))
    for path, method, operation in found:
        where = f"{method} {path}"
        assert operation.get("summary"), where
        assert operation.get("tags"), where
        if path in OPEN:
            continue
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert {"401", "422"} <= errors.keys(), where
        for status, answer in errors.items():
            content = answer.get("content", {})
            assert "application/problem+json" in content, f"{where} {status}"


def test_the_rate_limit_of_routes_is_documented(tmp_path: Path) -> None:
    (route,) = [operation for _, _, operation in operations(tmp_path) if operation["operationId"] == "pluginRoute"]
    assert "429" in route["responses"]
