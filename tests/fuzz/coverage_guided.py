"""Fuzz a target for as long as you like, led by coverage: `python -m tests.fuzz.coverage_guided TARGET [--seconds N]`.

For developers; it needs atheris (`pip install atheris`), which is not among our pinned tools. What it finds stays in
the folder that `--work` names. `--keep COUNT` ends a session: the smallest inputs that go where no kept one went become
part of the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_MAX_BYTES = {"unsigned_archive": 16384, "frames": 2048, "recipe": 600}
_MAX_KEPT_BYTES = {"unsigned_archive": 12000}


def main() -> int:
    """Run one target, or keep what a run has found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="a name in tests/fuzz/targets.py")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--work", type=Path, default=None, help="folder for what is found; a new one when absent")
    parser.add_argument("--keep", type=int, default=0, metavar="COUNT", help="keep up to so many inputs, then end")
    options = parser.parse_args()
    work: Path = options.work or Path(tempfile.mkdtemp(prefix=f"fuzz-{options.target}-"))
    found = work / "found"
    if options.keep:
        return _keep(options.target, found, options.keep)
    found.mkdir(parents=True, exist_ok=True)
    print(f"in {work}", flush=True)
    arguments = [
        str(found), f"-max_total_time={options.seconds}", f"-max_len={_MAX_BYTES.get(options.target, 4096)}",
        "-timeout=20", "-rss_limit_mb=1024", f"-artifact_prefix={work}/crash-", "-print_final_stats=1",
    ]  # fmt: skip
    _fuzz(options.target, found, arguments)
    return 0


def _fuzz(name: str, found: Path, arguments: list[str]) -> None:
    """Hand a target to libFuzzer, which ends the process when it is done."""
    try:
        import atheris
    except ImportError:
        raise SystemExit("this needs atheris: pip install atheris") from None
    instrumented: Any = atheris.instrument_imports(
        include=["jackfield_sdk.package", "jackfield_sdk.manifest", "jackfield_sdk.wire"]
    )
    with instrumented:
        from tests.fuzz import targets
    for number, seed in enumerate(targets.seeds_of(name)):
        (found / f"seed-{number}").write_bytes(seed)
    for path in targets.corpus_of(name):
        shutil.copy(path, found)

    def run(data: bytes) -> None:
        targets.TARGETS[name](data)

    atheris.Setup([sys.argv[0], *arguments], run)
    atheris.Fuzz()


def _keep(name: str, found: Path, count: int) -> int:
    """Copy to the corpus, the smallest first, what takes a way through the SDK that nothing before it took."""
    from tests.fuzz import targets

    ways: set[object] = set()
    for path in targets.corpus_of(name):
        ways |= _ways(targets.TARGETS[name], path.read_bytes())
    folder = targets.CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(found.iterdir(), key=lambda path: path.stat().st_size):
        data = path.read_bytes()
        if (
            count
            and len(data) <= _MAX_KEPT_BYTES.get(name, 2048)
            and (new := _ways(targets.TARGETS[name], data) - ways)
        ):
            ways |= new
            count -= 1
            (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    return 0


def _ways(target: Callable[[bytes], str], data: bytes) -> set[object]:
    """Steps from line to line of the SDK that an input takes, and what became of it."""
    steps: set[object] = set()

    def trace(frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        if "jackfield_sdk" not in frame.f_code.co_filename:
            return None
        last = 0

        def step(frame: FrameType, _event: str, _argument: object) -> Callable[..., Any]:
            nonlocal last
            steps.add((frame.f_code.co_name, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(trace)
    try:
        outcome = target(data)
    finally:
        sys.settrace(None)
    return {*steps, outcome}


if __name__ == "__main__":
    sys.exit(main())
