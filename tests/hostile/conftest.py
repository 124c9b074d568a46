"""One platform for each level, for all tests of this folder; what it leaves behind is looked at when it has gone."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.hostile.canaries import Canaries, planted
from tests.hostile.cases import CLASSES
from tests.hostile.cases.plugins import AT_IMPORT, BETWEEN
from tests.hostile.house import House, Packages, pack, running
from tests.hostile.leaks import Belongings

# Root runs `strict` here, and the other level as an ordinary user (`test_ordinary_user.py`); both in `make soak`.
_WANTED = os.environ.get("JACKFIELD_HOSTILE_LEVELS")
LEVELS = _WANTED.split(",") if _WANTED else ["strict"] if os.geteuid() == 0 else ["unprivileged"]


@pytest.fixture(scope="package")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return pack(tmp_path_factory.mktemp("packages"), CLASSES, [BETWEEN], AT_IMPORT)


@pytest.fixture(scope="package")
def canaries() -> Iterator[Canaries]:
    with planted() as canaries:
        yield canaries


@pytest_asyncio.fixture(scope="package", loop_scope="package", params=LEVELS)
async def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, packages: Packages, canaries: Canaries
) -> AsyncIterator[House]:
    before = Belongings.now()
    async with running(tmp_path_factory.mktemp("house") / "data", request.param, packages, canaries) as house:
        yield house
        said = await house.everything_said()
    assert not canaries.seen_in(said), "a canary has been seen"
    gc.collect()
    assert Belongings.now().more_than(before) == {}
