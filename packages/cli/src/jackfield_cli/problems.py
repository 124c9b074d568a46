"""A server's refusal becomes an error of ours, with a hint that speaks of commands instead of requests."""

from __future__ import annotations

from typing import Any, cast

import httpx

from jackfield_cli.errors import CliError

__all__ = ["problem_in"]

# The server's hints are for callers of its API. Where a command does the same, it is the better advice.
_HINTS = {
    "activation-failed": "`jackfield errors {slug}` has the trace.",
    "arguments-invalid": "`jackfield functions --json` has the schema of its arguments.",
    "already-installed": "`jackfield show {slug}` shows it. Change it by `configure` and `grants`.",
    "development-off": "Set JACKFIELD_DEVELOPMENT=1 where the server is started.",
    "development-over-published": "`jackfield uninstall {slug}` first, or use another tenant.",
    "config-invalid": "`jackfield plan {slug} --json` has the schema under `config_schema`.",
    "credentials-missing": "Set JACKFIELD_TOKEN to a token, or pass --token.",
    "function-unknown": "`jackfield functions` lists what can be called.",
    "grant-not-held": "Ask somebody whose role has it, or narrow it: `jackfield grant {slug} P --where JSON`.",
    "grants-missing": "Grant them one by one with --grant, or all with --grant-all.",
    "grants-unknown": "`jackfield plan {slug}` shows what it asks for.",
    "grants-withdrawn": "`jackfield grants {slug} --give PERMISSION`, then `jackfield activate {slug}`.",
    "needs-configuration": "`jackfield configure {slug} '{{…}}'`, then `jackfield activate {slug}`.",
    "not-found": "Is the server older than this command? `jackfield health` has its version.",
    "not-installed": "`jackfield list` shows what is installed.",
    "plugin-hook-failed": "`jackfield errors {slug}` has the trace.",
    "plugin-not-found": "`jackfield search` shows what there is.",
    "update-not-newer": "`jackfield info {slug}` lists the releases.",
    "token-expired": "Ask for a new one, and set JACKFIELD_TOKEN to it.",
    "token-invalid": "Check JACKFIELD_TOKEN, and that JACKFIELD_URL is the server that issued it.",
}


def problem_in(response: httpx.Response) -> CliError:
    """The error that a response outside 2xx tells of."""
    document = _document(response)
    if document is None:
        return _foreign(response)
    code = str(document.get("code", "http-error"))
    hint = _hint(code, document)
    if wait := response.headers.get("retry-after"):
        hint = f"{hint} Try again in {wait} s.".strip()
    detail = str(document.get("detail") or document.get("title") or f"HTTP {response.status_code}")
    return CliError(detail, code=code, hint=hint, details=_details(document), data=document)


def _document(response: httpx.Response) -> dict[str, Any] | None:
    try:
        value: Any = response.json()
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) and "code" in value else None


def _hint(code: str, document: dict[str, Any]) -> str:
    slug = document.get("slug")
    if code in _HINTS and (isinstance(slug, str) or "{slug}" not in _HINTS[code]):
        return _HINTS[code].format(slug=slug)
    return str(document.get("hint") or "")


def _details(document: dict[str, Any]) -> tuple[str, ...]:
    """What `errors` lists. A single one is the message already."""
    faults: Any = document.get("errors")
    if not isinstance(faults, list):
        return ()
    listed = [cast("dict[str, Any]", fault) for fault in cast("list[Any]", faults) if isinstance(fault, dict)]
    if len(listed) < 2:
        return ()
    return tuple(f"{fault.get('path', '')}: {fault.get('message', '')}" for fault in listed)


def _foreign(response: httpx.Response) -> CliError:
    """Something answered, and it was not Jackfield."""
    where = f"{response.request.url.scheme}://{response.request.url.netloc.decode()}"
    if response.is_redirect:
        return CliError(
            f"{where} sends us elsewhere: {response.headers.get('location', '')}",
            code="redirected",
            hint="A token is not carried to another address. Set JACKFIELD_URL to the right one.",
        )
    return CliError(
        f"{where} answered {response.status_code} {response.reason_phrase}, not as Jackfield does",
        code="not-jackfield",
        hint="Check JACKFIELD_URL, and what stands between here and there.",
    )
