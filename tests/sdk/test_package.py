"""A package is read strictly: what is not signed, in order and of a known kind is refused, and refused by name."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackfield_sdk.errors import PackageError
from jackfield_sdk.manifest import ConfigSection
from jackfield_sdk.package import (
    CODES,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_TOTAL_BYTES,
    PackageReader,
    check_path,
    first_difference,
    is_version,
    read_package,
    with_presentation,
    write_package,
)
from tests.sdk.crafted import (
    KEY,
    Entry,
    Key,
    archive,
    canonical,
    contents,
    entries,
    gzip,
    listing,
    manifest,
    package,
    signature,
)


def refused(chunks: bytes | Iterable[bytes], key: Key = KEY) -> str:
    """The code for which a package is refused."""
    with pytest.raises(PackageError) as caught:
        read_package([chunks] if isinstance(chunks, bytes) else chunks, key.verify)
    assert str(caught.value)
    return caught.value.code


def written(files: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    write_package(out, manifest(), {k: v for k, v in (files or contents()).items() if k != "manifest.json"}, KEY)
    return out.getvalue()


# -- what is right ---------------------------------------------------------------------------------------------------


def test_what_is_written_is_read() -> None:
    files = contents({"src/data/é.csv": b"a,b\n", "vendor/dep/__init__.py": b"x = 1\n", "src/empty.txt": b""})
    data = written(files)
    read, got = read_package([data], KEY.verify)
    assert got == files
    assert (read.listing.slug, read.listing.version) == ("crafted", "1.0.0")
    assert read.manifest == manifest()
    assert read.digest == hashlib.sha256(data).hexdigest()
    assert read.size == len(data)
    assert read.signature.key_id == KEY.key_id


def test_the_same_content_gives_the_same_bytes_whatever_order_it_comes_in() -> None:
    files = contents({"src/b.txt": b"b", "src/a.txt": b"a"})
    assert written(files) == written(dict(reversed(files.items())))


def test_a_package_made_by_hand_to_the_letter_of_the_format_is_what_the_writer_writes() -> None:
    assert package() == written()


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 4096])
def test_how_the_bytes_are_cut_does_not_matter(size: int) -> None:
    data = written()
    assert read_package([data[i : i + size] for i in range(0, len(data), size)], KEY.verify)[1] == contents()


def test_ordinary_tar_lists_a_package() -> None:
    long = "src/" + "/".join(["folders"] * 12) + "/" + "n" * 90 + ".txt"
    files = contents({long: b"deep"})
    with tarfile.open(fileobj=io.BytesIO(written(files)), mode="r:gz") as tar:
        assert tar.getnames() == ["jackfield.list", "jackfield.sig", *sorted(files)]
        member = tar.extractfile(long)
        assert member is not None
        assert member.read() == b"deep"


def test_a_file_is_handed_out_before_the_package_has_arrived() -> None:
    noise = random.Random(1).randbytes(200_000)
    data = written(contents({"src/z.dat": noise}))
    reader = PackageReader(KEY.verify)
    early = [file.path for file in reader.feed(data[: len(data) // 2])]
    assert early == ["code/src/plugin.pyc", "manifest.json", "src/README.md", "src/plugin.py"]


def test_nothing_is_handed_out_before_the_signature_was_checked() -> None:
    seen: list[str] = []

    def verify(key_id: str, raw: bytes, message: bytes) -> None:
        seen.append("verified")
        KEY.verify(key_id, raw, message)

    reader = PackageReader(verify)
    seen.extend(file.path for file in reader.feed(package()))
    assert seen[0] == "verified"
    assert len(seen) == 5


def test_a_list_is_not_even_parsed_when_its_signature_is_wrong() -> None:
    raw = b"[[[[ not JSON"
    raw_signature = signature(b"something else")
    assert refused(gzip(archive(entries({}, raw_list=raw, raw_signature=raw_signature)))) == "signature-invalid"


# -- the archive -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"M", b"V", b"D", b"Z"]
)
@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_links_devices_folders_and_foreign_headers_are_refused(kind: bytes, place: int) -> None:
    members = entries(contents())
    members.insert(place, Entry("src/a", b"", {"type": kind, "link": b"/etc/passwd"}))
    assert refused(gzip(archive(members))) == "package-entry-type"


def test_a_pax_header_before_a_good_file_is_refused() -> None:
    members = entries(contents())
    members.insert(4, Entry("src/plugin.py", b"30 path=../../evil.py\n        ", {"type": b"x"}))
    assert refused(gzip(archive(members))) == "package-entry-type"


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": b"0000755"},
        {"mode": b"0004755"},
        {"uid": b"0001750"},
        {"gid": b"0001750"},
        {"mtime": b"14741251333"},
        {"uname": b"root"},
        {"gname": b"root"},
        {"magic": b"ustar  \0"},
        {"link": b"/etc/passwd"},
        {"major": b"0000001"},
        {"tail": b"hidden"},
        {"size": b"\x80" + bytes(10) + b"\x05"},
        {"size": b"        123 "},
        {"size": b"-0000000001"},
        {"size": b"0x000000012"},
    ],
)
def test_a_header_in_any_other_form_is_refused(fields: dict[str, bytes]) -> None:
    members = entries(contents())
    last = members[-1]
    members[-1] = Entry(last.path, last.data, fields)
    assert refused(gzip(archive(members))) == "package-header-invalid"


def test_bytes_after_the_end_of_a_name_are_refused() -> None:
    members = entries(contents())
    members[-1] = Entry("", members[-1].data, {"name": b"src/plugin.py\0/../../evil"})
    assert refused(gzip(archive(members))) == "package-file-unlisted"


def test_a_wrong_checksum_is_refused() -> None:
    members = entries(contents())
    members[3] = Entry(members[3].path, members[3].data, {"checksum": b"000000\0 "})
    assert refused(gzip(archive(members))) == "package-header-invalid"


def test_bytes_hidden_in_the_padding_are_refused() -> None:
    raw = bytearray(archive(entries(contents())))
    raw[-1024 - 1] = 1  # the last byte of the last file's padding
    assert refused(gzip(bytes(raw))) == "package-header-invalid"


def test_the_name_in_the_header_must_be_the_listed_one() -> None:
    members = entries(contents())
    members[-1] = Entry("src/plugin2.py", members[-1].data)
    assert refused(gzip(archive(members))) == "package-file-unlisted"


def test_an_extra_file_is_refused_between_the_others_and_at_the_end() -> None:
    for place in (2, 4, 6):
        members = entries(contents())
        members.insert(place, Entry("src/extra.py", b"import os\n"))
        assert refused(gzip(archive(members))) == "package-file-unlisted"


def test_a_missing_file_is_refused() -> None:
    assert refused(gzip(archive(entries(contents())[:-1]))) == "package-file-missing"


def test_files_in_another_order_are_refused() -> None:
    members = entries(contents())
    members[2], members[3] = members[3], members[2]
    assert refused(gzip(archive(members))) == "package-order"


def test_a_file_twice_is_refused() -> None:
    for place in (-1, 6):
        members = entries(contents())
        members.insert(place, members[2])
        assert refused(gzip(archive(members))) == "package-order"


def test_a_changed_byte_in_any_file_is_refused() -> None:
    for index in range(2, 6):
        members = entries(contents())
        data = members[index].data
        members[index] = Entry(members[index].path, bytes([data[0] ^ 1]) + data[1:])
        assert refused(gzip(archive(members))) == "package-hash-mismatch"


def test_a_size_that_lies_in_the_header_is_refused() -> None:
    for size in (0, 10, 512, 8**11 - 1):
        members = entries(contents())
        members[-1] = Entry(members[-1].path, members[-1].data, size=size)
        assert refused(gzip(archive(members))) == "package-size-mismatch"


def test_a_size_that_lies_on_the_list_is_refused() -> None:
    files = contents()
    plain = listing(files)
    plain["files"][-1][2] += 1
    assert refused(gzip(archive(entries(files, raw_list=canonical(plain))))) == "package-size-mismatch"
    members = entries(files, raw_list=canonical(plain))
    members[-1] = Entry(members[-1].path, members[-1].data, size=plain["files"][-1][2])
    assert refused(gzip(archive(members))) == "package-hash-mismatch"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (b"", "package-truncated"),
        (bytes(512), "package-truncated"),
        (bytes(1023), "package-truncated"),
        (bytes(1025), "package-trailing-data"),
        (bytes(10240), "package-trailing-data"),
        (bytes(512) + b"x" * 512, "package-trailing-data"),
        (bytes(1024) + b"x", "package-trailing-data"),
    ],
)
def test_an_archive_ends_with_two_blocks_of_zeros_and_nothing_else(end: bytes, code: str) -> None:
    assert refused(gzip(archive(entries(contents()), end=end))) == code


# -- gzip ------------------------------------------------------------------------------------------------------------


def test_bytes_after_the_end_are_refused() -> None:
    for tail in (b"\0", b"garbage", bytes(512)):
        assert refused(package() + tail) == "package-trailing-data"
        assert refused([package(), tail]) == "package-trailing-data"


def test_a_second_member_is_refused() -> None:
    raw = archive(entries(contents()))
    assert refused(gzip(raw[:700]) + gzip(raw[700:])) == "package-trailing-data"
    assert refused(package() + gzip(b"")) == "package-trailing-data"


@pytest.mark.parametrize(
    "head",
    [
        b"\x1f\x8b\x08\x08\0\0\0\0\x02\xffname\0",
        b"\x1f\x8b\x08\x10\0\0\0\0\x02\xffcomment\0",
        b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff\x01\0x",
        b"\x1f\x8b\x08\0\x01\0\0\0\x02\xff",
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
        b"\x1f\x8b\x08\0\0\0\0\0\x02\x03",
        b"\x1f\x8b\x07\0\0\0\0\0\x02\xff",
        b"BZh91AY&SY",
        b"PK\x03\x04",
    ],
)
def test_any_other_gzip_header_is_refused(head: bytes) -> None:
    assert refused(gzip(archive(entries(contents())), head=head)) == "package-gzip-invalid"


def test_a_wrong_crc_or_length_is_refused() -> None:
    raw = archive(entries(contents()))
    crc, length = zlib.crc32(raw).to_bytes(4, "little"), len(raw).to_bytes(4, "little")
    assert refused(gzip(raw, tail=bytes(4) + length)) == "package-gzip-invalid"
    assert refused(gzip(raw, tail=crc + bytes(4))) == "package-gzip-invalid"


def test_a_package_cut_short_anywhere_is_refused() -> None:
    data = package()
    for length in range(0, len(data), 7):
        assert refused(data[:length]) == "package-truncated"
    assert refused(data[:-1]) == "package-truncated"


def bomb(head: bytes, megabytes: int) -> Iterable[bytes]:
    """Zeros behind the first bytes of an archive, compressed a thousandfold, in chunks."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + deflate.compress(head)
    zeros = bytes(1024 * 1024)
    for _ in range(megabytes):
        yield deflate.compress(zeros)
    yield deflate.flush()


