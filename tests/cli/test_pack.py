"""A project folder becomes a signed package, the same bytes each time, or a sentence that says what is wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from jackfield_cli.pack import PackedResult, pack_project
from jackfield_sdk.errors import PackageError
from jackfield_sdk.package import MAX_TOTAL_BYTES, read_package
from tests.sdk.crafted import KEY

PYPROJECT = """\
[project]
name = "corner-points"
version = "1.2.0"
description = "Points for loyal customers."
readme = "README.md"
license = "MIT"
dependencies = ["jackfield-sdk>=0.1", "msgspec"]
"""

PLUGIN = """\
import jackfield_sdk as jf
from helpers import double

plugin = jf.Plugin("corner-points", version="1.2.0", name="Corner points", permissions=["customers:read"])

FLAVOURS = {"vanilla", "mocha", "lemon", "ginger", "cherry"}


@plugin.filter("order.beforeCreate")
def check(ctx, order):
    if order["flavour"] in {"durian", "salt", "ash", "coal", "tar"}:
        raise jf.VetoError("we do not sell that")
    return double(order)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    put(folder, "pyproject.toml", PYPROJECT)
    put(folder, "plugin.py", PLUGIN)
    put(folder, "helpers.py", "def double(order):\n    return order\n")
    put(folder, "README.md", "# Corner points\n")
    put(folder, "texts/greetings.json", '{"en": "Hello"}\n')
    return folder


def put(folder: Path, name: str, text: str | bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def pack(folder: Path) -> PackedResult:
    return pack_project(folder, folder.parent / "out.jfp", key=KEY)


def contents(result: PackedResult) -> dict[str, bytes]:
    return read_package([result.path.read_bytes()], KEY.verify)[1]


def refused(folder: Path) -> PackageError:
    with pytest.raises(PackageError) as caught:
        pack(folder)
    assert not (folder.parent / "out.jfp").exists()
    return caught.value


def test_a_folder_becomes_a_package_that_the_reader_accepts(folder: Path) -> None:
    result = pack(folder)
    package, files = read_package([result.path.read_bytes()], KEY.verify)
    assert sorted(files) == [
        "code/src/helpers.pyc",
        "code/src/plugin.pyc",
        "manifest.json",
        "src/README.md",
        "src/helpers.py",
        "src/plugin.py",
        "src/texts/greetings.json",
    ]
    assert (result.slug, result.version, result.key_id) == ("corner-points", "1.2.0", KEY.key_id)
    assert (result.digest, result.size, result.files) == (package.digest, package.size, len(files))
    assert package.manifest.permissions == ["customers:read"]
    assert files["src/plugin.py"] == PLUGIN.encode()


def test_the_project_file_gives_the_texts_that_the_code_leaves_out(folder: Path) -> None:
    manifest = pack(folder).manifest
    assert manifest.summary == "Points for loyal customers."
    assert manifest.description == "# Corner points\n"
    assert manifest.licence == "MIT"
    put(folder, "plugin.py", PLUGIN.replace('name="Corner points"', 'name="Corner points", summary="By code"'))
    assert pack(folder).manifest.summary == "By code"


def test_given_a_folder_the_package_is_named_after_the_release(folder: Path) -> None:
    (folder.parent / "dist").mkdir()
    result = pack_project(folder, folder.parent / "dist", key=KEY)
    assert result.path == folder.parent / "dist" / "corner-points-1.2.0.jfp"


def test_the_same_folder_gives_the_same_bytes_in_another_process_with_another_hash_seed(folder: Path) -> None:
    home = folder.parent / "home"
    script = "import sys; from pathlib import Path; from jackfield_cli.pack import pack_project\n"
    script += "pack_project(Path(sys.argv[1]), Path(sys.argv[2]))"
    made: list[bytes] = []
    for seed in ("1", "2"):
        out = folder.parent / f"{seed}.jfp"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "JACKFIELD_HOME": str(home)}
        subprocess.run([sys.executable, "-c", script, str(folder), str(out)], check=True, env=environment, timeout=60)
        made.append(out.read_bytes())
        for path in folder.rglob("*"):
            os.utime(path, (1, 1))  # times are not part of a plugin
    assert made[0] == made[1]


def test_what_is_not_the_plugin_is_left_out(folder: Path) -> None:
    for name in (
        ".env", ".git/config", ".venv/lib/evil.pth", "venv/pyvenv.cfg", "venv/lib/x.py", "tests/test_it.py",
        "__pycache__/plugin.cpython-311.pyc", "dist/old.jfp", "build/x.py", "conftest.py", "old.jfp", "uv.lock",
        "corner_points.egg-info/PKG-INFO", "my-env/pyvenv.cfg", "my-env/lib/native.so",
    ):  # fmt: skip
        put(folder, name, b"left out")
    before = set(contents(pack(folder)))
    assert not any("left out" in name or "env" in name or "test" in name or "x.py" in name for name in before)
    assert len(before) == 7


def test_files_of_another_kind_are_left_out_and_told(folder: Path) -> None:
    put(folder, "Makefile", "all:\n")
    put(folder, "notes.docx", b"PK")
    result = pack(folder)
    assert result.skipped == ("Makefile", "notes.docx")
    assert len(contents(result)) == 7


