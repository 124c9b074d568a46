"""The doctor: attacks itself, looks at an isolate from outside, and says which layer stopped what.

The server runs the same check at start and serves only when it comes out clean. A layer that is silently off is the
failure that is seen in the field, so each layer is proved on its own: by what the kernel says of a living isolate, and
for Landlock, which the kernel does not report, by what it stops when seccomp is out of its way.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jackfield.isolation.errors import IsolationError
from jackfield.isolation.interfaces import CallLimits, CallRequest, CallResult, IsolateSpec
from jackfield.isolation.isolate import Isolate
from jackfield.isolation.supervisor import Supervisor
from jackfield.tasks import together
from jackfield_sandbox import image as images
from jackfield_sandbox import landlock
from jackfield_sandbox.layers import Layer, Level, layers_of
from jackfield_sdk import wire

__all__ = ["Finding", "Report", "examine", "layer_names", "matrix"]

_LIMITS = CallLimits(20_000, 15_000, 0, 1 << 20, 1 << 18, 1 << 16)
_MEMORY_MB = 128
_DESCRIPTORS = 64
_NAMESPACES = ("net", "ipc", "uts", "mnt", "pid")

# Attacks whose success does not depend on the layers of a level, so that they prove nothing there.
_NOT_AT_UNPRIVILEGED = frozenset({"300 threads"})
"""Counting threads takes a uid of one's own; elsewhere memory and time bound them."""

_STOPPED_BY_LANDLOCK = ("list the root directory", "connect to an abstract unix socket")
"""Attacks that Landlock alone stops once seccomp is off: no namespace or empty root stands before them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        layer: The layer it speaks of; empty for attacks and needs, which speak of all.
        is_good: Whether it is as it should be.
        says: What was seen.
    """

    name: str
    is_good: bool
    says: str
    layer: str = ""


Found = Callable[[Iterable[Finding]], None]


@dataclass(slots=True)
class Report:
    """What an examination found."""

    level: Level
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def is_clean(self) -> bool:
        """Whether everything is as it should be."""
        return all(finding.is_good for finding in self.findings)

    @property
    def holes(self) -> list[Finding]:
        """What is not."""
        return [finding for finding in self.findings if not finding.is_good]


def layer_names(layers: Layer) -> list[str]:
    """Names as the command line takes them."""
    return [(layer.name or "").lower().replace("_", "-") for layer in Layer if layer in layers]


async def examine(level: Level, cache: Path, *, without: Layer = Layer(0)) -> Report:
    """Examine a level on this machine.

    Args:
        without: Layers to leave off, to see that the doctor notices.

    Raises:
        IsolationError: Nothing can be sealed at all; the message names the layer that fails.
    """
    report = Report(level)
    if level == "none":
        report.findings.append(
            Finding("isolation", is_good=False, says="switched off: plugins can do what the server can")
        )
        return report
    expected = layers_of(level)
    whole: list[Finding] = []
    behind: list[Finding] = []
    # Each has a zygote of its own to start, which is most of the time it takes.
    await together(
        _whole(level, cache, expected, without, whole.extend),
        _landlock(level, cache, expected, without, behind.extend),
    )
    report.findings += whole + behind
    return report


async def matrix(level: Level, cache: Path) -> dict[str, dict[str, str]]:
    """For each layer of the level: attack → what happens with this layer off and the others on; `all` has every one."""
    columns: dict[str, dict[str, str]] = {}
    wanted = [Layer(0), *(layer for layer in Layer if layer in layers_of(level))]
    for off in wanted:
        if Layer.NAMESPACES in off:
            off |= Layer.EMPTY_ROOT  # an empty root needs a mount namespace
        with _targets() as about:
            async with _running(Supervisor(level, cache, without=off), about) as patient:
                name = "all" if not off else "without " + ", ".join(layer_names(off))
                columns[name] = await patient.run("attack", about)
    return columns


async def _whole(level: Level, cache: Path, expected: Layer, without: Layer, found: Found) -> None:
    """All layers together: what the kernel says of an isolate, what attacks do, what must still work."""
    with _targets() as about:
        supervisor = Supervisor(level, cache, without=without)
        async with _running(supervisor, about) as patient:
            found(_from_outside(patient.isolate, expected))
            if Layer.DESCRIPTORS in expected:
                found([_descriptors(await patient.run("descriptors", {}))])
            found(_judged(await patient.run("attack", about), level))
            found(
                Finding(name, verdict == "OPEN", "works" if verdict == "OPEN" else verdict)
                for name, verdict in (await patient.run("work", {})).items()
            )