def test_a_gzip_bomb_is_stopped_by_what_was_really_inflated() -> None:
    from jackfield_sdk.package.gunzip import Gunzip

    gunzip = Gunzip(MAX_TOTAL_BYTES)
    blocks = (len(block) for chunk in bomb(b"", 1000) for block in gunzip.feed(chunk))
    seen: list[int] = []
    with pytest.raises(PackageError) as caught:
        seen.extend(blocks)
    assert caught.value.code == "package-too-large"
    assert MAX_TOTAL_BYTES - 100_000 < sum(seen) <= MAX_TOTAL_BYTES


def test_a_gzip_bomb_does_not_reach_memory() -> None:
    chunk = b"".join(bomb(b"", 60))
    reader = PackageReader(KEY.verify)
    tracemalloc.start()
    try:
        with pytest.raises(PackageError):
            list(reader.feed(chunk))
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_list_of_files_that_are_too_large_together_is_refused_before_they_are_read() -> None:
    files = contents({f"src/{i}.dat": b"" for i in range(9)})
    plain = listing(files)
    for entry in plain["files"]:
        if entry[0].endswith(".dat"):
            entry[2] = MAX_FILE_BYTES
    members = entries(files, raw_list=canonical(plain))[:2]
    assert refused(gzip(archive(members))) == "package-too-large"