def test_include_and_exclude_say_what_the_plugin_is(folder: Path) -> None:
    put(folder, "scratch.py", "x = 1\n")
    put(folder, "data/big.csv", "a\n")
    put(folder, "pyproject.toml", PYPROJECT + '[tool.jackfield]\nexclude = ["scratch.py", "data/"]\n')
    assert not {"src/scratch.py", "src/data/big.csv"} & contents(pack(folder)).keys()
    put(folder, "pyproject.toml", PYPROJECT + '[tool.jackfield]\ninclude = ["plugin.py", "helpers.py", "data/*"]\n')
    assert contents(pack(folder)).keys() >= {"src/data/big.csv"}
    assert "src/README.md" not in contents(pack(folder))


def test_another_entry_may_be_named(folder: Path) -> None:
    (folder / "plugin.py").rename(folder / "start.py")
    assert refused(folder).code == "entry-missing"
    put(folder, "pyproject.toml", PYPROJECT + '[tool.jackfield]\nentry = "start"\n')
    result = pack(folder)
    assert result.manifest.entry == "start"
    assert "src/start.py" in contents(result)


# -- what is refused -------------------------------------------------------------------------------------------------


def test_versions_must_agree(folder: Path) -> None:
    put(folder, "pyproject.toml", PYPROJECT.replace("1.2.0", "1.3.0"))
    error = refused(folder)
    assert error.code == "version-mismatch"
    assert "1.2.0" in str(error)
    assert "1.3.0" in str(error)


def test_names_must_agree_in_the_form_that_indexes_compare(folder: Path) -> None:
    put(folder, "pyproject.toml", PYPROJECT.replace('"corner-points"', '"Corner_Points"'))
    assert pack(folder).slug == "corner-points"
    (folder.parent / "out.jfp").unlink()
    put(folder, "pyproject.toml", PYPROJECT.replace('"corner-points"', '"other"'))
    assert refused(folder).code == "slug-mismatch"


@pytest.mark.parametrize(
    "text",
    [
        "", "[project]\n", "nonsense", '[project]\nname = "a"\n', '[project]\nname = 5\nversion = "1.0.0"\n',
        '[project]\nname = "corner-points"\ndynamic = ["version"]\n', PYPROJECT + "[tool.jackfield]\nsurprise = 1\n",
        PYPROJECT + '[tool.jackfield]\ninclude = "plugin.py"\n', PYPROJECT.replace("README.md", "../secret.md"),
        PYPROJECT.replace("README.md", "missing.md"), PYPROJECT.replace('"msgspec"', '"!!"'),
    ],
)  # fmt: skip
def test_a_project_file_that_says_too_little_or_wrong_is_refused(folder: Path, text: str) -> None:
    put(folder.parent, "secret.md", "secret")
    put(folder, "pyproject.toml", text)
    assert refused(folder).code == "project-invalid"


def test_a_folder_without_a_project_file_is_refused(folder: Path) -> None:
    (folder / "pyproject.toml").unlink()
    assert refused(folder).code == "project-missing"


def test_a_link_is_not_followed(folder: Path) -> None:
    put(folder.parent, "secret.txt", "secret")
    (folder / "notes.txt").symlink_to(folder.parent / "secret.txt")
    assert refused(folder).code == "source-link"
    (folder / "notes.txt").unlink()
    (folder / "more").symlink_to(folder.parent)
    assert refused(folder).code == "source-link"
    (folder / "more").unlink()
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(folder.parent / "secret.txt")
    assert refused(folder).code == "project-invalid"


def test_what_is_no_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "data.csv")
    assert refused(folder).code == "source-link"


@pytest.mark.parametrize(
    "name", ["evil.pth", "sitecustomize.py", "lib/native.so", "lib/native.so.1", "usercustomize/a.txt"]
)
def test_a_file_that_would_run_by_itself_is_not_left_out_in_silence(folder: Path, name: str) -> None:
    put(folder, name, b"x")
    assert refused(folder).code == "package-file-refused"


def test_native_code_is_refused_by_its_first_bytes(folder: Path) -> None:
    put(folder, "logo.png", b"\x7fELF\x02\x01")
    assert refused(folder).code == "package-file-refused"


def test_a_syntax_error_is_told_with_its_line(folder: Path) -> None:
    put(folder, "helpers.py", "def double(order):\n    return return\n")
    error = refused(folder)
    assert error.code == "source-invalid"
    assert "helpers.py, line 2" in str(error)


def test_a_plugin_that_cannot_be_imported_is_told_with_its_trace(folder: Path) -> None:
    put(folder, "helpers.py", "import nowhere_to_be_found\n")
    error = refused(folder)
    assert error.code == "plugin-import-failed"
    assert "nowhere_to_be_found" in str(error) + error.hint


def test_the_plugin_is_imported_sealed(folder: Path) -> None:
    canary = folder.parent / "canary"
    put(folder, "helpers.py", f"double = None\nopen({str(canary)!r}, 'w').write('out')\n")
    assert refused(folder).code == "plugin-import-failed"
    assert not canary.exists()


