"""Starting a zygote: which layers a level has, a clean environment, the control socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

import jackfield_sandbox
import jackfield_sdk
from jackfield_sandbox import rehearsal, stdlib
from jackfield_sandbox.layers import Layer, Level, layers_of
from jackfield_sandbox.zygote import Boot

__all__ = ["best_level", "default_cache", "optional_layers", "start_zygote"]

_VOCABULARY = ("capabilities/*.py", "context.py", "errors.py", "hooks/*.py", "plugin.py", "schema.py", "ui/*.py")
"""Files of the SDK whose words plugins use as names."""
_ENVIRONMENT = {
    # A home that is not there: libraries take it for granted that there is one, and know what to do when they cannot
    # read it.
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    # Symbols are looked up before the fork, not by every isolate.
    "LD_BIND_NOW": "1",
    # One arena, so that threads do not reserve 64 MB each.
    "MALLOC_ARENA_MAX": "1",
    "PYTHONUTF8": "1",
}


def best_level() -> Level:
    """What this process may have: `strict` for root, `unprivileged` else; `none` only when the environment says so."""
    if os.environ.get("JACKFIELD_ISOLATION") == "none":
        return "none"
    return "strict" if os.geteuid() == 0 else "unprivileged"


def optional_layers(level: Level) -> Layer:
    """Layers of the zygote that a level takes where the machine allows them."""
    return Layer.NAMESPACES | Layer.EMPTY_ROOT if level == "unprivileged" else Layer(0)


def default_cache() -> Path:
    """Where the standard library's image is kept when nobody says: the user's own cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jackfield"


def start_zygote(
    level: Level, *, cache: Path | None = None, without: Layer = Layer(0)
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Exec a zygote; it says `Started` or `Failed` on the socket when it is ready.

    Call it on a thread that lives as long as the zygote shall: the kernel ends the zygote with that thread.

    Args:
        without: Layers left off, for the doctor's proof that each one is needed.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    boot = Boot(
        control=theirs.fileno(),
        layers=(layers_of(level) & ~without).value,
        optional_layers=(optional_layers(level) & ~without).value,
        stdlib_image=str(stdlib.cached_image(cache or default_cache()).absolute()),
    )
    paths = [str(Path(module.__file__ or "").parent.parent) for module in (msgspec, jackfield_sdk, jackfield_sandbox)]
    sdk = Path(jackfield_sdk.__file__ or "").parent
    vocabulary = [str(path) for pattern in _VOCABULARY for path in sorted(sdk.glob(pattern))]
    vocabulary.append(str(Path(rehearsal.__file__)))
    command = [
        sys.executable, "-I", "-S", "-B", str(Path(jackfield_sandbox.__file__ or "").parent / "boot.py"),
        msgspec.json.encode(boot).decode(), *paths, "--", *vocabulary,
    ]  # fmt: skip
    try:
        process = subprocess.Popen(
            command,
            # Nothing of the server's environment.
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("JACKFIELD_DEBUG_ZYGOTE") else subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd="/",
            close_fds=True,
            # Out of the server's process group: Ctrl+C and the like are the server's to act on. Not a session of its
            # own: between sessions the kernel shares out processors by group, and a plugin that burns them would take
            # as much as the server, whatever its own priority.
            process_group=0,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    # Inherited by all isolates: when the machine runs out of memory, the kernel takes one of them and not the server.
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("800")
    return process, ours