def test_a_package_file_larger_than_the_reader_was_told_is_refused() -> None:
    reader = PackageReader(KEY.verify, max_bytes=100)
    with pytest.raises(PackageError) as caught:
        list(reader.feed(package()))
    assert caught.value.code == "package-too-large"


def test_a_reader_that_has_refused_goes_on_refusing() -> None:
    reader = PackageReader(KEY.verify)
    with pytest.raises(PackageError):
        list(reader.feed(b"not a package at all"))
    for again in (lambda: list(reader.feed(package())), reader.finish):
        with pytest.raises(PackageError) as caught:
            again()
        assert caught.value.code == "package-gzip-invalid"


# -- the signature ---------------------------------------------------------------------------------------------------


def test_an_unsigned_package_is_refused() -> None:
    members = entries(contents())
    del members[1]
    assert refused(gzip(archive(members))) == "package-unsigned"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b'{"algorithm":"none","key_id":"0123456789abcdef","signature":""}',
        canonical({"algorithm": "ed25519", "key_id": KEY.key_id, "signature": ""}),
        canonical({"algorithm": "ed25519", "key_id": KEY.key_id, "signature": "A" * 87 + "é"}),
        canonical({"algorithm": "ed25519", "key_id": "../../etc/passwd", "signature": "A" * 88}),
        b"\xff\xfe",
        b"[" * 900,
    ],
)
def test_a_signature_that_is_none_is_refused(raw: bytes) -> None:
    assert refused(gzip(archive(entries(contents(), raw_signature=raw)))) == "package-unsigned"


