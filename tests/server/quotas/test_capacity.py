"""A node whose settings promise more than its machine has does not start, and says what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackfield import Platform, Settings, ensure_key_file
from jackfield.quotas import CapacityError, Machine, capacity_of, check
from jackfield.settings import LimitSettings

SMALL, LARGE = Machine(1_950, 1_400), Machine(24_105, 23_700)


@pytest.mark.parametrize("machine", [SMALL, LARGE, Machine.here()])
def test_a_usual_machine_starts_with_no_settings_at_all(machine: Machine) -> None:
    capacity = check(Settings(), machine)
    assert 0 < capacity.memory_mb <= machine.available_mb
    assert capacity.isolates >= 16


def test_memory_and_number_of_isolates_come_from_the_machine_unless_they_are_set() -> None:
    assert capacity_of(Settings(), SMALL).memory_mb == 1_050
    assert capacity_of(Settings(), SMALL).isolates < capacity_of(Settings(), LARGE).isolates
    given = capacity_of(Settings(node_memory_mb=900, isolate_budget=40), LARGE)
    assert (given.memory_mb, given.isolates) == (900, 40)


@pytest.mark.parametrize(
    ("settings", "numbers", "remedy"),
    [
        (Settings(node_memory_mb=4_000), "4000 MB", "JACKFIELD_NODE_MEMORY_MB to 1050"),
        (Settings(limits=LimitSettings(memory_mb=512)), "of 512 MB, 2048 MB", "JACKFIELD_LIMIT_MEMORY_MB to 262"),
        (Settings(limits=LimitSettings(concurrency=64)), "64 isolates of 128 MB", "JACKFIELD_LIMIT_CONCURRENCY to 8"),
        (Settings(isolate_budget=5_000), "5000 isolates take 10000 MB", "JACKFIELD_ISOLATE_BUDGET to 525"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_with_the_numbers_and_a_remedy(
    settings: Settings, numbers: str, remedy: str
) -> None:
    with pytest.raises(CapacityError) as refused:
        check(settings, SMALL)
    assert numbers in str(refused.value)
    assert "1950 MB" in str(refused.value)
    assert remedy in refused.value.hint
    check(settings, Machine(1_000_000, 1_000_000))


async def test_a_node_that_cannot_keep_its_promises_does_not_start(tmp_path: Path) -> None:
    ensure_key_file(tmp_path)
    settings = Settings(data_dir=tmp_path, isolation="none", limits=LimitSettings(memory_mb=100_000_000))
    platform = Platform(settings)
    with pytest.raises(CapacityError):
        await platform.start()
    await platform.database.close()
    assert not (tmp_path / "jackfield.sqlite3").exists(), "before anything was done"


def machine_in(root: Path, *, groups: str, files: dict[str, int | str]) -> Machine:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 6291456 kB\n")
    (root / "proc/self/cgroup").write_text(groups)
    for name, value in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return Machine.here(root)


GB = 1024**3


def test_without_control_groups_all_of_the_machine_counts(tmp_path: Path) -> None:
    assert machine_in(tmp_path, groups="", files={}) == Machine(8_192, 6_144)


def test_the_tightest_group_of_version_2_on_the_way_up_counts(tmp_path: Path) -> None:
    machine = machine_in(
        tmp_path,
        groups="0::/outer/inner\n",
        files={
            "outer/inner/memory.max": "max",
            "outer/memory.max": 2 * GB,
            "outer/memory.current": GB,
            "outer/memory.stat": f"anon 7\ninactive_file {GB // 2}",
        },
    )
    assert (machine.total_mb, machine.available_mb) == (2_048, 1_536)
    assert "control group" in machine.limited_by


def test_a_group_of_version_1_counts_and_one_without_a_limit_does_not(tmp_path: Path) -> None:
    files: dict[str, int | str] = {"memory/box/memory.limit_in_bytes": GB, "memory/box/memory.usage_in_bytes": GB // 4}
    machine = machine_in(tmp_path / "a", groups="4:memory:/box\n", files=files)
    assert (machine.total_mb, machine.available_mb) == (1_024, 768)
    files["memory/box/memory.limit_in_bytes"] = 9223372036854771712
    assert machine_in(tmp_path / "b", groups="4:memory:/box\n", files=files) == Machine(8_192, 6_144)


def test_in_a_container_the_mounted_group_counts_whatever_it_is_called_outside(tmp_path: Path) -> None:
    files: dict[str, int | str] = {"memory.max": GB, "memory.current": 0}
    assert machine_in(tmp_path, groups="0::/docker/abc\n", files=files).total_mb == 1_024