# -- dependencies ----------------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, files: Mapping[str, bytes], *, tag: str = "py3-none-any") -> str:
    """A wheel in a folder of its own, and the line that locks it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        f"{info}/RECORD": b"",
        f"{info}/licenses/LICENSE": b"Do as you please.\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in everything.items():
            archive.writestr(inner, data)
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip looks, and the only place."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def depend(folder: Path, lock: str | None, *, on: str = "spice>=1") -> None:
    put(folder, "pyproject.toml", PYPROJECT.replace('"msgspec"]', f'"msgspec", "{on}"]'))
    put(folder, "plugin.py", "import spice\n" + PLUGIN)
    if lock is not None:
        put(folder, "requirements.lock", lock)


SPICE = {"spice/__init__.py": b"HOT = 1\n", "spice/py.typed": b"", "spice/table.csv": b"a\n", "spice/x.c": b"int x;"}


def test_locked_dependencies_come_into_the_package(folder: Path, wheels: Path) -> None:
    depend(folder, "# made by a tool\n" + wheel(wheels, "spice", SPICE) + "jackfield-sdk==0.1.0 --hash=sha256:00\n")
    files = contents(pack(folder))
    assert {name for name in files if "vendor" in name} == {
        "vendor/spice/__init__.py",
        "vendor/spice/py.typed",
        "vendor/spice/table.csv",
        "vendor/spice-1.0.dist-info/METADATA",
        "vendor/spice-1.0.dist-info/licenses/LICENSE",
        "code/vendor/spice/__init__.pyc",
    }
    assert "src/requirements.lock" not in files


def test_dependencies_without_a_lock_are_refused_with_the_way_to_make_one(folder: Path, wheels: Path) -> None:
    wheel(wheels, "spice", SPICE)
    depend(folder, None)
    error = refused(folder)
    assert error.code == "dependencies-unlocked"
    assert "requirements.lock" in error.hint


def test_a_dependency_that_the_lock_does_not_name_is_refused(folder: Path, wheels: Path) -> None:
    depend(folder, wheel(wheels, "spice", SPICE), on="Pepper_Corn[hot]>=1; python_version>'3'")
    assert refused(folder).code == "dependencies-unlocked"


def test_a_wheel_that_is_not_the_locked_one_is_refused(folder: Path, wheels: Path) -> None:
    lock = wheel(wheels, "spice", SPICE)
    wheel(wheels, "spice", {"spice/__init__.py": b"import evil\n"})
    depend(folder, lock)
    error = refused(folder)
    assert error.code == "dependency-unavailable"
    assert "hash" in str(error).lower()


def test_a_lock_without_hashes_is_refused(folder: Path, wheels: Path) -> None:
    wheel(wheels, "spice", SPICE)
    depend(folder, "spice==1.0\n")
    assert refused(folder).code == "dependency-unavailable"


def test_a_wheel_for_one_machine_is_refused(folder: Path, wheels: Path) -> None:
    depend(folder, wheel(wheels, "spice", SPICE, tag="cp311-cp311-manylinux_2_17_x86_64"))
    assert refused(folder).code == "dependency-unavailable"


@pytest.mark.parametrize(
    ("name", "data"), [("spice/_fast.so", b"x"), ("spice/_fast.pyd", b"x"), ("spice/table.csv", b"\x7fELF")]
)
def test_native_code_hidden_in_a_pure_wheel_is_refused(folder: Path, wheels: Path, name: str, data: bytes) -> None:
    depend(folder, wheel(wheels, "spice", {**SPICE, name: data}))
    error = refused(folder)
    assert error.code == "dependency-native"
    assert "spice" in str(error)


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "sitecustomize.py", "jackfield_sdk/__init__.py"])
def test_a_wheel_cannot_place_files_where_it_likes(folder: Path, wheels: Path, name: str) -> None:
    depend(folder, wheel(wheels, "spice", {**SPICE, name: b"x = 1\n"}))
    assert refused(folder).code in ("package-path-invalid", "package-file-refused", "dependency-unavailable")


def test_a_dependency_cannot_hide_a_file_of_the_plugin(folder: Path, wheels: Path) -> None:
    depend(folder, wheel(wheels, "spice", {**SPICE, "helpers.py": b"double = print\n"}))
    assert refused(folder).code == "package-path-collision"


def test_a_source_archive_is_not_built(folder: Path, wheels: Path) -> None:
    wheels.mkdir()
    path = wheels / "spice-1.0.tar.gz"
    path.write_bytes(b"whatever")
    depend(folder, f"spice==1.0 --hash=sha256:{hashlib.sha256(b'whatever').hexdigest()}\n")
    assert refused(folder).code == "dependency-unavailable"


def test_what_is_too_large_is_refused_before_it_is_written(folder: Path) -> None:
    for index in range(MAX_TOTAL_BYTES // 8_000_000 + 1):
        put(folder, f"data/{index}.dat", bytes(8_000_000))
    assert refused(folder).code == "package-too-large"