def test_a_signature_with_anything_added_is_refused() -> None:
    raw_list = canonical(listing(contents()))
    for raw in (signature(raw_list, note="hello"), signature(raw_list) + b" ", b" " + signature(raw_list)):
        assert refused(gzip(archive(entries(contents(), raw_signature=raw)))) == "package-unsigned"


def test_a_signature_over_another_list_is_refused() -> None:
    raw = signature(canonical(listing(contents({"src/other.txt": b"x"}))))
    assert refused(gzip(archive(entries(contents(), raw_signature=raw)))) == "signature-invalid"


def test_a_signature_over_the_list_for_another_purpose_is_refused() -> None:
    import base64

    raw_list = canonical(listing(contents()))
    raw = signature(raw_list, signature=base64.b64encode(KEY.sign(raw_list)).decode())
    assert refused(gzip(archive(entries(contents(), raw_signature=raw)))) == "signature-invalid"


def test_a_key_that_nobody_knows_is_refused() -> None:
    assert refused(package(), Key(2)) == "key-unknown"


def test_another_key_under_a_known_id_is_refused() -> None:
    raw_list = canonical(listing(contents()))
    raw = signature(raw_list, Key(2), key_id=KEY.key_id)
    assert refused(gzip(archive(entries(contents(), raw_signature=raw)))) == "signature-invalid"


# -- the list --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format": 2}, "package-format-unsupported"),
        ({"format": 0}, "package-format-unsupported"),
        ({"format": "1"}, "package-list-invalid"),
        ({"slug": "Crafted"}, "package-list-invalid"),
        ({"slug": "../evil"}, "package-list-invalid"),
        ({"slug": "crafted\n"}, "package-list-invalid"),
        ({"version": "1.0"}, "package-list-invalid"),
        ({"version": "01.0.0"}, "package-list-invalid"),
        ({"version": "1.0.0-01"}, "package-list-invalid"),
        ({"version": "1.0.0-a..b"}, "package-list-invalid"),
        ({"version": "1.0.0+build"}, "package-list-invalid"),
        ({"version": "1.0.0\n"}, "package-list-invalid"),
        ({"python": "2.7"}, "package-list-invalid"),
        ({"magic": "zz"}, "package-list-invalid"),
        ({"note": "hello"}, "package-list-invalid"),
        ({"files": None}, "package-list-invalid"),
        ({"files": []}, "package-list-invalid"),
        ({"files": [["src/a.txt"]]}, "package-list-invalid"),
        ({"files": [["src/a.txt", "0" * 63, 0]]}, "package-list-invalid"),
        ({"files": [["src/a.txt", "0" * 64, -1]]}, "package-list-invalid"),
        ({"files": [["src/a.txt", "0" * 64, 0, "more"]]}, "package-list-invalid"),
        ({"files": [["src/a.txt", "0" * 64, MAX_FILE_BYTES + 1]]}, "package-list-invalid"),
        ({"files": [["src/a.txt", "0" * 64, 1.5]]}, "package-list-invalid"),
        ({"files": [["src/a.txt", "0" * 64, 2**80]]}, "package-list-invalid"),
    ],
)
def test_a_list_that_says_something_wrong_is_refused(changes: dict[str, Any], code: str) -> None:
    assert refused(package(**changes)) == code


