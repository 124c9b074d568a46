"""Each layer, switched off: what it alone stops becomes possible. A layer without such a case would be decoration."""

from __future__ import annotations

import pytest
import pytest_asyncio

from jackfield_sandbox import Layer
from jackfield_sandbox.layers import LEVELS
from tests.hostile.canaries import planted
from tests.hostile.conftest import LEVELS as AVAILABLE
from tests.hostile.house import Packages
from tests.hostile.leaks import Belongings
from tests.hostile.matrix import OPEN, SETS, Seen, see

# Setting up starts a dozen zygotes, and the machine may be busy.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

# Which layer → off together with which others (the filter stands before nearly everything) → what then works that does
# not work with the layer alone on again.
ALONE: list[tuple[Layer, str, str, list[str]]] = [
    (Layer.SECCOMP, "no seccomp", "all on", [
        "processes: clone a process", "kernel: userfaultfd", "kernel: add_key", "kernel: executable memory",
        "kernel: callbacks from C", "kernel: priority inheritance by futex", "descriptors: out-of-band data",
        "introspection: a neighbour's processor time", "introspection: a neighbour's processors",
        "introspection: which pages others have in memory", "memory: memory in a file without a name",
        "memory: have equal pages merged", "files: watch files, inotify", "network: netlink",
    ]),
    (Layer.RLIMITS, "no rlimits", "all on", ["memory: map 600 MB", "memory: map without reserving"]),
    (Layer.CGROUP, "no cgroup", "all on", ["memory: memory in socket buffers, beside all of its own"]),
    (Layer.OWN_UID, "no own uid", "all on", ["processes: three hundred threads"]),
    (Layer.OWN_UID, "no seccomp, no own uid", "no seccomp", ["introspection: a neighbour's limits"]),
    (Layer.DESCRIPTORS, "no closing", "all on", ["descriptors: whatever was left open"]),
    (Layer.LANDLOCK, "no seccomp, no Landlock", "no seccomp", ["files: list the root directory"]),
    (Layer.EMPTY_ROOT, "no seccomp, no empty root", "no seccomp", ["files: data about a file"]),
    (Layer.NAMESPACES, "no seccomp, no namespaces", "no seccomp", [
        "network: UDP to the server", "network: MPTCP to the server", "introspection: the server's processor time",
    ]),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """At the best level that this process may have: the other one's layers are among its own."""
    before = Belongings.now()
    with planted() as canaries:
        seen = await see(AVAILABLE[0], tmp_path_factory.mktemp("layers") / "data", packages, canaries)
    assert Belongings.now().more_than(before) == {}
    return seen


async def test_with_all_layers_on_nothing_is_open(seen: Seen) -> None:
    assert [key for key, verdict in seen.columns["all on"].items() if verdict == OPEN] == []


@pytest.mark.parametrize(("layer", "off", "on", "cases"), ALONE, ids=[f"{a[0].name}: {a[1]}" for a in ALONE])
async def test_a_layer_alone_stops_something(seen: Seen, layer: Layer, off: str, on: str, cases: list[str]) -> None:
    if layer not in LEVELS[seen.level]:
        return
    for case in cases:
        assert (seen.columns[on][case] != OPEN, seen.columns[off][case]) == (True, OPEN), case


async def test_every_layer_has_a_case_that_it_alone_stops() -> None:
    assert {layer for layer, *_rest in ALONE} == set(LEVELS["strict"])
    assert {off for _layer, off, *_rest in ALONE} | {"all on"} == set(SETS)
