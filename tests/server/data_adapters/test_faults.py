"""Servers that go wrong: each remote adapter says so by its name, says what to put right, and tells no secret."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jackfield.data_adapters import Query
from jackfield.data_adapters.graphql import GraphMapping, GraphQLAdapter
from jackfield.data_adapters.postgrest import PostgRestAdapter, PostgRestMapping
from jackfield.data_adapters.remote import RemoteAdapter
from jackfield.data_adapters.remote_errors import (
    AdapterAnswerError,
    AdapterCredentialsError,
    AdapterError,
    AdapterRedirectError,
    AdapterStatusError,
    AdapterTimeoutError,
    AdapterTooLargeError,
    AdapterUnreachableError,
)
from jackfield.data_adapters.rest import RestAdapter, RestMapping
from jackfield.egress import Egress
from tests.server.data_adapters import test_graphql, test_postgrest, test_rest
from tests.server.data_adapters.remotes import EGRESS, transport
from tests.server.egress.world import Web, certificate
from tests.servers.faults import going_wrong
from tests.servers.serving import silent_port

ENDS: dict[str, type[AdapterError]] = {
    "unauthorized": AdapterCredentialsError, "forbidden": AdapterCredentialsError, "failing": AdapterStatusError,
    "gateway": AdapterTimeoutError, "busy": AdapterStatusError, "html": AdapterAnswerError,
    "truncated-json": AdapterAnswerError, "truncated-http": AdapterAnswerError, "not-http": AdapterAnswerError,
    "redirect": AdapterRedirectError, "deep": AdapterAnswerError, "nan": AdapterAnswerError,
    "scalar": AdapterAnswerError, "empty": AdapterAnswerError, "large": AdapterTooLargeError,
    "silent": AdapterTimeoutError, "closed": AdapterUnreachableError,
}  # fmt: skip


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(EGRESS)
    yield egress
    await egress.close()


def made(kind: str, url: str, egress: Egress) -> RemoteAdapter:
    more: dict[str, Any] = {"timeout_s": 0.5}
    if kind == "postgrest":
        mapping = msgspec.convert({**test_postgrest.MAPPING, "base_url": url}, PostgRestMapping)
        return PostgRestAdapter(mapping, transport(kind, egress, url, **more))
    if kind == "graphql":
        graph = msgspec.convert({**test_graphql.MAPPING, "base_url": url}, GraphMapping)
        return GraphQLAdapter(graph, transport(kind, egress, url, **more))
    plain = {**copy.deepcopy(test_rest.MAPPING), "base_url": url}
    return RestAdapter(msgspec.convert(plain, RestMapping), transport(kind, egress, url, **more))


@pytest.mark.parametrize("kind", ["postgrest", "rest", "graphql"])
@pytest.mark.parametrize("fault", list(ENDS))
async def test_each_fault_has_its_error(egress: Egress, kind: str, fault: str) -> None:
    with going_wrong(fault) as url, pytest.raises(ENDS[fault]) as failed:
        await made(kind, url, egress).list("t", "people", Query())
    error = failed.value
    assert str(error).startswith(f"{kind}: ")
    assert error.hint
    told = str(error) + error.hint + str(error.data)
    for secret in ("trace", "token=x", "no tok"):
        assert secret not in told
    if fault == "busy":
        assert error.data["retry_after_s"] == 7


@pytest.mark.parametrize("kind", ["postgrest", "rest", "graphql"])
async def test_a_write_that_fails_says_so(egress: Egress, kind: str) -> None:
    for fault in ("failing", "truncated-json", "silent"):
        with going_wrong(fault) as url, pytest.raises(ENDS[fault]):
            await made(kind, url, egress).create("t", "people", [{"name": "Ada"}])


async def test_nobody_there(egress: Egress) -> None:
    with silent_port() as url, pytest.raises(AdapterUnreachableError) as failed:
        await made("rest", url, egress).list("t", "people", Query())
    assert failed.value.step == "connection"


async def test_a_private_address_is_not_reached() -> None:
    egress = Egress()
    with going_wrong("html") as url, pytest.raises(AdapterUnreachableError) as failed:
        await made("rest", url, egress).list("t", "people", Query())
    assert "operator" in str(failed.value)
    await egress.close()


async def test_a_name_that_is_not_there_and_a_certificate_that_is_not_good(egress: Egress, tmp_path: Path) -> None:
    with pytest.raises(AdapterUnreachableError) as nowhere:
        await made("rest", "https://no-such-host.invalid", egress).list("t", "people", Query())
    assert nowhere.value.step == "dns"
    context, _ = certificate(tmp_path / "tls", "127.0.0.1")
    async with Web().serving(context) as server:
        with pytest.raises(AdapterUnreachableError) as untrusted:
            await made("rest", f"https://127.0.0.1:{server.port}", egress).list("t", "people", Query())
    assert untrusted.value.step == "tls"