def test_a_list_in_any_but_its_canonical_form_is_refused() -> None:
    plain = listing(contents())
    spaced = msgspec.json.format(canonical(plain), indent=2)
    unsorted = msgspec.json.encode(plain)
    doubled = canonical(plain)[:-1] + b',"version":"1.0.0"}'
    for raw in (spaced, unsorted, doubled, canonical(plain) + b"\n", b"\xef\xbb\xbf" + canonical(plain)):
        assert refused(gzip(archive(entries(contents(), raw_list=raw)))) == "package-list-invalid"


def test_a_list_out_of_order_or_with_a_file_twice_is_refused() -> None:
    files = listing(contents())["files"]
    assert refused(package(files=[*files[1:], files[0]])) == "package-list-invalid"
    assert refused(package(files=[files[0], *files])) == "package-path-collision"


def test_a_list_without_a_manifest_is_refused() -> None:
    files = [entry for entry in listing(contents())["files"] if entry[0] != "manifest.json"]
    assert refused(package(files=files)) == "package-list-invalid"


def test_more_files_than_allowed_are_refused() -> None:
    files = contents({f"src/{i:05}.txt": b"" for i in range(MAX_FILES)})
    assert refused(package(files)) == "package-too-many-files"


def test_a_list_larger_than_allowed_is_refused_before_it_is_read() -> None:
    members = [Entry("jackfield.list", b"x", size=2 * 1024 * 1024 + 1)]
    assert refused(gzip(archive(members))) == "package-too-large"


def test_the_list_comes_first() -> None:
    members = entries(contents())
    assert refused(gzip(archive([members[1], members[0], *members[2:]]))) == "package-list-invalid"


# -- paths and kinds of file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "//a", "src", "src/", "src//a.py", "src/../a.py", "../a.py", "src/..", "src/./a.py",
        "./a.py",
        "src\\a.py", "src/．．/a.py", "src/℀.txt", "src/a：b.txt", "/".join(["src", *"abcdefghijklmno", "p.txt"]),
        "src/a\\..\\b.py", "C:/a.py", "src/a.py:stream", "src/a\0.py", "src/a\n.py", "src/a\x1b[2J.txt",
        "src/a\x7f.txt", "src/\u202etxt.py", "src/a\u200b.txt", "src/a\u2028.txt", "src/a\ud800.txt", "src/a\ue000.txt",
        "src/a .txt/b ", "src/ a.txt", "src/a.", "src/con./a.txt", "src/cafe\u0301.txt", "other/a.py", "a.py",
        "MANIFEST.JSON", "manifest.json/a", "jackfield.list", "jackfield.sig", "Src/a.py", "code/plugin.pyc",
        "code/a.py",
        "code/src/a.py", "code/other/a.pyc", "code/src",
        "src/con", "src/AUX.txt", "src/com1.tar.txt",
        "src/lpt9/a.txt", "src/a*.txt", "src/what?.txt", "src/<a>.txt",
        'src/"a".txt', "src/a|b.txt", "src/ｃｏｎ.txt", "src/" + "a" * 256, "src/" + "é" * 126 + ".txt",
        "/".join(["src", *["a"] * 126, "b.txt"]),
    ],
)  # fmt: skip
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(PackageError) as caught:
        check_path(path)
    assert caught.value.code == "package-path-invalid"


