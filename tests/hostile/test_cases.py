"""Every case of the table: it fails, the server and a neighbour go on, and it is on record."""

from __future__ import annotations

import pytest

from tests.hostile.case import Case, Class
from tests.hostile.cases import CLASSES
from tests.hostile.house import House, withstands

# Setting up starts a dozen zygotes, and the machine may be busy.
pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(600)]
ALL = [pytest.param(cls, case, id=f"{cls.name}: {case.name}") for cls in CLASSES for case in cls.cases]


@pytest.mark.parametrize(("cls", "case"), ALL)
async def test_an_attack_fails_harms_nobody_and_is_on_record(house: House, cls: Class, case: Case) -> None:
    if house.level in case.levels:
        await withstands(house, cls, case)


async def test_there_are_cases_of_every_class_that_the_design_names() -> None:
    assert len(CLASSES) >= 14
    assert len(ALL) >= 130
