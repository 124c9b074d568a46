"""Every hostile package that we know of, sent to a real server: refused by name, and nothing is left of it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable

import pytest

from jackfield_sdk.errors import PackageError
from jackfield_sdk.package import PackageReader, read_package
from tests.hostile_packages.attacks import Attack
from tests.hostile_packages.attacks.bombs import BOMBS, LARGE
from tests.hostile_packages.attacks.form import FORMAT
from tests.hostile_packages.attacks.truth import PLATFORM
from tests.hostile_packages.house import UPLOAD, House
from tests.sdk.crafted import KEY, package
from tests.server.registry.uploads import package as release

MEGABYTE = 1024 * 1024
STATUSES = {403, 409, 413, 422}


def check_refusal(house: House, attack: Attack) -> None:
    """The attack is refused by a code of its own, told in few words, and leaves nothing."""
    before = house.left()
    answer = house.send(attack.make(), house.other if attack.by_other else None)
    problem = answer.json()
    assert problem["code"] in attack.codes, answer.text[:500]
    assert answer.status_code in STATUSES
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["hint"]
    assert problem["detail"]
    assert len(answer.content) < 16_000
    assert house.left() == before


@pytest.mark.parametrize("attack", FORMAT, ids=str)
def test_what_is_wrong_in_form_is_refused_by_server_and_reader_alike(house: House, attack: Attack) -> None:
    check_refusal(house, attack)
    with pytest.raises(PackageError) as caught:
        read_package(_chunks(attack), KEY.verify)
    assert caught.value.code in attack.codes
    assert caught.value.hint or caught.value.code in ("manifest-invalid", "signature-invalid")


@pytest.mark.parametrize("attack", PLATFORM, ids=str)
def test_what_is_wrong_in_truth_is_refused(house: House, patience_s: float, attack: Attack) -> None:
    with house.watched() as watch:
        check_refusal(house, attack)
    assert watch.failures == []
    assert watch.slowest_s < patience_s
    assert watch.growth_bytes < 96 * MEGABYTE


@pytest.mark.parametrize("attack", BOMBS, ids=str)
def test_a_bomb_reaches_neither_memory_nor_the_others(house: House, patience_s: float, attack: Attack) -> None:
    with house.watched() as watch:
        check_refusal(house, attack)
    assert watch.failures == []
    assert watch.slowest_s < patience_s
    assert watch.growth_bytes < 64 * MEGABYTE


@pytest.mark.parametrize("attack", LARGE, ids=str)
def test_the_largest_package_has_a_bound_in_memory_too(house: House, patience_s: float, attack: Attack) -> None:
    with house.watched() as watch:
        check_refusal(house, attack)
    assert watch.failures == []
    assert watch.slowest_s < patience_s
    assert watch.growth_bytes < 400 * MEGABYTE


@pytest.mark.parametrize("attack", BOMBS, ids=str)
def test_a_bomb_does_not_go_off_in_the_readers_hands(attack: Attack) -> None:
    import tracemalloc

    chunks, reader = list(_chunks(attack)), PackageReader(KEY.verify)
    tracemalloc.start()
    try:
        with pytest.raises(PackageError):
            _read_and_drop(reader, chunks)
        assert tracemalloc.get_traced_memory()[1] < 48 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_after_all_of_it_an_honest_package_is_published(house: House) -> None:
    answer = house.send(release("honest", "1.0.0"))
    assert answer.status_code == 201, answer.text


def test_a_connection_that_is_dropped_half_way_leaves_nothing(house: House) -> None:
    before = house.left()
    data = package()
    for announced in (f"Content-Length: {len(data)}", "Transfer-Encoding: chunked"):
        with _connected(house, announced) as raw:
            body = data[: len(data) // 2]
            raw.sendall(b"%x\r\n%b\r\n" % (len(body), body) if "chunked" in announced else body)
        _until_free(house)
    assert house.left() == before


@pytest.mark.parametrize(
    "announced",
    ["Content-Length: 5", "Content-Length: -5", "Content-Length: 99999999999999999999", "Content-Length: x"],
)
def test_a_length_that_lies_is_no_package(house: House, announced: str) -> None:
    before = house.left()
    with _connected(house, announced) as raw:
        raw.sendall(package())
        answer = raw.recv(65536)
    assert b" 4" in answer.partition(b"\r\n")[0] or answer == b""
    assert b" 201 " not in answer
    _until_free(house)
    assert house.left() == before


def test_one_publisher_cannot_open_many_uploads(house: House) -> None:
    before = house.left()
    data = package()
    with _begun(house, data):
        assert {_code(house, release(f"other-{number}")) for number in range(5)} == {"publish-in-progress"}
    _until_free(house)
    assert house.left() == before


def test_a_withdrawn_release_does_not_come_back_as_new(house: House) -> None:
    data = release("withdrawn", "1.0.0")
    assert house.send(data).status_code == 201
    with house.client() as http:
        http.post("/api/registry/releases/withdrawn/1.0.0/yank").raise_for_status()
    before = house.left()
    for again in (data, release("withdrawn", "1.0.0", summary="New."), release("withdrawn", "0.9.0")):
        assert house.send(again).json()["code"] == "version-not-greater"
    assert house.left() == before


def test_an_encoding_of_the_body_is_not_undone(house: House) -> None:
    import gzip

    answer = house.send(gzip.compress(release("encoded", "1.0.0")), **{"Content-Encoding": "gzip"})
    assert answer.json()["code"] == "package-gzip-invalid"


def _read_and_drop(reader: PackageReader, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        for _ in reader.feed(chunk):
            pass
    reader.finish()


def _chunks(attack: Attack) -> Iterable[bytes]:
    made = attack.make()
    return [made] if isinstance(made, bytes) else made


def _connected(house: House, announced: str) -> socket.socket:
    host, _, port = house.url.removeprefix("http://").partition(":")
    raw = socket.create_connection((host, int(port)), timeout=30)
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {house.publisher}\r\n"
        f"Content-Type: application/octet-stream\r\n{announced}\r\n\r\n"
    )
    raw.sendall(head.encode())
    return raw


def _begun(house: House, data: bytes) -> socket.socket:
    """An upload that the server has begun to read, and that does not go on."""
    while True:
        raw = _connected(house, f"Content-Length: {len(data)}")
        raw.sendall(data[:100])
        # Our own question is an upload too. When it comes first, the one by hand is refused, and has to try again.
        while not select.select([raw], [], [], 0)[0]:
            if _code(house, b"nothing") == "publish-in-progress":
                return raw
        raw.close()


def _until_free(house: House) -> None:
    """Wait until the server has noticed that an upload of the publisher has ended."""
    while _code(house, b"nothing") == "publish-in-progress":
        pass


def _code(house: House, data: bytes) -> str:
    return str(house.send(data).json()["code"])
