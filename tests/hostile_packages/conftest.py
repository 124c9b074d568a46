from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.hostile_packages.house import House, running_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="session")
def patience_s(house: House) -> float:
    """How long others may wait while a hostile upload is looked at: a second, and more on a machine that is busy."""
    with house.watched() as watch:
        threading.Event().wait(1.0)
    return 1.0 + 10 * watch.slowest_s
