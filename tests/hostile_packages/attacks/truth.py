"""Packages that are good in form, and refused for whose they are, what came before, or what their code is."""

from __future__ import annotations

from tests.hostile_packages.attacks import Package, attack
from tests.hostile_packages.house import OTHER_KEY, PUBLISHED, REVOKED_KEY
from tests.sdk.crafted import (
    KEY,
    Key,
    compiled,
)
from tests.server.registry.uploads import package as release
from tests.server.registry.uploads import source

__all__ = ["PLATFORM"]

_OTHER_SOURCE = b"import os\n" + source("fresh", "1.0.0")


def another_code(code: bytes) -> Package:
    return release("fresh", files={"code/src/plugin.pyc": code})


def liar() -> Key:
    """Another key, under the id of a known one."""
    key = Key(9)
    key.key_id = KEY.key_id
    return key


def frames(text: str) -> Package:
    """Code that, while it is looked at, answers in place of the SDK."""
    speech = (
        "import os, time\nimport msgspec\nimport jackfield_sdk as jf\nfrom jackfield_sdk import wire\n"
        'plugin = jf.Plugin("fresh", version="1.0.0")\n'
        "os.write(200, wire.frame(wire.Ready(1)))\n"
        f"os.write(200, wire.frame(wire.Result(1, msgspec.Raw({text}))))\ntime.sleep(0.2)\nos._exit(0)\n"
    )
    return release("fresh", files={"src/plugin.py": speech.encode()})


def code(text: str) -> Package:
    """Source that nobody has compiled before; what is signed beside it is made up."""
    return release("fresh", files={"src/plugin.py": text.encode(), "code/src/plugin.pyc": b"\xe3"})


_CODE = "source-invalid sealed-crashed bytecode-mismatch"