@pytest.mark.parametrize(
    "path",
    [
        "src/evil.pth", "src/a/distutils-precedence.pth", "vendor/evil.PTH", "src/sitecustomize.py",
        "vendor/usercustomize.py", "src/SiteCustomize/__init__.py", "code/src/sitecustomize.pyc",
        "src/\uff53itecustomize.py", "src/__pycache__/plugin.py", "src/plugin.pyc", "src/a.pyo", "vendor/_c.so",
        "vendor/_c.cpython-311-x86_64-linux-gnu.so", "vendor/lib.so.1", "vendor/lib.so.1.txt", "src/a.pyd", "src/A.DLL",
        "src/a.dylib", "src/a.exe", "src/a.wasm", "src/LICENSE.so", "src/LICENSE.pth", "src/COPYING.pyc",
        "src/LICENSE.exe",
        "src/noending", "src/.env", "src/.git/config.txt", "src/a.unknown", "src/a.zip", "src/a.whl", "src/a.pkl",
        "src/a.tar.gz", "src/jackfield_sdk/__init__.py", "vendor/msgspec/__init__.py", "src/jackfield_sandbox.py",
        "code/src/jackfield_sdk.pyc", "src/\uff4aackfield_sdk.py", "vendor/MSGSPEC/__init__.py",
    ],
)  # fmt: skip
def test_a_kind_of_file_that_a_plugin_has_no_use_for_is_refused(path: str) -> None:
    with pytest.raises(PackageError) as caught:
        check_path(path)
    assert caught.value.code == "package-file-refused"


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json", "src/plugin.py", "src/LICENSE", "src/LICENSE-MIT", "vendor/dep-1.0.dist-info/METADATA",
        "vendor/dep/py.typed", "src/icon.svg", "src/naïve.txt", "src/a b.csv",
        "src/console.txt", "src/com.txt", "src/lpt10.txt", "code/vendor/dep/__init__.pyc",
        "src/" + "a" * 90 + "/" + "b" * 96 + ".txt",
    ],
)  # fmt: skip
def test_ordinary_files_are_allowed(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize("path", ["src/../../evil.txt", "/src/evil.txt", "src/evil.so", "src/e\u0301.txt"])
def test_the_reader_asks_these_questions_of_the_list(path: str) -> None:
    code = "package-file-refused" if path.endswith(".so") else "package-path-invalid"
    assert refused(package(contents({path: b"x"}))) == code


@pytest.mark.parametrize(
    "paths",
    [
        ("src/a.txt", "src/A.txt"),
        ("src/straße.txt", "src/STRASSE.txt"),
        ("src/ﬁle.txt", "src/file.txt"),
        ("src/K.txt", "src/\u212a.txt"),
        ("src/Data/a.txt", "src/data/b.txt"),
        ("src/a.txt", "src/a.txt/b.txt"),
        ("src/A.txt/b.txt", "src/a.txt"),
        ("src/helper.py", "vendor/helper.py"),
        ("src/helper.py", "vendor/Helper.py"),
        ("src/helper.py", "src/helper/__init__.py"),
        ("src/helper/__init__.py", "vendor/helper.py"),
        ("src/a.b.py", "src/a/b.py"),
    ],
)
def test_two_names_that_some_file_system_takes_for_one_are_refused(paths: tuple[str, str]) -> None:
    assert refused(package(contents(dict.fromkeys(paths, b"")))) in ("package-path-collision", "package-path-invalid")
    with pytest.raises(PackageError):
        written(contents(dict.fromkeys(paths, b"")))


def pe(offset: int = 64) -> bytes:
    return b"MZ" + bytes(58) + offset.to_bytes(4, "little") + b"PE\0\0"


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\x02\x01\x01",
        b"\xcf\xfa\xed\xfe\x07",
        b"\xca\xfe\xba\xbe",
        b"\xca\xfe\xba\xbf",
        b"\xbe\xba\xfe\xca",
        pe(),
        b"\0asm\x01",
        b"!<arch>\nx",
        b"!<thin>\nx",
        b"\xde\xc0\x17\x0b",
    ],
)
@pytest.mark.parametrize("path", ["src/logo.png", "src/LICENSE", "vendor/dep/data.dat", "code/src/plugin.pyc"])
def test_native_code_is_known_by_its_first_bytes_whatever_its_name(data: bytes, path: str) -> None:
    assert refused(package(contents({path: data}))) == "package-file-refused"


def test_a_table_of_countries_may_begin_with_mozambique() -> None:
    files = contents({"src/countries.csv": b"MZ,Mozambique\nNA,Namibia\n" * 10})
    assert read_package([package(files)], KEY.verify)[1] == files


