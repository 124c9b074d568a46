"""The plugins that the cases run in, by what they need."""

from __future__ import annotations

from tests.hostile.case import Plugin

__all__ = ["AT_IMPORT", "BETWEEN", "BRIEF", "KERNEL", "PLAIN", "SMALL", "SPEAKER", "TENANT"]

PLAIN = Plugin("hostile-plain")
KERNEL = Plugin("hostile-kernel")
SMALL = Plugin("hostile-small", limits="memory_mb=64, cpu_ms=1000", permissions=("log", "storage"))
BRIEF = Plugin("hostile-brief", limits="cpu_ms=200")
SPEAKER = Plugin(
    "hostile-speaker",
    limits="cpu_ms=3000",
    permissions=("storage",),
    extra="""
    def number(ctx):
        # The node counts calls from one; the guest's own frame knows how far.
        frame = sys._getframe()
        while frame is not None:
            found = frame.f_locals.get('call')
            if isinstance(found, wire.Call):
                return found.id
            frame = frame.f_back
        raise LookupError('no call in sight')
    """,
)
TENANT = Plugin(
    "hostile-tenant",
    permissions=("storage",),
    extra="""
    @plugin.table('notes')
    class Note:
        text: str

    @plugin.config
    class Config:
        api_key: jf.Secret | None = None

    @plugin.function()
    def settle(ctx: jf.Context, note: str, row: str) -> str:
        ctx.storage.set('note', note)
        return ctx.tables['notes'].insert(text=row)['id']

    kept = []

    @plugin.function()
    def remember(ctx: jf.Context, what: str) -> int:
        kept.append(what)
        builtins = sys.modules['builtins']
        builtins.kept = getattr(builtins, 'kept', []) + [what]
        os.environ['KEPT'] = what
        return len(kept)

    @plugin.function()
    def recall(ctx: jf.Context) -> list[str]:
        import builtins
        return [*kept, *getattr(builtins, 'kept', []), *([os.environ['KEPT']] if 'KEPT' in os.environ else [])]

    @plugin.function()
    def draw(ctx: jf.Context) -> list[str]:
        import random, secrets, uuid
        return [str(random.getrandbits(64)), secrets.token_hex(8), os.urandom(8).hex(), str(uuid.uuid4())]

    @plugin.function()
    def who(ctx: jf.Context) -> list[int]:
        return [os.getuid(), os.getgid(), os.getpid()]

    @plugin.function()
    def look(ctx: jf.Context, mark: str) -> bool:
        # What somebody else left in the pages that this process is given.
        needle = (mark + ':').encode()
        return any(needle in ctypes.string_at(mapping(1 << 20, 3), 1 << 20) for _ in range(40))
    """,
)
BETWEEN = Plugin(
    "hostile-between",
    limits="memory_mb=64, cpu_ms=1000",
    permissions=("storage", "log", "secrets:api_key"),
    extra="""
    @plugin.config
    class Config:
        api_key: jf.Secret | None = None

    calls = []

    @plugin.function()
    def count(ctx: jf.Context) -> int:
        calls.append(1)
        return len(calls)

    @plugin.function()
    def burn_on(ctx: jf.Context) -> int:
        def burn():
            while True:
                pass
        threading.Thread(target=burn, daemon=True).start()
        return count(ctx)

    @plugin.function()
    def talk_on(ctx: jf.Context) -> int:
        def talk():
            time.sleep(0.2)
            while True:
                say(wire.Log('info', 'nobody asked'))
        threading.Thread(target=talk, daemon=True).start()
        return count(ctx)

    @plugin.function()
    def hoard(ctx: jf.Context) -> int:
        calls.append(bytearray(b'x') * (50 << 20))
        return len(calls)

    @plugin.function()
    def die(ctx: jf.Context) -> None:
        os._exit(1)

    @plugin.function(timeout_ms=500)
    def hang(ctx: jf.Context) -> None:
        time.sleep(3600)

    @plugin.function(timeout_ms=20_000)
    def wait(ctx: jf.Context) -> None:
        time.sleep(3600)

    @plugin.function()
    def forge_the_end(ctx: jf.Context) -> Any:
        frame = sys._getframe()
        while not isinstance(frame.f_locals.get('call'), wire.Call):
            frame = frame.f_back
        say(wire.Result(frame.f_locals['call'].id, raw('done')))
        while True:
            pass

    @plugin.function()
    def tell_a_secret(ctx: jf.Context) -> None:
        secret = ctx.config.api_key.reveal()
        print('the key is', secret)
        ctx.log.info('the key', key=secret)
        raise ValueError(f'the key is {secret}')
    """,
)

_AT_IMPORT_HEAD = """
import os
import resource
import sys
import time

import jackfield_sdk as jf
from jackfield_sdk import wire

# Made into a package it behaves: the packer gives half a gigabyte, the platform does not.
IS_AT_WORK = resource.getrlimit(resource.RLIMIT_AS)[0] < 450 << 20

plugin = jf.Plugin({slug!r}, version='1.0.0', limits=jf.Limits(memory_mb=64, cpu_ms=300, wall_ms=1000))


@plugin.function()
def work(ctx: jf.Context) -> int:
    return 1


if IS_AT_WORK:
    {attack}
"""
AT_IMPORT = {
    f"import-{name}": _AT_IMPORT_HEAD.format(slug=f"import-{name}", attack=attack)
    for name, attack in {
        "hangs": "time.sleep(3600)",
        "dies": "os._exit(0)",
        "hoards": "hoard = [bytearray(b'x') * (1 << 20) for _ in iter(int, 1)]",
        "forges": "os.write(200, wire.frame(wire.Ready(wire.PROTOCOL_VERSION)) * 2)",
        "unseals": "os.write(200, wire.frame(wire.Ready(wire.PROTOCOL_VERSION, wire.Failure('seal-failed', 'x'))))",
        "vanishes": "plugin = object()",
    }.items()
}
"""Plugins that attack while they are imported, before anything was asked of them."""
