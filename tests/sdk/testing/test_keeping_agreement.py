"""Storage, cache and files of the fake platform answer as those of the real one do, whatever is asked, in any order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jackfield.db import Base, Database
from jackfield.db.migrate import load_models
from jackfield.errors import JackfieldError
from jackfield_sdk import wire
from jackfield_sdk.manifest import parse_manifest
from jackfield_sdk.testing.broker import Broker
from jackfield_sdk.testing.memory import Tables
from tests.server.capabilities.installations import Installed, installed, make_gate
from tests.server.conftest import ManualClock

PART = 240 * 1024
KEYS = st.sampled_from(["a", "a/b", "ab", "b", "", "c\n", "k" * 257])
MAP = {"a": 1, "b": 2}
TURNED = dict(reversed(MAP.items()))
VALUES = st.sampled_from([None, 0, 1, 1.0, True, "x", [1], MAP, TURNED, 2**63 - 1, "y" * 270_000])
TTLS = st.sampled_from([None, 0, 5, 50])
PREFIXES = st.sampled_from(["", "a", "a/", "z"])
NUMBERS = st.sampled_from([1, -1, 0.5, 2**63, float("inf")])
PATHS = st.sampled_from(["a.txt", "a/b", "a/../b", "/a", "a\\b", "ü/ß.csv"])
ROLES = st.sampled_from(["member", "admin", "guest"])
PAUSES = st.sampled_from([4.0, 5.0, 50.0])
TYPES = st.sampled_from(["text/csv", "Text/HTML; charset=utf-8", "nonsense", "a/b\r\nX: y"])
DATA = st.sampled_from([b"", b"1", b"\0" * PART, b"\1" * (PART + 1)])
NO = "no-such-upload"


def call(capability: str, operation: str, **arguments: Any) -> Any:
    fields = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in arguments.items()
    }
    return st.tuples(st.just(capability), st.just(operation), st.fixed_dictionaries(fields))


STEPS = st.one_of(
    call("storage", "set", key=KEYS, value=VALUES, ttl_s=TTLS),
    call("storage", "get", key=KEYS),
    call("storage", "entry", key=KEYS),
    call("storage", "compare_and_set", key=KEYS, expected=VALUES, value=VALUES, ttl_s=TTLS),
    call("storage", "compare_and_set", key=KEYS, version=st.sampled_from(["latest", "0", "xyz"]), value=VALUES),
    call("storage", "increment", key=KEYS, by=NUMBERS, initial=NUMBERS, ttl_s=TTLS),
    call("storage", "delete", key=KEYS),
    call("storage", "delete_prefix", prefix=PREFIXES),
    call("storage", "set_many", items=st.dictionaries(KEYS, VALUES, max_size=3), ttl_s=TTLS),
    call("storage", "get_many", keys=st.lists(KEYS, max_size=3)),
    call("storage", "keys", prefix=PREFIXES, limit=st.sampled_from([0, 1, 2, 100]), after=PREFIXES),
    call("storage", "items", prefix=PREFIXES, limit=st.sampled_from([1, 2, 100])),
    call("cache", "set", key=KEYS, value=VALUES, ttl_s=st.sampled_from([5, 50, 10**6])),
    call("cache", "get", key=KEYS),
    call("cache", "increment", key=KEYS, by=NUMBERS, initial=NUMBERS),
    call("cache", "delete", key=KEYS),
    call("files", "write", path=PATHS, data=DATA, content_type=TYPES, role=ROLES),
    call("files", "begin", path=PATHS, content_type=TYPES),
    call("files", "send", upload="latest", number=st.sampled_from([0, 1, 2]), data=DATA),
    call("files", "finish", upload="latest"),
    call("files", "abort", upload=st.sampled_from(["latest", NO])),
    call("files", "read", path=PATHS, number=st.sampled_from([0, 1])),
    call("files", "read", path=PATHS, content=NO),
    call("files", "stat", path=PATHS),
    call("files", "list", prefix=PREFIXES),
    call("files", "delete", path=PATHS),
    st.tuples(st.just("clock"), st.just("advance"), st.fixed_dictionaries({"seconds": PAUSES})),
)  # fmt: skip


@dataclass
class Both:
    """One installation here and there, and what both have called their uploads and versions."""

    real: Installed
    fake: Broker
    clock: ManualClock

    async def ask(
        self, capability: str, operation: str, arguments: dict[str, Any], names: list[dict[str, str]]
    ) -> None:
        answers: list[Any] = []
        for ask, known in zip((self._ask_real, self._ask_fake), names, strict=True):
            given = {name: known.get(name, NO) if value == "latest" else value for name, value in arguments.items()}
            if "version" in given and given["version"] == NO:
                given["version"] = "0"
            answer = await ask(capability, operation, given)
            answers.append(nameless(answer, known))
        assert repr(answers[0]) == repr(answers[1]), (capability, operation, arguments)

    async def _ask_real(self, capability: str, operation: str, arguments: dict[str, Any]) -> Any:
        try:
            return await self.real.call(capability, operation, **arguments)
        except JackfieldError as error:
            return error.code

    async def _ask_fake(self, capability: str, operation: str, arguments: dict[str, Any]) -> Any:
        reply = self.fake.answer(wire.HostCall(1, capability, operation, msgspec.Raw(wire.encode(arguments))))
        return msgspec.msgpack.decode(reply.value) if reply.failure is None else reply.failure.code


def nameless(answer: Any, known: dict[str, str]) -> Any:
    """An answer without what each side calls things, which is remembered."""
    if isinstance(answer, list):
        return [nameless(one, known) for one in answer]
    if not isinstance(answer, dict):
        return answer
    names = {name: answer[name] for name in ("version", "upload", "content") if name in answer}
    known.update(names)
    return {**answer, **dict.fromkeys(names, "…")}


@dataclass
class World:
    runner: asyncio.Runner
    database: Database
    numbers: Iterator[int]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    load_models()
    path = tmp_path_factory.mktemp("keeping") / "jackfield.sqlite3"
    with asyncio.Runner() as runner:

        async def start() -> Database:
            database = Database(f"sqlite+aiosqlite:///{path}")
            async with database.engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
            return database

        database = runner.run(start())
        yield World(runner, database, itertools.count())
        runner.run(database.close())


@settings(max_examples=120, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
@example(
    steps=[
        ("files", "begin", {"path": "a.txt", "content_type": "text/csv"}),
        ("files", "send", {"upload": "latest", "number": 0, "data": b"\0" * PART}),
        ("files", "send", {"upload": "latest", "number": 1, "data": b"1"}),
        ("files", "send", {"upload": "latest", "number": 2, "data": b"1"}),
        ("files", "finish", {"upload": "latest"}),
        ("files", "finish", {"upload": "latest"}),
        ("files", "read", {"path": "a.txt", "number": 1}),
    ]
)
def test_both_answer_alike(world: World, steps: list[tuple[str, str, dict[str, Any]]]) -> None:
    world.runner.run(play(world, steps))


async def play(world: World, steps: list[tuple[str, str, dict[str, Any]]]) -> None:
    clock, number = ManualClock(), next(world.numbers)
    real = installed(make_gate(world.database, clock=clock), f"tenant-{number}", f"inst-{number}")
    bare = parse_manifest({"slug": "loyalty", "version": "1.0.0", "name": "Loyalty"})
    fake = Broker(bare, {"storage", "cache", "files"}, Tables([], {}), {})
    fake.now = lambda: clock.moment.timestamp()
    both, names = Both(real, fake, clock), [dict[str, str](), dict[str, str]()]
    for capability, operation, arguments in steps:
        if capability == "clock":
            clock.advance(arguments["seconds"])
        else:
            await both.ask(capability, operation, arguments, names)