class _Patient:
    """An isolate that runs the attacks; replaced when one of them ends it."""

    def __init__(self, supervisor: Supervisor, image: Path, secret: int) -> None:
        self._supervisor = supervisor
        self._image = image
        self._secret = secret
        self.isolate = self._new()

    async def run(self, handler: str, about: dict[str, Any]) -> dict[str, str]:
        """All at once; one by one when that ends the process."""
        result = await self._call(handler, about)
        if result.status == "ok":
            return msgspec.msgpack.decode(result.value, type=dict[str, str])
        if handler != "attack":
            return {handler: result.status}
        found: dict[str, str] = {}
        listing = await self._call("names", {})
        for name in msgspec.msgpack.decode(listing.value, type=dict[str, str]):
            one = await self._call("attack", {**about, "only": [name]})
            verdicts = msgspec.msgpack.decode(one.value, type=dict[str, str]) if one.status == "ok" else {}
            found[name] = verdicts.get(name, one.status)
        return found

    async def _call(self, handler: str, about: dict[str, Any]) -> CallResult:
        if self.isolate.is_dead:
            self.isolate = self._new()
        request = CallRequest(
            "filter", handler, msgspec.Raw(wire.encode(about)), wire.CallContext("", "", "doctor"), _LIMITS
        )

        async def no_capabilities(call: wire.HostCall) -> wire.HostReply:
            return wire.HostReply(call.id, failure=wire.Failure("unavailable", "no capabilities here"))

        result = await self.isolate.call(request, no_capabilities)
        if result.status == "unsealed":
            raise IsolationError(f"an isolate cannot be sealed: {result.failure.message if result.failure else ''}")
        return result

    def _new(self) -> Isolate:
        isolate = Isolate(
            self._supervisor,
            memory_mb=_MEMORY_MB,
            descriptors=_DESCRIPTORS,
            frame_bytes=1 << 21,
            image_path=self._image,
            stray_descriptor=self._secret,
        )
        isolate.assign(
            IsolateSpec(
                ("doctor", 1), "doctor", "jackfield-doctor", "attacks", self._image,
                msgspec.Raw(wire.encode({})), [], _MEMORY_MB, 1,
            )
        )  # fmt: skip
        return isolate


@contextlib.asynccontextmanager
async def _running(supervisor: Supervisor, about: dict[str, Any]) -> AsyncGenerator[_Patient]:
    await supervisor.start()
    secret = os.open(about["secret"], os.O_RDONLY)
    with tempfile.TemporaryDirectory(prefix="jackfield-doctor-") as folder:
        image = Path(folder) / "attacks.img"
        image.write_bytes(_attack_image())
        try:
            # A neighbour with the same zygote, for the attacks on neighbours.
            neighbour = _Patient(supervisor, image, secret)
            patient = _Patient(supervisor, image, secret)
            await neighbour.run("version", {})
            await patient.run("version", {})
            yield patient
            for each in (neighbour, patient):
                each.isolate.kill("crashed")
                await each.isolate.gone()
        finally:
            os.close(secret)
            await supervisor.stop()


def _attack_image() -> bytes:
    source = Path(__file__).with_name("attacks.py").read_bytes()
    code = marshal.dumps(compile(source, "attacks.py", "exec", dont_inherit=True))
    return images.build({"src/attacks.py": source}, {"src/attacks.py": code})