def test_source_and_code_come_in_pairs() -> None:
    files = contents({"src/a.py": b"x = 1\n"})
    del files["code/src/a.pyc"]
    assert refused(package(files)) == "package-code-unpaired"
    assert refused(package(contents({"code/src/ghost.pyc": b"\xe3"}))) == "package-code-unpaired"


# -- the manifest ----------------------------------------------------------------------------------------------------


HEAD = b'"name":"X","slug":"crafted","version":"1.0.0"'


def nested(depth: int) -> bytes:
    return b'{"config":{"schema":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}," + HEAD + b"}"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"{" + HEAD + b',"surprise":1}',
        b'{"filters":[{"handler":"h","hook":"a.b","surprise":1}],' + HEAD + b"}",
        b"{ " + HEAD + b"}",
        b'{"description":"nul \\u0000",' + HEAD + b"}",
        b'{"config":{"schema":{"properties":5},"secrets":["a"]},' + HEAD + b"}",
        nested(60),
        nested(900),
        b"[" * 100_000,
    ],
    ids=range(12),
)
def test_a_manifest_that_is_not_one_is_refused(raw: bytes) -> None:
    assert refused(package(contents({"manifest.json": raw}))) == "manifest-invalid"


@pytest.mark.parametrize("changes", [{"slug": "other"}, {"version": "1.0.1"}, {"python": "3.12"}, {"entry": "start"}])
def test_a_manifest_that_disagrees_with_its_package_is_refused(changes: dict[str, Any]) -> None:
    assert refused(package(contents(**changes))) == "package-manifest-mismatch"


def test_a_manifest_may_say_in_words_what_the_code_leaves_open_and_nothing_else() -> None:
    declared = manifest(summary="", licence="MIT")
    signed = with_presentation(declared, summary="Points", licence="Proprietary", name="Other")
    assert (signed.summary, signed.licence, signed.name) == ("Points", "MIT", "Crafted")
    assert first_difference(signed, declared) is None
    assert first_difference(manifest(python="3.12"), manifest()) is None
    assert first_difference(manifest(licence="GPL"), declared) == "licence"
    assert first_difference(manifest(licence="MIT", permissions=["customers:read"]), declared) == "permissions"
    assert first_difference(declared, manifest(licence="MIT", permissions=["customers:read"])) == "permissions"


@pytest.mark.parametrize("other", [True, 1.0])
def test_what_only_python_takes_for_the_same_is_a_difference(other: Any) -> None:
    def with_default(value: Any) -> Any:
        return manifest(config=ConfigSection(schema={"properties": {"a": {"default": value}}}))

    assert first_difference(with_default(1), with_default(other)) == "config"
    assert first_difference(with_default(other), with_default(other)) is None


# -- the writer refuses what the reader refuses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"src/../a.txt": b""}, "package-path-invalid"),
        ({"src/\udcff.txt": b""}, "package-path-invalid"),
        ({"src/a.so": b""}, "package-file-refused"),
        ({"src/a.png": b"\x7fELF"}, "package-file-refused"),
        ({"src/a.dat": bytes(MAX_FILE_BYTES + 1)}, "package-too-large"),
        ({f"src/{i}.dat": bytes(MAX_FILE_BYTES) for i in range(8)}, "package-too-large"),
        ({"src/" + "a" * 110 + ".txt": b""}, "package-path-invalid"),
    ],
)
def test_the_writer_refuses(extra: dict[str, bytes], code: str) -> None:
    with pytest.raises(PackageError) as caught:
        written(contents(extra))
    assert caught.value.code == code


def test_a_package_at_its_limits_is_written_and_read() -> None:
    files = contents({f"src/{i}.dat": bytes(MAX_FILE_BYTES) for i in range(7)})
    read, got = read_package([written(files)], KEY.verify)
    assert len(got) == len(files)
    assert read.size < 200_000


