"""The layers that seal an isolate, and the order in which a freshly forked child puts them on.

Everything here is host-owned code that runs before any of the plugin's. A layer that cannot be put on ends the child: there is
no falling back.
"""

from __future__ import annotations

import enum
import os
import resource
import signal
from dataclasses import dataclass

from jackfield_sandbox import kernel, landlock, seccomp

__all__ = ["LEVELS", "Layer", "Level", "Limits", "Sealer", "layers_of"]


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
    NOT_DUMPABLE = enum.auto()
    LANDLOCK = enum.auto()
    SECCOMP = enum.auto()


Level = str
"""`strict`, `unprivileged` or `none`."""

_UNPRIVILEGED = Layer.RLIMITS | Layer.DESCRIPTORS | Layer.NOT_DUMPABLE | Layer.LANDLOCK | Layer.SECCOMP

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


@dataclass(frozen=True, slots=True)
class Limits:
    """What one isolate may use over its life; the node watches time from outside.

    Attributes:
        address_space_bytes: All of its virtual memory, the zygote's included.
        threads: Threads of its user; counted per uid, so it holds only with a uid of its own.
    """

    address_space_bytes: int
    descriptors: int = 64
    threads: int = 32
    cpu_s: int = 86_400


class Sealer:
    """Puts the layers on; one per zygote, made before the first fork so that the child has nothing to compute.

    Args:
        layers: Which ones. All of them but while the doctor proves what each is for.
    """

    def __init__(self, layers: Layer) -> None:
        self._layers = layers
        self._program: seccomp.Program | None = None
        self._landlock_abi = 0
        if Layer.SECCOMP in layers or Layer.LANDLOCK in layers:
            kernel.check_machine()
        if Layer.SECCOMP in layers:
            self._program = seccomp.build()
        if Layer.LANDLOCK in layers:
            self._landlock_abi = landlock.abi()
            if self._landlock_abi == 0:
                raise OSError("this kernel has no Landlock, or it is switched off at boot (lsm=)")

    def close_descriptors(self, *keep: int) -> tuple[int, ...]:
        """Move the descriptors to keep to 3, 4, … and close all others."""
        # First out of the way of the numbers they are going to.
        high = [_duplicate_above(descriptor, 200) for descriptor in keep]
        moved = tuple(os.dup2(descriptor, 3 + index, inheritable=False) for index, descriptor in enumerate(high))
        if Layer.DESCRIPTORS in self._layers:
            kernel.close_range(0, 2)
            kernel.close_range(3 + len(moved))
        return moved

    def seal(self, limits: Limits, uid: int | None, parent: int) -> None:
        """All layers of the child, in order; returns sealed.

        Args:
            uid: User and group of the child's own, with `OWN_UID`.
            parent: Process id of the zygote, as the child sees it.
        """
        layers = self._layers
        kernel.set_parent_death_signal(signal.SIGKILL)
        if Layer.RLIMITS in layers:
            _set_limits(limits, own_uid=Layer.OWN_UID in layers)
        if Layer.OWN_UID in layers:
            if uid is None or uid < 1000:
                raise ValueError("an isolate needs a uid of its own")
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            # Changing credentials has cleared it.
            kernel.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            # The zygote died in between, so the signal will never come.
            os._exit(1)
        if Layer.NOT_DUMPABLE in layers:
            kernel.set_not_dumpable()
        kernel.set_no_new_privileges()
        if Layer.LANDLOCK in layers:
            ruleset = landlock.create_ruleset(self._landlock_abi)
            landlock.restrict_self(ruleset)
            os.close(ruleset)
        if self._program is not None:
            self._program.install(os.getpid())


def _duplicate_above(descriptor: int, minimum: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, minimum)


def _set_limits(limits: Limits, *, own_uid: bool) -> None:
    hard = [
        (resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, limits.descriptors),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 64),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
    ]
    if own_uid:
        hard.append((resource.RLIMIT_NPROC, limits.threads))
    for kind, value in hard:
        resource.setrlimit(kind, (value, value))
