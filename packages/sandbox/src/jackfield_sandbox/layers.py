"""The layers that seal an isolate, and the order in which a freshly forked child puts them on.

Everything here is host-owned code that runs before any of the plugin's. A layer that cannot be put on ends the child:
there is no falling back.
"""

from __future__ import annotations

import ctypes
import enum
import os
import resource
import signal
import struct

from jackfield_sandbox import kernel, landlock, seccomp

__all__ = ["LEVELS", "Layer", "Level", "Sealer", "layers_of"]


class Layer(enum.Flag):
    """One mechanism of the kernel."""

    NAMESPACES = enum.auto()
    """Own network, IPC, UTS, mount and process-id namespaces; put on once, by the zygote."""
    EMPTY_ROOT = enum.auto()
    """The root directory is an empty read-only file system; put on once, by the zygote."""
    CGROUP = enum.auto()
    RLIMITS = enum.auto()
    OWN_UID = enum.auto()
    DESCRIPTORS = enum.auto()
    """Everything but the channel is closed."""
    LANDLOCK = enum.auto()
    SECCOMP = enum.auto()


Level = str
"""`strict`, `unprivileged` or `none`."""

_UNPRIVILEGED = Layer.RLIMITS | Layer.DESCRIPTORS | Layer.LANDLOCK | Layer.SECCOMP

LEVELS: dict[Level, Layer] = {
    "strict": _UNPRIVILEGED | Layer.NAMESPACES | Layer.EMPTY_ROOT | Layer.CGROUP | Layer.OWN_UID,
    "unprivileged": _UNPRIVILEGED,
    "none": Layer.DESCRIPTORS,
}


def layers_of(level: Level) -> Layer:
    """Layers that a level demands.

    Raises:
        ValueError: There is no such level.
    """
    try:
        return LEVELS[level]
    except KeyError:
        raise ValueError(f"no isolation level {level!r}; there are {', '.join(LEVELS)}") from None


class Sealer:
    """Puts the layers on; one per zygote.

    What a child inherits is put on in the zygote by `prepare`, before the first fork; what must be each child's own, by
    `seal`. That is a list of system calls, made one after the other by the same few lines: a child that runs less code
    writes to fewer pages, and every page it writes to is copied and is its own from then on. Before `prepare` the calls
    do nothing, so that `seal` can be rehearsed in the zygote and CPython has no caches to fill in the child.

    Args:
        layers: Which ones. All of them but while the doctor proves what each is for.
    """

    def __init__(self, layers: Layer) -> None:
        self._layers = layers
        self._program: seccomp.Program | None = None
        self._ruleset = -1
        if layers & (Layer.SECCOMP | Layer.LANDLOCK):
            kernel.check_machine()
        if Layer.LANDLOCK in layers and landlock.abi() == 0:
            raise OSError("this kernel has no Landlock, or it is switched off at boot (lsm=)")
        # Without any layer of ours a machine whose numbers we do not know will do.
        self._knows_numbers = kernel.is_known_machine()
        self._numbers = _REHEARSED
        self._limits = ctypes.create_string_buffer(_LIMITS.size)
        self._zero = ctypes.create_string_buffer(b"0")
        self._addresses = (ctypes.addressof(self._zero), ctypes.addressof(self._limits))

    def prepare(self) -> None:
        """In the zygote, last thing: all that a fork hands down."""
        layers = self._layers
        if Layer.RLIMITS in layers:
            for kind, value in _INHERITED_LIMITS:
                resource.setrlimit(kind, (value, value))
        kernel.set_no_new_privileges()
        kernel.set_not_dumpable()
        if layers & (Layer.LANDLOCK | Layer.SECCOMP) and Layer.OWN_UID not in layers:
            # Root without uids of their own for its isolates keeps its name, but nothing that comes with it.
            kernel.drop_capabilities()
        if Layer.LANDLOCK in layers:
            self._ruleset = landlock.create_ruleset(landlock.abi())
        if Layer.SECCOMP in layers:
            self._program = seccomp.build()
        self._numbers = tuple(
            number if layer is None or layer in layers else _LEFT_OUT
            for number, layer in ((number, layer) for _name, number, layer in _CALLS)
        )

    def seal(
        self,
        *,
        channel: int,
        keep: int,
        procs: int,
        address_space_bytes: int,
        descriptors: int,
        threads: int,
        uid: int,
        parent: int,
    ) -> None:
        """In the child: the rest, in order; returns sealed.

        Args:
            channel: Its end of the channel; becomes `keep`, the one descriptor that stays open.
            procs: `cgroup.procs` of its memory group.
            address_space_bytes: All of its virtual memory, the zygote's included.
            threads: Threads of its user; counted per uid, so it is set only with a uid of its own.
            uid: User and group of the child's own, with `OWN_UID`.
            parent: Process id of the zygote, as the child sees it.

        Raises:
            OSError: A layer could not be put on; the message names it.
        """
        if not self._knows_numbers:
            self._seal_nothing(channel, keep)
            return
        numbers = self._numbers
        if uid < 1000 and numbers[_SETRESUID] >= 0:
            raise ValueError("an isolate needs a uid of its own")
        zero, limits = self._addresses
        _LIMITS.pack_into(
            self._limits, 0, address_space_bytes, address_space_bytes, threads, threads, descriptors, descriptors
        )
        for step, (first, second, third, fourth) in enumerate(
            (
                (procs, zero, 1, 0),
                (channel, keep, 0, 0),
                (0, _RLIMIT_AS, limits, 0),
                (0, _RLIMIT_NPROC, limits + 16, 0),
                (0, 0, 0, 0),
                (uid, uid, uid, 0),
                # From root to another user the kernel also takes all capabilities, and keeps it undumpable.
                (uid, uid, uid, 0),
                # After the change of credentials, which clears it.
                (_PR_SET_PDEATHSIG, _SIGKILL, 0, 0),
                (self._ruleset, 0, 0, 0),
                (0, keep - 1, 0, 0),
                (keep + 1, _HIGHEST, 0, 0),
                (0, _RLIMIT_NOFILE, limits + 32, 0),
            )
        ):
            number = numbers[step]
            if number >= 0 and kernel.raw(number, first, second, third, fourth) < 0:
                raise _failed(step)
        if os.getppid() != parent:
            # The zygote died in between, so the signal will never come.
            os._exit(1)
        # Last: it allows none of the calls above.
        program, number = self._program, numbers[_SECCOMP]
        if program is not None:
            program.allow_signals_to(os.getpid())
            address = program.address
        else:
            address = 0
        if number >= 0 and kernel.raw(number, _SET_MODE_FILTER, 0, address, 0) < 0:
            raise _failed(_SECCOMP)

    def _seal_nothing(self, channel: int, keep: int) -> None:
        os.dup2(channel, keep)
        kernel.set_parent_death_signal(signal.SIGKILL)
        if Layer.DESCRIPTORS in self._layers:
            os.closerange(0, keep)
            os.closerange(keep + 1, _HIGHEST)


