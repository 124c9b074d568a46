"""Code images: what an isolate imports from."""

from __future__ import annotations

import importlib.resources
import marshal
import sys
from collections.abc import Iterator

import pytest

from jackfield_sandbox import image as images


def _image(files: dict[str, bytes]) -> bytes:
    code = {
        path: marshal.dumps(compile(data, path.partition("/")[2], "exec"), 2)
        for path, data in files.items()
        if path.endswith(".py")
    }
    return images.build(files, code)


@pytest.fixture
def mounted() -> Iterator[list[images.ImageFinder]]:
    """Images installed by a test are taken out again, with the modules that came from them."""
    finders: list[images.ImageFinder] = []
    before = set(sys.modules)
    yield finders
    for finder in finders:
        sys.meta_path.remove(finder)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_packages_and_namespace_packages_import_from_an_image(mounted: list[images.ImageFinder]) -> None:
    data = _image({
        "src/jf_probe_main.py": b"from jf_probe_pkg.inner import value\nfrom jf_probe_space.deep.leaf import leaf\n",
        "vendor/jf_probe_pkg/__init__.py": b"",
        "vendor/jf_probe_pkg/inner.py": b"value = 42\n",
        "vendor/jf_probe_space/deep/leaf.py": b"leaf = 'leaf'\n",
    })  # fmt: skip
    mounted.append(images.install(images.Image(data)))
    import jf_probe_main  # pyright: ignore[reportMissingImports]  # lives in the image

    assert (jf_probe_main.value, jf_probe_main.leaf) == (42, "leaf")


def test_the_authors_own_module_wins_over_a_vendored_one_of_the_same_name(mounted: list[images.ImageFinder]) -> None:
    data = _image({"vendor/jf_probe_twice.py": b"who = 'vendor'", "src/jf_probe_twice.py": b"who = 'author'"})
    mounted.append(images.install(images.Image(data)))
    import jf_probe_twice  # pyright: ignore[reportMissingImports]  # lives in the image

    assert jf_probe_twice.who == "author"


def test_data_files_are_read_as_resources(mounted: list[images.ImageFinder]) -> None:
    data = _image({"src/jf_probe_res/__init__.py": b"", "src/jf_probe_res/words/en.txt": b"hello"})
    mounted.append(images.install(images.Image(data)))
    root = importlib.resources.files("jf_probe_res")
    assert (root / "words" / "en.txt").read_text() == "hello"
    assert [entry.name for entry in (root / "words").iterdir()] == ["en.txt"]


def test_traces_show_the_source(mounted: list[images.ImageFinder]) -> None:
    mounted.append(images.install(images.Image(_image({"src/jf_probe_src.py": b"x = 1\n"}))))
    finder = mounted[0]
    assert finder.get_source("jf_probe_src") == "x = 1\n"


def test_the_same_files_make_the_same_bytes() -> None:
    files = {"src/b.py": b"b = 1", "src/a.py": b"a = 1", "src/c.txt": b"c"}
    assert _image(files) == _image(dict(reversed(list(files.items()))))


@pytest.mark.parametrize("damage", [b"", b"JFIMG1\n", b"JFIMG1\n\x04\x00\x00\x00abcd", b"#!/bin/sh\n"])
def test_what_is_no_image_is_refused(damage: bytes) -> None:
    with pytest.raises((images.ImageError, Exception)) as caught:
        images.Image(damage)
    assert isinstance(caught.value, (images.ImageError, ValueError)) or type(caught.value).__name__ == "error"


def test_an_image_of_another_python_is_refused() -> None:
    data = bytearray(_image({"src/a.py": b"a = 1"}))
    import importlib.util

    at = data.index(importlib.util.MAGIC_NUMBER)
    data[at] ^= 1
    with pytest.raises(images.ImageError, match="another version"):
        images.Image(bytes(data))