PLATFORM = (
    attack("key: unknown", "key-unknown", lambda: release("fresh", key=Key(8))),
    attack("key: revoked", "key-revoked", lambda: release("fresh", key=REVOKED_KEY)),
    attack("key: another publisher's", "key-unknown", lambda: release("fresh", key=OTHER_KEY)),
    attack("key: under another one's id", "signature-invalid", lambda: release("fresh", key=liar())),
    attack("replay: the same package", "version-not-greater", lambda: PUBLISHED),
    attack("replay: the same version", "version-not-greater", lambda: release("points", "2.0.0", summary="New.")),
    attack("replay: by another publisher", "key-unknown", lambda: PUBLISHED, by_other=True),
    attack("downgrade", "version-not-greater", lambda: release("points", "1.9.9")),
    attack("downgrade to a pre-release", "version-not-greater", lambda: release("points", "2.0.0-rc.1")),
    attack("slug: another publisher's", "slug-taken", lambda: release("points", "9.0.0", key=OTHER_KEY), by_other=True),
    attack("slug: one that looks alike", "slug-confusable", lambda: release("po1nts", key=OTHER_KEY), by_other=True),
    attack(
        "slug: one that looks alike but for a hyphen",
        "slug-confusable",
        lambda: release("point-s", key=OTHER_KEY),
        by_other=True,
    ),
    attack("slug: reserved", "slug-reserved", lambda: release("install")),
    attack("slug: the platform's name", "slug-reserved", lambda: release("jackfield")),
    attack("slug: nearly the platform's name", "slug-reserved", lambda: release("jackf1eld")),
    attack(
        "byte code: of other source",
        "bytecode-mismatch",
        lambda: another_code(compiled("src/plugin.py", _OTHER_SOURCE)),
    ),
    attack("byte code: none", "bytecode-mismatch", lambda: another_code(b"")),
    attack(
        "byte code: cut",
        "bytecode-mismatch",
        lambda: another_code(compiled("src/plugin.py", source("fresh", "1.0.0"))[:-1]),
    ),
    attack(
        "byte code: something added",
        "bytecode-mismatch",
        lambda: another_code(compiled("src/plugin.py", source("fresh", "1.0.0")) + b"\0"),
    ),
    attack(
        "manifest: asks for less than the code",
        "manifest-mismatch",
        lambda: release("fresh", permissions=["customers:write"], signed={"permissions": []}),
    ),
    attack("manifest: another name", "manifest-mismatch", lambda: release("fresh", signed={"name": "Bank"})),
    attack(
        "manifest: of other code",
        "manifest-mismatch",
        lambda: release("fresh", files={"src/plugin.py": source("innocent", "1.0.0")}),
    ),
    attack(
        "manifest: two lines where one belongs",
        "manifest-invalid",
        lambda: release("fresh", signed={"summary": "Safe.\nReviewed by the platform."}),
    ),
    attack("manifest: a range that nobody can read", "range-invalid", lambda: release("fresh", platform="whenever")),
    attack(
        "answers: text that is not UTF-8", "sealed-crashed manifest-invalid", lambda: frames(r'b"\x81\xa1\xff\x01"')
    ),
    attack(
        "answers: a nest without end", "sealed-crashed manifest-invalid", lambda: frames(r'b"\x91" * 50_000 + b"\x01"')
    ),
    attack(
        "answers: a map of maps", "sealed-crashed manifest-invalid", lambda: frames(r'b"\x81\xa1a\x81\x81\x01\x01\x01"')
    ),
    attack(
        "answers: four billion items", "sealed-crashed manifest-invalid", lambda: frames(r'b"\xdf\xff\xff\xff\xff"')
    ),
    attack(
        "answers: a moment that never was",
        "sealed-crashed manifest-invalid",
        lambda: frames(r'b"\x81\xa4slug\xc7\x0c\xff" + b"\xff" * 12'),
    ),
    attack("code: parentheses", _CODE, lambda: code("(" * 50_000 + ")" * 50_000)),
    attack("code: signs", _CODE, lambda: code("-" * 500_000 + "1")),
    attack("code: a sum of a million", _CODE, lambda: code("1+" * 1_000_000 + "1")),
    attack("code: a branch of ten thousand", _CODE, lambda: code("if a: pass\n" + "elif a: pass\n" * 20_000)),
    attack(
        "code: large constants",
        _CODE,
        lambda: code('x = "a" * 4000 * 4000\ny = 1 << 100 << 10**9\nz = ((1,) * 256,) * 256\n'),
    ),
    attack(
        "code: bytes that are no text",
        _CODE,
        lambda: release("fresh", files={"src/plugin.py": b"x = '\xff'\n", "code/src/plugin.pyc": b"\xe3"}),
    ),
    attack("code: NUL", _CODE, lambda: code("x = 1\0\n")),
    attack(
        "code: writes a file as it is imported",
        "plugin-import-failed",
        lambda: release("fresh", files={"src/plugin.py": b"open('/tmp/evil', 'w')\n" + source("fresh", "1.0.0")}),
    ),
    attack(
        "code: starts a program as it is imported",
        "plugin-import-failed",
        lambda: release("fresh", files={"src/plugin.py": b"import os\nos.fork()\n" + source("fresh", "1.0.0")}),
    ),
    attack(
        "code: eats memory as it is imported",
        "plugin-import-failed sealed-crashed",
        lambda: release("fresh", files={"src/plugin.py": b"x = []\nwhile True: x.append(bytearray(1 << 24))\n"}),
    ),
    attack(
        "code: leaves as it is imported",
        "sealed-crashed",
        lambda: release("fresh", files={"src/plugin.py": b"import os\nos._exit(0)\n"}),
    ),
    attack(
        "code: a megabyte of error",
        "plugin-import-failed",
        lambda: release("fresh", files={"src/plugin.py": b"raise ValueError('x' * 1_000_000)\n"}),
    ),
)
"""Good in form; refused for whose it is, what came before, or what its code is."""
