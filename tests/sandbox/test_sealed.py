"""One-shot sealed runs, for making and checking packages."""

from __future__ import annotations

import os

import pytest

from jackfield_sandbox import sealed
from jackfield_sdk.errors import PackageError

LEVELS = ["strict", "unprivileged"] if os.geteuid() == 0 else ["unprivileged"]
PLUGIN = b"""
import jackfield_sdk as jf

plugin = jf.Plugin("probe", version="1.2.3")


@plugin.function()
def twice(ctx: jf.Context, n: int) -> int:
    return 2 * n
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_plugin_is_described_without_running_it_here(level: str) -> None:
    manifest = sealed.describe(
        sealed.build_image({"src/plugin.py": PLUGIN}, level=level), "plugin", "probe", level=level
    )
    assert (manifest["slug"], manifest["version"]) == ("probe", "1.2.3")
    assert manifest["functions"][0]["parameters"]["required"] == ["n"]


def test_compiling_twice_gives_the_same_bytes() -> None:
    files = {"src/plugin.py": PLUGIN, "src/deep/mod.py": b"def f(a, b=(1, 2), *c): return {a: b}\n" * 3}
    assert sealed.compile_modules(files) == sealed.compile_modules(files)


def test_wrong_source_is_named_by_file_and_line() -> None:
    with pytest.raises(PackageError, match=r"src/plugin\.py, line 2") as caught:
        sealed.compile_modules({"src/plugin.py": b"x = 1\ndef f(:\n"})
    assert caught.value.code == "source-invalid"


@pytest.mark.parametrize("source", [
    b"x = " + b"(" * 5000 + b")" * 5000,
    b"x = " + b"-" * 200_000 + b"1",
    b"\x00\x01\x02",
    b"# coding: nonsense\n",
    b"x = '\xff\xfe'",
])  # fmt: skip
def test_source_that_attacks_the_compiler_is_refused_and_harms_nobody(source: bytes) -> None:
    with pytest.raises(PackageError) as caught:
        sealed.compile_modules({"src/plugin.py": source})
    assert caught.value.code in {"source-invalid", "sealed-crashed"}


@pytest.mark.parametrize(("source", "code"), [
    (b"open('/etc/passwd')", "plugin-import-failed"),
    (b"import socket; socket.create_connection(('127.0.0.1', 80))", "plugin-import-failed"),
    (b"import os; os.kill(os.getppid(), 9); os._exit(0)", "plugin-import-failed"),
    (b"raise SystemExit(0)", "plugin-import-failed"),
    (b"x = 1", "plugin-import-failed"),
    (b"import os; os._exit(0)", "sealed-crashed"),
    (b"x = bytearray(10**10)", "plugin-import-failed"),
])  # fmt: skip
def test_a_plugin_that_misbehaves_on_import_is_refused(source: bytes, code: str) -> None:
    image = sealed.build_image({"src/plugin.py": source})
    with pytest.raises(PackageError) as caught:
        sealed.describe(image, "plugin", "probe")
    assert caught.value.code == code


def test_a_wrong_declaration_says_where() -> None:
    source = b"import jackfield_sdk as jf\nplugin = jf.Plugin('Not A Slug', version='1')\n"
    with pytest.raises(PackageError, match="slug") as caught:
        sealed.describe(sealed.build_image({"src/plugin.py": source}), "plugin", "probe")
    assert caught.value.code == "manifest-invalid"


def test_a_process_with_many_descriptors_open_can_seal_one() -> None:
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(400)]
    try:
        assert sealed.compile_modules({"src/plugin.py": b"x = 1"})
    finally:
        for descriptor in taken:
            os.close(descriptor)