_LEFT_OUT = -1
_HIGHEST = 2**31 - 1
_LIMITS = struct.Struct("=6Q")
_CALLS: tuple[tuple[str, int, Layer | None], ...] = (
    ("memory group", 1, Layer.CGROUP),
    ("channel", 33, None),
    ("RLIMIT_AS", 302, Layer.RLIMITS),
    ("RLIMIT_NPROC", 302, Layer.RLIMITS | Layer.OWN_UID),
    ("setgroups", 116, Layer.OWN_UID),
    ("setresgid", 119, Layer.OWN_UID),
    ("setresuid", 117, Layer.OWN_UID),
    ("PR_SET_PDEATHSIG", 157, None),
    ("Landlock", landlock.SYS_RESTRICT_SELF, Layer.LANDLOCK),
    ("close_range", 436, Layer.DESCRIPTORS),
    ("close_range", 436, Layer.DESCRIPTORS),
    ("RLIMIT_NOFILE", 302, Layer.RLIMITS),
    ("seccomp", seccomp.SYS_SECCOMP, Layer.SECCOMP),
)
"""What `seal` calls, in its order: for what, by which number (x86-64), and with which layers."""
_SETRESUID = 6
_SECCOMP = 12
_SET_MODE_FILTER = seccomp.SET_MODE_FILTER
_PR_SET_PDEATHSIG = 1
_SIGKILL = int(signal.SIGKILL)
_RLIMIT_AS = resource.RLIMIT_AS
_RLIMIT_NPROC = resource.RLIMIT_NPROC
_RLIMIT_NOFILE = resource.RLIMIT_NOFILE
_GETPID = 39
_REHEARSED = (_GETPID,) * len(_CALLS)
_INHERITED_LIMITS = (
    (resource.RLIMIT_CPU, 86_400),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_SIGPENDING, 64),
    (resource.RLIMIT_NICE, 0),
    (resource.RLIMIT_RTPRIO, 0),
)
"""Limits that bind the zygote as well; the node watches time from outside, RLIMIT_CPU is only the last word."""


def _failed(step: int) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{_CALLS[step][0]}: {os.strerror(number)}")
