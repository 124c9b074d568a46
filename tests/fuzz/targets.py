"""What is fuzzed: each target takes any bytes and holds the reader of a stranger's bytes to its promises.

A target returns what became of the input: `accepted`, or the code of the refusal. It raises when a promise is broken:
only the declared error comes out, what is accepted has one form and is what every other reader sees in it, and time and
memory stay within bounds.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from jackfield_sdk import wire
from jackfield_sdk.errors import ManifestError, PackageError, WireError
from jackfield_sdk.manifest import Manifest, parse_manifest
from jackfield_sdk.package import CODES, PackageReader
from tests.fuzz.drafts import draft_of_recipe
from tests.sdk.crafted import KEY, Entry, archive, contents, entries, gzip, signature

__all__ = ["CORPUS", "TARGETS", "BoundError", "bounded", "corpus_of", "seeds_of"]

CORPUS = Path(__file__).parent / "corpus"
_KNOWN = frozenset({*CODES, "key-unknown", "signature-invalid"})
_PIECE = 1500

# Ten times what the slowest known input takes, on a machine with other work to do.
MAX_CPU_S = 5.0
MAX_PEAK_BYTES = 48 * 1024 * 1024


class BoundError(AssertionError):
    """An input took more time or memory than any may."""


def package(data: bytes) -> str:
    """The bytes of a package file, and a signature that counts."""
    return _package(data, KEY.verify)


def unsigned_archive(data: bytes) -> str:
    """The bytes of the archive, well compressed, any signature good: what a publisher with a key can send."""
    return _package(gzip(data), lambda key_id, raw, message: None)


def listing(data: bytes) -> str:
    """The bytes of the list, signed as they are, with the files of an ordinary package after it."""
    files = contents()
    return _package(gzip(archive(entries(files, raw_list=data, raw_signature=signature(data)))), KEY.verify)


def recipe(data: bytes) -> str:
    """Steps that change an ordinary package and sign it anew where they say so."""
    return _package(draft_of_recipe(data).build(), KEY.verify)


def manifest(data: bytes) -> str:
    """The bytes of a manifest, alone and in a package."""
    try:
        read = parse_manifest(data)
    except ManifestError as error:
        _check_told(error)
        outcome = error.code
    else:
        outcome = "accepted"
        again = read.encode()
        _same(parse_manifest(again), read, "a manifest reads back as itself")
        _same(parse_manifest(again).encode(), again, "its bytes are one form")
    files = contents({"manifest.json": data, "src/plugin.py": b"", "src/start.py": b""})
    inside = _package(gzip(archive(entries(files))), KEY.verify)
    if inside == "accepted":
        _same(outcome, "accepted", "a package has no manifest that is none")
    return f"{outcome}, {inside}"


def to_node(data: bytes) -> str:
    """The body of a frame from an isolate."""
    return _wire(data, wire.decode_to_node)


def to_guest(data: bytes) -> str:
    """The body of a frame from the node."""
    return _wire(data, wire.decode_to_guest)


def frames(data: bytes) -> str:
    """A stream of frames. Its first byte says how it is cut; however it is, the same frames come out."""
    limit = 300
    size, stream = (data[0] or 256, data[1:]) if data else (1, b"")
    expected, verdict = _framed(stream, limit)
    whole, how_whole = _frames([stream], limit)
    cut, how_cut = _frames([stream[at : at + size] for at in range(0, len(stream), size)], limit)
    _same((how_whole, how_cut), (verdict, verdict), "a cut does not change the verdict")
    if verdict == "accepted":
        _same(whole, expected, "frames are the stream's own bytes")
        _same(cut, expected, "a cut does not change the frames")
    else:
        # A frame in the same read as a violation is lost with it; in a read before it, it had been handed out.
        _same((whole, cut), (expected[: len(whole)], expected[: len(cut)]), "frames are the stream's own bytes")
    return verdict


TARGETS: dict[str, Callable[[bytes], str]] = {
    "package": package,
    "unsigned_archive": unsigned_archive,
    "listing": listing,
    "recipe": recipe,
    "manifest": manifest,
    "to_node": to_node,
    "to_guest": to_guest,
    "frames": frames,
}


def bounded(name: str, data: bytes) -> str:
    """Run a target, and raise when it takes longer or holds more than any input may."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before, started = tracemalloc.get_traced_memory()[0], time.thread_time()
    try:
        outcome = TARGETS[name](data)
        took, peak = time.thread_time() - started, tracemalloc.get_traced_memory()[1] - before
    finally:
        if not was_tracing:
            tracemalloc.stop()
    if took > MAX_CPU_S:
        raise BoundError(f"{name}: {took:.1f} s of processor for {len(data)} bytes")
    if peak > MAX_PEAK_BYTES:
        raise BoundError(f"{name}: {peak} bytes held for {len(data)} bytes")
    return outcome


def corpus_of(name: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())


def seeds_of(name: str) -> Iterator[bytes]:
    """Good inputs of a target, to begin with."""
    files = contents({"vendor/dep/__init__.py": b"x = 1\n", "src/data.csv": b"a,b\n"})
    members = entries(files)
    if name == "package":
        yield gzip(archive(members))
    elif name == "unsigned_archive":
        yield archive(members)
    elif name == "listing":
        yield entries(contents())[0].data
    elif name == "recipe":
        yield b""
    elif name == "manifest":
        # In canonical form: others never get past the package reader.
        yield from (parse_manifest(text).encode() for text in _MANIFESTS)
    elif name == "to_node":
        yield from (wire.frame(message)[4:] for message in _TO_NODE)
    elif name == "to_guest":
        yield from (wire.frame(message)[4:] for message in _TO_GUEST)
    elif name == "frames":
        yield b"\x07" + b"".join(wire.frame(message) for message in (_TO_NODE[0], _TO_NODE[-1]))