def test_versions_are_semantic_to_the_letter() -> None:
    for good in ("0.0.0", "1.2.3", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-0.3.7", "1.0.0-x-y-z.--", "1.0.0-0a"):
        assert is_version(good)
    for bad in ("1", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+a", "1.2.3\n", "١.2.3", "v1.2.3"):
        assert not is_version(bad)


def test_every_refusal_has_a_code_that_is_listed() -> None:
    import ast
    from pathlib import Path

    import jackfield_sdk.package as package_module

    used: set[str] = set()
    for source in Path(package_module.__file__).parent.glob("*.py"):
        tree = ast.parse(source.read_text())
        used |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in CODES}
    assert used == set(CODES)


# -- any bytes at all ------------------------------------------------------------------------------------------------

GOOD_FILES = contents({"vendor/dep/__init__.py": b"x = 1\n", "src/data.csv": b"a,b\n"})
GOOD_ARCHIVE = archive(entries(GOOD_FILES))
GOOD = gzip(GOOD_ARCHIVE)

fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(data: bytes) -> tuple[str | None, dict[str, bytes]]:
    """The code of the refusal, if it was refused, and the files that had been handed out by then."""
    reader, got = PackageReader(KEY.verify), dict[str, bytes]()
    try:
        for file in reader.feed(data):
            got[file.path] = file.data
        reader.finish()
    except PackageError as error:
        return error.code, got
    return None, got


def survives(data: bytes) -> None:
    """Either the very files that were signed come out, or a `PackageError` with a known code does."""
    code, got = outcome(data)
    if code is None:
        assert got == GOOD_FILES
    else:
        assert code in {*CODES, "key-unknown", "signature-invalid"}
        assert got.items() <= GOOD_FILES.items()


def edits(size: int) -> st.SearchStrategy[list[tuple[int, int, bytes]]]:
    """Replacements: at an offset, that many bytes, by these."""
    return st.lists(st.tuples(st.integers(0, size), st.integers(0, 600), st.binary(max_size=600)), max_size=4)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, new in changes:
        data = data[:at] + new + data[at + length :]
    return data


@fuzz
@given(edits(len(GOOD)))
def test_an_edited_package_gives_what_was_signed_or_a_package_error(changes: list[tuple[int, int, bytes]]) -> None:
    survives(edited(GOOD, changes))


@fuzz
@given(edits(len(GOOD_ARCHIVE)))
def test_an_edited_archive_gives_what_was_signed_or_a_package_error(changes: list[tuple[int, int, bytes]]) -> None:
    survives(gzip(edited(GOOD_ARCHIVE, changes)))


@fuzz
@given(st.integers(0, len(GOOD_ARCHIVE) - 1), st.integers(0, 7))
def test_a_flipped_bit_gives_what_was_signed_or_a_package_error(at: int, bit: int) -> None:
    raw = bytearray(GOOD_ARCHIVE)
    raw[at] ^= 1 << bit
    with pytest.raises(PackageError):
        read_package([gzip(bytes(raw))], KEY.verify)
    raw = bytearray(GOOD)
    raw[at % len(GOOD)] ^= 1 << bit
    survives(bytes(raw))


@fuzz
@given(st.binary(max_size=3000), st.booleans())
def test_noise_gives_a_package_error(noise: bytes, is_packed: bool) -> None:
    with pytest.raises(PackageError):
        read_package([gzip(noise) if is_packed else noise], KEY.verify)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)
HONEST = listing(GOOD_FILES)


@fuzz
@given(st.sampled_from([*HONEST, "other"]), json_values)
def test_a_signed_list_with_any_value_in_it_gives_a_package_error_or_the_files(field: str, value: Any) -> None:
    raw = canonical({**HONEST, field: value})
    if field == "python" or raw == canonical(HONEST):
        return
    code = refused(gzip(archive(entries(GOOD_FILES, raw_list=raw)))) if field != "magic" else "package-list-invalid"
    assert code in CODES


@fuzz
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_signed_path_of_any_text_is_refused_or_is_a_plain_relative_path(name: str) -> None:
    path = f"src/{name}.txt"
    code, got = outcome(package(contents({path: b"x"})))
    if code is None:
        assert got[path] == b"x"
        assert all(part not in ("", ".", "..") and part.isprintable() for part in path.split("/"))
    else:
        assert code in CODES


@fuzz
@given(st.sampled_from([f.name for f in msgspec.structs.fields(type(manifest()))]), json_values)
def test_a_signed_manifest_with_any_value_in_it_is_refused_or_read(field: str, value: Any) -> None:
    raw = canonical({"slug": "crafted", "version": "1.0.0", "name": "Crafted", field: value})
    code, _ = outcome(package(contents({"manifest.json": raw})))
    assert code is None or code in CODES
