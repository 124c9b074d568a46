"""What `test_migrations` says holds on PostgreSQL too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jackfield.capabilities import Vault
from jackfield.capabilities.vault import parse_keys
from jackfield.db import Database
from tests.server.lifecycle.conftest import KEY, House
from tests.server.lifecycle.test_migrations import (
    test_a_call_of_the_old_release_finds_nothing_by_an_index_that_is_gone_rather_than_wrong_rows,
    test_a_down_that_fails_leads_to_the_data_of_then,
    test_a_failure_puts_everything_back,
    test_going_back_keeps_what_was_written_since_where_migrations_can_be_undone,
    test_going_back_restores_the_data_exactly_and_exports_what_there_was_otherwise,
    test_rows_that_are_alike_are_named_and_the_update_is_refused,
    test_ten_thousand_rows_go_there_and_back,
    test_the_new_release_sees_its_columns_and_the_index_finds_them,
    test_the_old_release_reads_its_data_meanwhile_and_writers_wait_for_the_end,
    test_there_are_three_ways_back_and_history_knows_the_rest,
    test_two_tenants_have_different_releases_of_it,
    test_what_was_kept_for_long_enough_goes,
)

__all__ = [
    "test_a_call_of_the_old_release_finds_nothing_by_an_index_that_is_gone_rather_than_wrong_rows",
    "test_a_down_that_fails_leads_to_the_data_of_then",
    "test_a_failure_puts_everything_back",
    "test_going_back_keeps_what_was_written_since_where_migrations_can_be_undone",
    "test_going_back_restores_the_data_exactly_and_exports_what_there_was_otherwise",
    "test_rows_that_are_alike_are_named_and_the_update_is_refused",
    "test_ten_thousand_rows_go_there_and_back",
    "test_the_new_release_sees_its_columns_and_the_index_finds_them",
    "test_the_old_release_reads_its_data_meanwhile_and_writers_wait_for_the_end",
    "test_there_are_three_ways_back_and_history_knows_the_rest",
    "test_two_tenants_have_different_releases_of_it",
    "test_what_was_kept_for_long_enough_goes",
]


@pytest.fixture
async def house(postgresql: Database, tmp_path: Path) -> AsyncIterator[House]:
    house = House(postgresql, tmp_path / "data", Vault(parse_keys(KEY)))
    yield house
    await house.lifecycle.close()