_RAW = msgspec.Raw(wire.encode({"a": [1, "x", None]}))
_TO_NODE = (
    wire.Ready(1),
    wire.Ready(1, wire.Failure("plugin-error", "it does not load", trace="…")),
    wire.Result(7, _RAW),
    wire.Result(7, failure=wire.Failure("retry-later", "busy", kind="retry", retry_after_s=1.5)),
    wire.HostCall(1, "storage", "get", _RAW),
    wire.Log("info", "hello", {"n": 1, "f": 1.5, "b": True, "none": None, "s": "x"}),
)
_TO_GUEST = (
    wire.Load(1, "stamps", "plugin", _RAW, ["key"], 5),
    wire.Describe(7),
    wire.Call(
        7, "event", "hear", _RAW, wire.CallContext("t", "i", "event", None, wire.Delivery("d", 2), 100, "de", 1.5)
    ),
    wire.Call(7, "filter", "change", _RAW, wire.CallContext("t", "i", "filter", wire.Caller("m", "owner")), True),
    wire.HostReply(3, _RAW),
    wire.HostReply(3, failure=wire.Failure("row-not-found", "no such row")),
)
_LEAST = '"name":"X","slug":"crafted","version":"1.0.0"'
_MANIFESTS = tuple(
    ("{" + parts + _LEAST + "}").encode()
    for parts in (
        "",
        '"config":{"schema":{"properties":{"key":{"type":"string"}}},"secrets":["key"]},',
        '"emits":{"crafted.full":{"type":"object"}},',
        '"filters":[{"handler":"h","hook":"a.b","priority":5,"when":"a.b > 1"}],',
        '"functions":[{"handler":"h","name":"f","parameters":{"$ref":"#/$defs/A"},"returns":{}}],',
        '"menu":[{"label":"M","page":"/p"}],"pages":[{"handler":"h","path":"/p","title":"P"}],',
        '"permission_reasons":{"a:read":"so"},"permissions":["a:read"],',
        '"requires":[{"slug":"mail","versions":">=1"}],"routes":[{"handler":"h","method":"GET","path":"/a/{b}"}],',
        '"tables":[{"columns":{"a":{"type":"string"}},"indexes":[["a"]],"name":"t","references":{"a":"t"}}],',
        '"translations":{"de":{"hello":"hallo"}},"webhooks":[{"handler":"h","name":"w","verify":"none"}],',
        '"price":{"amount":"1.50","currency":"EUR"},"schedules":[{"cron":"* * * * *","handler":"h","name":"s"}],',
    )
)


def _package(data: bytes, verify: Callable[[str, bytes, bytes], None]) -> str:
    reader = PackageReader(verify)
    got: list[tuple[str, bytes]] = []
    try:
        for at in range(0, len(data), _PIECE):
            got.extend((file.path, file.data) for file in reader.feed(data[at : at + _PIECE]))
        read = reader.finish()
    except PackageError as error:
        return _refused(error)
    files = dict(got)
    _same([path for path, _ in got], [file.path for file in read.listing.files], "files come as the list says")
    for row in read.listing.files:
        proof = (row.sha256, row.size)
        _same(proof, (hashlib.sha256(files[row.path]).hexdigest(), len(files[row.path])), "a file is what was signed")
    verify(read.signature.key_id, read.signature.raw(), b"jackfield-package-v1\n" + read.listing.encode())
    # One form: what was accepted is, to the byte, what a writer of our own makes of it.
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    raw = inflate.decompress(data[10:])
    _same((inflate.eof, inflate.unused_data), (True, _trailer(raw)), "nothing follows the archive but its checksum")
    members = [("jackfield.list", read.listing.encode()), ("jackfield.sig", read.signature.encode()), *got]
    _same(raw, archive(Entry(path, content) for path, content in members), "an accepted archive has one form")
    _same(read.manifest.encode(), files["manifest.json"], "the manifest is the file")
    _same(msgspec.convert(msgspec.to_builtins(read.manifest), Manifest), read.manifest, "it survives being kept")
    # And no other reader sees anything else in it.
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        assert all(member.isreg() for member in tar), "an entry is no ordinary file"
        seen = {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}
    _same(seen, dict(members), "another reader sees the same")
    return "accepted"


def _trailer(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(4, "little") + len(raw).to_bytes(4, "little")


def _wire(data: bytes, decode: Callable[[bytes], object]) -> str:
    try:
        message = decode(data)
    except WireError as error:
        _check_told(error)
        return error.code
    again = wire.frame(message)[4:]
    _same(wire.frame(decode(again))[4:], again, "a message reads back as itself")
    return "accepted"


def _framed(stream: bytes, limit: int) -> tuple[list[bytes], str]:
    """What the protocol says of a stream, written the plainest way."""
    found: list[bytes] = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "little")
        if length > limit:
            return found, WireError.code
        if len(stream) < 4 + length:
            break
        found.append(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return found, "accepted"


def _frames(pieces: list[bytes], limit: int) -> tuple[list[bytes], str]:
    reader, found = wire.FrameReader(limit), list[bytes]()
    for piece in pieces:
        try:
            found += reader.feed(piece)
        except WireError as error:
            return found, error.code
        assert reader.pending_bytes < limit + 4, "more is kept than one frame"
    return found, "accepted"


def _refused(error: PackageError) -> str:
    assert error.code in _KNOWN, f"{error.code} is not a code of the format"
    _check_told(error)
    return error.code


def _check_told(error: PackageError | ManifestError | WireError) -> None:
    text = f"{error} {error.hint}"
    assert len(text) < 2_000, "an error repeats what was sent at length"
    text.encode()


def _same(left: object, right: object, promise: str) -> None:
    assert left == right, promise
