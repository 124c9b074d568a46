"""`python -m jackfield`: what an operator does on the machine itself; authors and admins use `jackfield`, over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jackfield.errors import JackfieldError

__all__ = ["main"]

_LEVELS = ("strict", "unprivileged", "none")
_OPERATOR = "operator:command-line"
_FREE_BYTES = 500_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except JackfieldError as error:
        print(f"error: {error} [{error.code}]", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jackfield", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run a node without a host of its own: the API alone")
    _data(serve)
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--isolation", choices=_LEVELS, help="default: strict for root, unprivileged for others")
    serve.add_argument(
        "--surface", metavar="MODULE:NAME", help="the extension surface to serve (default: an empty one)"
    )
    serve.set_defaults(run=_serve)

    doctor = commands.add_parser(
        "doctor",
        help="attack this machine's isolation and say which layer stopped what; look at JACKFIELD_DATABASE_URL",
        epilog="Exit status 0 when every attack was stopped and every layer is on, 1 otherwise.",
    )
    doctor.add_argument("--level", choices=_LEVELS, help="default: strict for root, unprivileged for others")
    doctor.add_argument(
        "--without", action="append", default=[], metavar="LAYER", help="leave a layer off, to see the hole"
    )
    doctor.add_argument(
        "--matrix", action="store_true", help="switch off each layer in turn and show what gets through"
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--data", type=Path, metavar="DIR", help="look at this node's folder too: disk, keys, database")
    doctor.set_defaults(run=_doctor)

    token = commands.add_parser("token", help="issue a token, also when nobody has one yet")
    _data(token)
    token.add_argument("role", choices=("operator", "publisher", "owner", "admin", "member"))
    token.add_argument("--tenant", help="for owner, admin and member; made when it is not there yet")
    token.add_argument("--publisher", help="for publisher; made when it is not there yet")
    token.set_defaults(run=_token)

    keys = commands.add_parser("keys", help="look after the keys that secrets are encrypted with")
    verbs = keys.add_subparsers(required=True, metavar="VERB")
    for verb, says in (
        ("status", "which keys there are, what each is needed for, what is still to be encrypted anew"),
        ("rotate", "put a new key in front, and encrypt everything anew; nodes may run meanwhile"),
        ("rewrap", "encrypt anew what an interrupted rotation has left; nodes do this by themselves"),
        ("renew", "give one tenant another key of its own"),
        ("forget", "take an old key out of use for good, when nothing needs it any more"),
    ):
        parsed = verbs.add_parser(verb, help=says)
        _data(parsed)
        if verb == "renew":
            parsed.add_argument("tenant", help="id of the tenant")
        if verb == "forget":
            parsed.add_argument("key", help="id of the key, as `status` has it")
        parsed.set_defaults(run=_keys, verb=verb)

    audit = commands.add_parser("audit", help="look through the audit trails, without a server")
    audit_verbs = audit.add_subparsers(required=True, metavar="VERB")
    verify = audit_verbs.add_parser(
        "verify",
        help="say whether something was changed, removed, put in or cut off, and where first",
        epilog="Ends that this node has noted in its data folder are looked for by themselves. Exit status 1 when a "
        "trail is not whole.",
    )
    _data(verify)
    verify.add_argument("--tenant", help="only this one's; `-` for the platform's own (default: all)")
    verify.add_argument("--head", action="append", default=[], help="a signed end that was kept elsewhere")
    verify.add_argument("--json", action="store_true", help="for programs")
    verify.set_defaults(run=_audit)

    backup = commands.add_parser(
        "backup",
        help="write what a node keeps into one file, while it runs",
        epilog="With JACKFIELD_DATABASE_URL the database is not in it: dump that first, then run this.",
    )
    _data(backup)
    backup.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a file that is not there yet")
    backup.add_argument("--without-keys", action="store_true", help="leave the key file out; keep it elsewhere")
    backup.add_argument("--passphrase-file", type=Path, metavar="FILE", help="lock the keys with the file's first line")
    backup.set_defaults(run=_backup)

    restore = commands.add_parser("restore", help="make a data folder of a backup")
    restore.add_argument("backup", type=Path, metavar="FILE")
    _data(restore)
    restore.add_argument("--passphrase-file", type=Path, metavar="FILE", help="what the keys were locked with")
    restore.set_defaults(run=_restore)

    openapi = commands.add_parser("openapi", help="print the API's OpenAPI document")
    openapi.set_defaults(run=_openapi)
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=Path(".data"), help="folder of the node's data (default: .data)")


def _serve(options: argparse.Namespace) -> int:
    # Until it serves (`serving.calm_collector`): looking through what is only being loaded takes a fifth of a second.
    gc.disable()
    from jackfield.app import Platform
    from jackfield.serving import serve

    platform = Platform(_settings(options), _surface(options.surface))
    print(f"Jackfield will serve its API on http://{options.host}:{options.port}/api", flush=True)
    print(f"A first token: {sys.executable} -m jackfield token operator --data {options.data}", flush=True)
    settings = platform.settings
    return serve(
        platform.asgi, options.host, options.port,
        drain=platform.drain, drain_s=settings.drain_s, shutdown_s=settings.shutdown_s,
        node_id=platform.database.node_id, log_form=settings.log_form, log_level=settings.log_level,
    )  # fmt: skip


def _surface(name: str | None) -> Any:
    import importlib

    if name is None:
        return None
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    return getattr(importlib.import_module(module), attribute or "surface")


def _settings(options: argparse.Namespace) -> Any:
    from jackfield.capabilities import ensure_key_file
    from jackfield.settings import Settings

    given: dict[str, Any] = {"data_dir": options.data}
    if getattr(options, "isolation", None):
        given["isolation"] = options.isolation
    settings = Settings(**given)
    if settings.secret_key is None and settings.database_url is None:
        ensure_key_file(settings.data_dir)
    return settings


def _doctor(options: argparse.Namespace) -> int:
    from jackfield.isolation.doctor import examine, layer_names, matrix
    from jackfield_sandbox.launch import default_cache
    from jackfield_sandbox.layers import Layer

    level = options.level or ("strict" if os.geteuid() == 0 else "unprivileged")
    known = {layer_names(layer)[0]: layer for layer in Layer}
    without = Layer(0)
    for name in options.without:
        if name not in known:
            print(f"error: no layer {name!r}; there are {', '.join(known)}", file=sys.stderr)
            return 2
        without |= known[name]
    if Layer.NAMESPACES in without:
        without |= Layer.EMPTY_ROOT
    if options.matrix:
        return _print_matrix(asyncio.run(matrix(level, default_cache())), as_json=options.json)
    report = asyncio.run(examine(level, default_cache(), without=without))
    database = [*_examine_folder(options.data), *asyncio.run(_examine_database(options.data))]
    if options.json:
        findings = [
            {"name": f.name, "ok": f.is_good, "says": f.says, "layer": f.layer or None} for f in report.findings
        ]
        findings += [{"name": f"database: {f.name}", "ok": f.is_good, "says": f.says, "layer": None} for f in database]
        print(json.dumps({"level": level, "clean": report.is_clean, "findings": findings}, indent=2))
    else:
        for finding in report.findings:
            print(f"{'ok  ' if finding.is_good else 'FAIL'}  {finding.name:<42} {finding.says}")
        failed = len(report.holes)
        verdict = f"{failed} of {len(report.findings)} checks failed" if failed else "every attack was stopped"
        print(f"\n{level}: {verdict}")
        if database:
            print()
        for finding in database:
            print(f"{'ok  ' if finding.is_good else 'FAIL'}  {'database: ' + finding.name:<42} {finding.says}")
    return 0 if report.is_clean and all(finding.is_good for finding in database) else 1


def _examine_folder(data: Path | None) -> list[Any]:
    """The disk that the node's folder is on, and whether the keys can be read."""
    import shutil

    from jackfield.capabilities import load_keys
    from jackfield.db.doctor import DatabaseFinding
    from jackfield.settings import Settings

    if data is None:
        return []
    if not data.is_dir():
        return [DatabaseFinding("folder", False, "there is no such data folder")]
    disk = shutil.disk_usage(data)
    says = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB are free"
    found = [DatabaseFinding("disk", disk.free > max(_FREE_BYTES, disk.total // 50), says)]
    try:
        keys = load_keys(Settings(data_dir=data))
        return [*found, DatabaseFinding("keys", True, f"{len(keys.by_id)}, {keys.current} encrypts")]
    except JackfieldError as error:
        return [*found, DatabaseFinding("keys", False, f"{error} [{error.code}]")]


async def _examine_database(data: Path | None) -> list[Any]:
    """Of the database that the environment names, or that is in the folder; nothing when there is none."""
    from jackfield.db import Database
    from jackfield.db.doctor import SCHEMA, examine
    from jackfield.health import examine as examine_health
    from jackfield.jobs import examine as examine_jobs
    from jackfield.nodes import examine as examine_nodes
    from jackfield.records.retention import examine as examine_retention
    from jackfield.settings import Settings

    settings = Settings() if data is None else Settings(data_dir=data)
    if settings.database_url is None and (data is None or not settings.database_file.exists()):
        return []
    database = Database(settings.url, settings.database)
    try:
        found: list[Any] = await examine(database)
        # Other faults of the database, such as its clock, do not keep its rows from being read.
        if any(finding.name == SCHEMA and finding.is_good for finding in found):
            found += await examine_jobs(database)
            found.append(await examine_health(database))
            found.append(await examine_retention(database))
            found.append(await examine_nodes(database))
        return found
    finally:
        await database.close()


def _print_matrix(columns: dict[str, dict[str, str]], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(columns, indent=2))
        return 0
    names = list(columns)
    attacks = list(columns["all"])
    width = max(map(len, attacks))
    for index, name in enumerate(names):
        print(f"{chr(65 + index)} = {name}")
    print(f"\n{'':<{width}}  " + " ".join(f"{chr(65 + i):<12}" for i in range(len(names))))
    for attack in attacks:
        print(f"{attack:<{width}}  " + " ".join(f"{columns[name].get(attack, '?'):<12}" for name in names))
    return 0


def _token(options: argparse.Namespace) -> int:
    return asyncio.run(_issue(options))


async def _issue(options: argparse.Namespace) -> int:
    from jackfield.app import Platform
    from jackfield.db import migrate

    platform = Platform(_settings(options))
    try:
        await migrate.upgrade(platform.database)
        await platform.open_trail()
        if options.role in ("owner", "admin", "member"):
            if options.tenant is None:
                print("error: --tenant is needed for this role", file=sys.stderr)
                return 2
            await platform.tenants.ensure_tenant(options.tenant, name=options.tenant)
        if options.role == "publisher":
            if options.publisher is None:
                print("error: --publisher is needed for this role", file=sys.stderr)
                return 2
            await platform.registry.ensure_publisher(options.publisher, options.publisher)
        issued = await platform.tenants.issue_token(
            options.role, tenant_id=options.tenant, publisher_id=options.publisher, name="command line"
        )
        print(issued.plaintext)
    finally:
        await platform.database.close()
    return 0


def _keys(options: argparse.Namespace) -> int:
    return asyncio.run(_look_after_keys(options))


async def _look_after_keys(options: argparse.Namespace) -> int:
    from jackfield.app import Platform
    from jackfield.db import migrate

    platform = Platform(_settings(options))
    rotation = platform.rotation
    try:
        await migrate.upgrade(platform.database)
        await rotation.start()
        await platform.open_trail()
        match options.verb:
            case "rotate":
                await rotation.rotate(_OPERATOR)
            case "renew":
                await rotation.renew(options.tenant, _OPERATOR)
            case "forget":
                await rotation.forget(options.key, _OPERATOR)
            case _:
                pass
        if options.verb in ("rotate", "rewrap", "renew"):
            print(f"{await rotation.rewrap()} keys and secrets were encrypted anew", flush=True)
        status = await rotation.status()
    finally:
        await platform.database.close()
    for key in status.keys:
        state = "encrypts" if key.is_current else "out of use" if key.retired_at else "decrypts"
        needed = f"{key.data_keys} tenant keys" + (f", {key.old_secrets} old secrets" if key.old_secrets else "")
        notes = ["not here"] * (not key.is_here) + ["can be forgotten"] * key.is_removable
        print(f"{key.id:<12} {state:<11} needed by {needed}" + (f" ({', '.join(notes)})" if notes else ""))
    print(f"{status.tenants} tenants; still to be encrypted anew: {status.remaining}")
    return 0


def _audit(options: argparse.Namespace) -> int:
    return asyncio.run(_verify_trails(options))


async def _verify_trails(options: argparse.Namespace) -> int:
    from jackfield.app import Platform

    platform = Platform(_settings(options))
    found: list[dict[str, Any]] = []
    try:
        await platform.open_trail(is_reading=True)
        for tenant_id in [options.tenant] if options.tenant else await platform.trail.tenants():
            verdict = await platform.trail.verify(tenant_id, options.head)
            fault = verdict.fault
            told = {"kind": fault.kind, "seq": fault.seq, "says": fault.says} if fault else None
            head = None if verdict.head is None else verdict.head.token
            found.append(
                {
                    "tenant_id": tenant_id, "is_good": verdict.is_good, "entries": verdict.entries,
                    "first": verdict.first, "removed": verdict.removed, "adopted": verdict.adopted,
                    "anchor": verdict.anchor, "fault": told, "head": head,
                }
            )  # fmt: skip
            if not options.json:
                says = f"{fault.kind} at {fault.seq}: {fault.says}" if fault else f"{verdict.entries} entries"
                name = "the platform" if tenant_id == "-" else tenant_id
                print(f"{'FAIL' if fault else 'ok  '}  {name:<42} {says}", flush=True)
    finally:
        await platform.database.close()
    is_good = all(trail["is_good"] for trail in found)
    if options.json:
        print(json.dumps({"is_good": is_good, "trails": found}, indent=2))
    return 0 if is_good else 1


def _backup(options: argparse.Namespace) -> int:
    from jackfield.backup import back_up
    from jackfield.settings import Settings

    settings = Settings(data_dir=options.data)
    done = back_up(
        settings.data_dir, options.output, with_database=settings.database_url is None,
        with_keys=not options.without_keys, passphrase=_passphrase(options),
    )  # fmt: skip
    print(f"{done.files} files, {done.size_bytes / 1e6:.1f} MB: {done.path}")
    if not done.has_database:
        print("the database is not in it: it is another server's, which has tools of its own (pg_dump)")
    if done.keys == "plain":
        print("the keys are in it: whoever can read the file can read the secrets (see --passphrase-file)")
    elif done.keys == "none":
        print("the keys are not in it: without them its secrets cannot be read")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from jackfield.backup import restore

    done = restore(options.backup, options.data, passphrase=_passphrase(options))
    print(f"{done.files} files of {done.made_at}, version {done.version}, are in {options.data}")
    if not done.has_database:
        print("the database was not in it: restore that with its own tools")
    if not done.has_keys:
        print("the keys were not in it: put secret.key there, or set JACKFIELD_SECRET_KEY, before a node starts")
    return 0


def _passphrase(options: argparse.Namespace) -> str | None:
    path: Path | None = options.passphrase_file
    if path is None:
        return None
    try:
        return (path.read_text(encoding="utf-8").splitlines() or [""])[0]
    except (OSError, UnicodeError) as error:
        from jackfield.backup import PassphraseError

        raise PassphraseError(f"the passphrase cannot be read: {error}") from error


def _openapi(_options: argparse.Namespace) -> int:
    import tempfile

    from jackfield.app import Platform
    from jackfield.capabilities import ensure_key_file
    from jackfield.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        ensure_key_file(Path(folder))
        document = Platform(Settings(data_dir=Path(folder))).asgi.openapi()
    print(json.dumps(document, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