@contextlib.contextmanager
def _targets() -> Generator[dict[str, Any]]:
    """Things worth attacking: listeners, a canary, a folder that anybody may write to."""
    folder = Path(tempfile.mkdtemp(prefix="jackfield-target-"))
    canary = secrets.token_hex(16)
    abstract = f"jackfield-{canary}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o777)  # the attack is to write here
        secret = folder / "secret"
        secret.write_text(canary)
        secret.chmod(0o644)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        for address in (f"\0{abstract}", str(folder / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(address)
            listener.listen(64)
        (folder / "socket").chmod(0o777)  # the attack is to connect to it
        yield {
            "tcp_port": tcp.getsockname()[1],
            "udp_port": udp.getsockname()[1],
            "folder": str(folder),
            "secret": str(secret),
            "socket": str(folder / "socket"),
            "abstract": abstract,
            "canary": canary,
        }


def _judged(verdicts: dict[str, str], level: Level) -> Iterator[Finding]:
    for name, verdict in verdicts.items():
        if level == "unprivileged" and name in _NOT_AT_UNPRIVILEGED:
            continue
        is_good = verdict != "OPEN"
        yield Finding(f"attack: {name}", is_good, f"stopped ({verdict})" if is_good else "the attack works")


def _from_outside(isolate: Isolate, expected: Layer) -> Iterator[Finding]:
    """What the kernel says of a living isolate, layer by layer."""
    proc = Path(f"/proc/{isolate.pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)

    def finding(layer: Layer, is_good: bool, good: str, bad: str) -> Finding:
        name = layer_names(layer)[0]
        return Finding(f"layer: {name}", is_good, good if is_good else f"HOLE: {bad}", name)

    if Layer.NAMESPACES in expected:
        shared = [n for n in _NAMESPACES if (proc / "ns" / n).readlink() == Path(f"/proc/self/ns/{n}").readlink()]
        yield finding(
            Layer.NAMESPACES, not shared, "own network, IPC, host name, mounts and processes",
            f"shares the host's {', '.join(shared)} namespace: sockets, processes and mounts of the host are in reach",
        )  # fmt: skip
    if Layer.EMPTY_ROOT in expected:
        entries = os.listdir(proc / "root")
        yield finding(
            Layer.EMPTY_ROOT, not entries, "the root directory is empty",
            f"the root directory shows {len(entries)} entries of the host's files",
        )  # fmt: skip
    if Layer.CGROUP in expected:
        inside = any(
            "/jackfield/" in line
            for line in (proc / "cgroup").read_text().splitlines()
            if "memory" in line or line.startswith("0::")
        )
        yield finding(
            Layer.CGROUP, inside, "in a memory group of its own",
            "in no memory group of its own: kernel memory and page cache on its behalf are not limited",
        )  # fmt: skip
    if Layer.RLIMITS in expected:
        limits = {line[:26].strip(): line[26:].split() for line in (proc / "limits").read_text().splitlines()[1:]}
        wrong = [
            name for name in ("Max address space", "Max processes", "Max open files") if limits[name][1] == "unlimited"
        ]
        if limits["Max file size"][1] != "0" or limits["Max core file size"][1] != "0":
            wrong.append("Max file size")
        if limits["Max address space"][1] == "unlimited":
            wrong.append("Max address space")
        yield finding(
            Layer.RLIMITS, not wrong, "memory, files, descriptors and core dumps are limited",
            f"no limit on: {', '.join(sorted(set(wrong)))}; memory, descriptors and files can be exhausted",
        )  # fmt: skip
    if Layer.OWN_UID in expected:
        uid = int(status["Uid"].split()[0])
        yield finding(
            Layer.OWN_UID, uid >= 0x1000_0000, f"user id {uid}, nobody else's",
            f"runs as user {uid}: what this user may signal, trace or read is in reach",
        )  # fmt: skip
    if Layer.SECCOMP in expected:
        yield finding(
            Layer.SECCOMP, status.get("Seccomp") == "2", "system calls are filtered",
            "no system call filter: sockets, io_uring, namespaces, bpf and the rest of the kernel are in reach",
        )  # fmt: skip
    uid = int(status["Uid"].split()[0])
    # The kernel gives these files to root when a process is not dumpable; root's own are root's in any case.
    is_dumpable = uid != 0 and (proc / "environ").stat().st_uid == uid
    yield Finding(
        "layer: not dumpable", not is_dumpable, "cannot be traced or dumped" if not is_dumpable else
        "HOLE: a process of the same user can trace it, and a crash can write its memory to disk",
    )  # fmt: skip
    capabilities = int(status["CapEff"], 16) | int(status["CapPrm"], 16) | int(status["CapInh"], 16)
    is_bare = capabilities == 0 and status.get("NoNewPrivs") == "1"
    yield Finding(
        "layer: no privileges", is_bare, "no capabilities, none to be had" if is_bare else
        "HOLE: it holds capabilities, or can get some",
    )  # fmt: skip


def _descriptors(open_ones: dict[str, str]) -> Finding:
    """Counted from inside: an undumpable process shows them to nobody but root."""
    is_good = len(open_ones) == 1
    says = "nothing is open but the channel" if is_good else f"HOLE: {len(open_ones) - 1} besides the channel are open"
    return Finding("layer: descriptors", is_good, says, "descriptors")


async def _landlock(level: Level, cache: Path, expected: Layer, without: Layer, found: Found) -> None:
    """Landlock, behind seccomp: what it alone stops when seccomp is off."""
    if Layer.LANDLOCK not in expected:
        return
    with _targets() as about:
        supervisor = Supervisor(level, cache, without=without | Layer.SECCOMP)
        async with _running(supervisor, about) as patient:
            # Signals and abstract sockets came with version 6; before that, directories are what is left to prove it.
            wanted = [n for n in _STOPPED_BY_LANDLOCK if landlock.abi() >= 6 or n.startswith("list")]
            verdicts = await patient.run("attack", {**about, "only": wanted})
    stopped = [name for name, verdict in verdicts.items() if verdict in ("EACCES", "EPERM")]
    is_on = "list the root directory" in stopped
    says = f"version {landlock.abi()}; alone it stops: {', '.join(stopped)}"
    missing = ", ".join(sorted(set(verdicts) - set(stopped)))
    good, bad = says, f"HOLE: off; nothing behind seccomp stops: {missing}"
    found([Finding("layer: landlock", is_on, good if is_on else bad, "landlock")])
