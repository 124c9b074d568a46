"""The layers that seal an isolate, and the order in which a freshly forked child puts them on.

Everything here is host-owned code that runs before any of the plugin's. A layer that cannot be put on ends the child:
there is no falling back.
"""

from __future__ import annotations

import enum
import os
import resource
import signal

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
    `seal`. A child that runs less code writes to fewer pages: every page it writes to is copied and is its own from
    then on.

    Args:
        layers: Which ones. All of them but while the doctor proves what each is for.
    """

    def __init__(self, layers: Layer) -> None:
        self._layers = layers
        self._has_uid = Layer.OWN_UID in layers
        self._has_limits = Layer.RLIMITS in layers
        self._has_clean_table = Layer.DESCRIPTORS in layers
        self._program: seccomp.Program | None = None
        self._ruleset = -1
        if layers & (Layer.SECCOMP | Layer.LANDLOCK):
            kernel.check_machine()
        if Layer.LANDLOCK in layers and landlock.abi() == 0:
            raise OSError("this kernel has no Landlock, or it is switched off at boot (lsm=)")

    def prepare(self) -> None:
        """In the zygote, last thing: all that a fork hands down."""
        if self._has_limits:
            for kind, value in _INHERITED_LIMITS:
                resource.setrlimit(kind, (value, value))
        kernel.set_no_new_privileges()
        kernel.set_not_dumpable()
        if self._layers & (Layer.LANDLOCK | Layer.SECCOMP) and not self._has_uid:
            # Root without uids of their own for its isolates keeps its name, but nothing that comes with it.
            kernel.drop_capabilities()
        if Layer.LANDLOCK in self._layers:
            self._ruleset = landlock.create_ruleset(landlock.abi())
        if Layer.SECCOMP in self._layers:
            self._program = seccomp.build()

    def seal(  # one argument for each limit
        self, *, address_space_bytes: int, descriptors: int, threads: int, uid: int, parent: int, keep: int
    ) -> None:
        """In the child: the rest, in order; returns sealed.

        Args:
            address_space_bytes: All of its virtual memory, the zygote's included.
            threads: Threads of its user; counted per uid, so it is set only with a uid of its own.
            uid: User and group of the child's own, with `OWN_UID`.
            parent: Process id of the zygote, as the child sees it.
            keep: The one descriptor that stays open.
        """
        if self._has_limits:
            resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
            if self._has_uid:
                resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))
        if self._has_uid:
            if uid < 1000:
                raise ValueError("an isolate needs a uid of its own")
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            # From root to another user the kernel also takes all capabilities, and keeps it undumpable.
            os.setresuid(uid, uid, uid)
        # After the change of credentials, which clears it.
        kernel.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            # The zygote died in between, so the signal will never come.
            os._exit(1)
        if self._ruleset >= 0:
            landlock.restrict_self(self._ruleset)
        if self._has_clean_table:
            os.closerange(0, keep)
            os.closerange(keep + 1, _HIGHEST)
        if self._has_limits:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        if self._program is not None:
            self._program.install(os.getpid())


_HIGHEST = 2**31 - 1
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
