"""The door to plugin code: every end is an outcome with one record; grants and limits are held."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jackfield.clock import SystemClock
from jackfield.invocation import ActiveInstallation, Invocation, Invoker, Outcome
from jackfield.records import InvocationRecord
from jackfield.settings import LimitSettings
from jackfield_sdk.manifest import Limits
from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Kept:
    """Keeps what is recorded, before it goes where it goes anyway."""

    def __init__(self, house: House) -> None:
        self.records: list[InvocationRecord] = []
        platform = house.platform
        self.invoker = Invoker(
            platform.isolates, platform.invoker._gate, self, LimitSettings(result_bytes=100_000), SystemClock()  # pyright: ignore[reportPrivateUsage]  # the same gate
        )  # fmt: skip

    def record(self, record: InvocationRecord) -> None:
        self.records.append(record)


async def run(
    house: House, handler: str, payload: Any = None, *, tenant: str = TENANT, kind: Any = "function", **instead: Any
) -> tuple[Outcome, InvocationRecord]:
    kept = Kept(house)
    installation = replace(await house.installation(tenant), **instead)
    outcome = await kept.invoker.run(Invocation(installation, kind, handler, handler, payload or {}, 60_000))
    (record,) = kept.records
    assert record.id == outcome.invocation_id
    assert record.status == outcome.status
    assert (record.error_code is None) == outcome.is_ok
    return outcome, record


ENDS: list[tuple[str, Any, str, str]] = [
    ("user_error", {}, "user-error", "token-expired"),
    ("defect", {}, "error", "plugin-error"),
    ("hang", {}, "timeout", "deadline-exceeded"),
    ("burn", {}, "cpu", "cpu-exceeded"),
    ("eat", {}, "memory", "memory-exceeded"),
    ("die", {}, "crashed", "plugin-crashed"),
    ("nothing", {}, "error", "plugin-error"),
    ("add", {"a": "x"}, "error", "payload-mismatch"),
    ("add", {"a": object()}, "refused", "payload-not-data"),
    ("add", {"a": 2**70}, "refused", "payload-not-data"),
    ("add", {"a": "\ud800"}, "refused", "payload-not-data"),
    ("many_calls", {}, "error", "host-calls-exceeded"),
    ("peek", {}, "error", "permission-denied"),
]


@pytest.mark.parametrize(
    ("handler", "payload", "status", "code"), ENDS, ids=[f"{e[0]}-{i}" for i, e in enumerate(ENDS)]
)
async def test_every_end_is_an_outcome_with_one_record(
    house: House, handler: str, payload: Any, status: str, code: str
) -> None:
    # On a busy machine a second of processor time takes any number of seconds.
    manifest = (await house.installation()).manifest
    patient = msgspec.structs.replace(
        manifest, limits=Limits(wall_ms=1500 if handler == "hang" else 20_000, cpu_ms=500, host_calls=3)
    )
    outcome, record = await run(house, handler, payload, manifest=patient)
    assert outcome.status == status, outcome
    assert outcome.failure is not None
    if handler != "nothing":
        assert outcome.failure.code == code
    assert record.error_code == outcome.failure.code


async def test_data_nested_too_deeply_is_refused(house: House) -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    outcome, _ = await run(house, "add", {"a": deep})
    assert outcome.status == "refused"


async def test_a_good_end_has_its_value_and_its_cost(house: House) -> None:
    outcome, record = await run(house, "add", {"a": 4})
    assert outcome.value == 5
    assert outcome.is_ok
    assert record.duration_us > 0
    assert (record.tenant_id, record.plugin, record.version, record.kind) == (TENANT, "probe", "1.0.0", "function")


async def test_the_manifests_lower_limit_holds(house: House) -> None:
    outcome, _ = await run(house, "hang")
    assert outcome.status == "timeout"
    assert 1_400 <= outcome.duration_ms < 10_000, "its manifest says 1,500 ms, the platform 30,000"


async def test_lines_are_kept_only_with_the_grant(house: House) -> None:
    _, record = await run(house, "talk")
    assert [line[1] for line in record.log] == ["hello", "printed"]
    _, record = await run(house, "talk", grants=frozenset({"storage"}))
    assert record.log == []


async def test_what_is_not_granted_is_refused_on_the_call(house: House) -> None:
    outcome, _ = await run(house, "many_calls", grants=frozenset[str]())
    assert outcome.failure is not None
    assert outcome.failure.code == "permission-denied"


async def test_a_trace_is_recorded_without_what_moves_a_cursor(house: House) -> None:
    _, record = await run(house, "defect")
    assert record.error_trace is not None
    assert "plugin.py" in record.error_trace
    assert "\x1b" not in record.error_trace
    assert "\x1b" not in (record.error_message or "")


async def fresh(house: House, kind: str) -> tuple[Outcome, InvocationRecord]:
    """A forged message counts only on a fresh isolate, whose first call is number one."""
    await house.platform.isolates.retire((await house.installation()).id)
    return await run(house, "forge", {"kind": kind})


async def test_a_forged_wish_for_later_is_no_number_that_breaks_a_calendar(house: House) -> None:
    outcome, record = await fresh(house, "nan")
    assert outcome.status == "retry"
    assert outcome.failure is not None
    assert outcome.failure.retry_after_s is None
    assert "\x1b" not in (record.error_trace or "")


async def test_a_forged_code_is_a_code(house: House) -> None:
    outcome, _ = await fresh(house, "code")
    assert outcome.failure is not None
    assert outcome.failure.code == "plugin-error"
    assert "\x00" not in outcome.failure.message


async def test_whoever_does_not_wait_leaves_a_record_and_no_isolate(house: House) -> None:
    kept = Kept(house)
    installation = replace(await house.installation(), id="ins_gone")
    before = set(house.platform.isolates.pids())
    task = asyncio.create_task(kept.invoker.run(Invocation(installation, "function", "hang", "hang", {}, 60_000)))
    while not (started := set(house.platform.isolates.pids()) - before):  # noqa: ASYNC110  # the pool tells nobody
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = kept.records
    assert (record.status, record.error_code) == ("timeout", "caller-gone")
    assert not started & set(house.platform.isolates.pids())


async def test_an_image_that_is_gone_is_a_refusal_that_names_no_path(house: House) -> None:
    lost = Path("/nowhere/at/all.img")
    outcome, _ = await run(house, "add", {"a": 1}, image_path=lost, id="ins_lost")
    assert outcome.status == "refused"
    assert outcome.failure is not None
    assert "nowhere" not in outcome.failure.message


async def test_a_configuration_that_cannot_be_sent_is_a_refusal(house: House) -> None:
    outcome, _ = await run(house, "add", {"a": 1}, config={"n": 2**70}, id="ins_config")
    assert outcome.status == "refused"


async def test_what_is_kept_of_installations_is_bounded(house: House) -> None:
    kept = Kept(house)
    base: ActiveInstallation = await house.installation()
    for n in range(10_050):
        kept.invoker._spec(replace(base, id=f"ins_{n}"))  # pyright: ignore[reportPrivateUsage]
    assert len(kept.invoker._specs) == 10_000  # pyright: ignore[reportPrivateUsage]


async def test_an_isolate_that_asks_without_reading_the_answers_is_stopped(house: House) -> None:
    outcome, _ = await fresh(house, "flood")
    assert outcome.status in {"violation", "timeout"}
    assert (await house.platform.tenant(TENANT).call("probe", "add", {"a": 1})).success
