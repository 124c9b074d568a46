"""A plugin that raises and logs its secret, in whatever form: none of it is told to anybody, or kept anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = 'tr0ub4dor & "3" / correct-horse?battery+staple'
PIN = "80124"
SOURCE = """
import base64
import json
import logging
from typing import Any
from urllib.parse import quote

import jackfield_sdk as jf

plugin = jf.Plugin("leaky", version="1.0.0", permissions=["secrets:key", "secrets:pin"])
kept = []


@plugin.config
class Config:
    key: jf.Secret
    pin: jf.Secret


def forms(key: str) -> dict[str, str]:
    return {
        "plain": key,
        "repr": repr({"key": key}),
        "json": json.dumps([key]),
        "hex": key.encode().hex(),
        "base64": base64.b64encode(key.encode()).decode(),
        "basic": "Basic " + base64.b64encode(f"ann:{key}".encode()).decode(),
        "url": "https://example.com/?key=" + quote(key, safe=""),
        "part": key[3:30] + "...",
    }


class LeakyError(Exception):
    pass


@plugin.function()
def leak_in_error(ctx: jf.Context, form: str) -> None:
    key = ctx.config.key.reveal()
    try:
        raise KeyError(forms(key)[form])
    except KeyError as error:
        raise LeakyError(f"pin {ctx.config.pin.reveal()}: cannot use {forms(key)[form]}") from error


@plugin.function()
def leak_to_user(ctx: jf.Context, form: str) -> None:
    raise jf.UserError(f"refused: {forms(ctx.config.key.reveal())[form]}", hint=forms(ctx.config.key.reveal())[form])


@plugin.function()
def leak_in_log(ctx: jf.Context, form: str) -> None:
    text = forms(ctx.config.key.reveal())[form]
    ctx.log.info(f"using {text}", value=text, password="x", pin=int(ctx.config.pin.reveal()), points=12)
    print("printed", text)
    logging.getLogger("their.library").warning("sent %s", text)


@plugin.function()
def remember(ctx: jf.Context) -> None:
    kept.append(ctx.config.key.reveal())


@plugin.function()
def leak_what_is_remembered(ctx: jf.Context) -> None:
    raise RuntimeError(f"still {kept[0]}")


@plugin.function()
def bearer(ctx: jf.Context) -> None:
    raise RuntimeError("401 for Authorization: Bearer abcdefghij0123456789")


@plugin.health
def health(ctx: jf.Context) -> jf.Health:
    return jf.Health(ok=False, message=f"cannot sign in with {ctx.config.key.reveal()}")
"""
FORMS = ["plain", "repr", "json", "hex", "base64", "basic", "url", "part"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def leaky(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The house, with a plugin in it that cannot keep a secret."""
    folder = tmp_path_factory.mktemp("leaky")
    (folder / "plugin.py").write_text(SOURCE)
    (folder / "pyproject.toml").write_text('[project]\nname = "leaky"\nversion = "1.0.0"\n')
    key = create_key(folder / "keys")
    package = folder.with_suffix(".jfp")
    pack_project(folder, package, key=key)
    platform = house.platform
    await platform.registry.ensure_publisher("leaks", "Leaks")
    await platform.registry.add_key("leaks", key.public, key.proof("leaks"), name="test")

    async def chunks() -> AsyncIterator[bytes]:
        yield package.read_bytes()

    await platform.registry.publish(chunks(), "leaks")
    await platform.lifecycle.install(
        TENANT, "leaky", grants=["secrets:key", "secrets:pin", "log"], config={"key": KEY, "pin": PIN}
    )
    yield house


def parts() -> set[str]:
    """What of the secret must not be seen, in any form: each part that is long enough to be of use."""
    whole = [
        KEY, repr(KEY)[1:-1], json.dumps(KEY)[1:-1], KEY.encode().hex(), base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(f"ann:{KEY}".encode()).decode()[8:], quote(KEY, safe=""), quote(KEY),
    ]  # fmt: skip
    return {text[at : at + 10] for text in whole for at in range(len(text) - 12)}


def seen(value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # As JSON, the quotes in it are escaped once more.
    return [part for part in parts() if part in text or part in text.replace('\\"', '"')] + [PIN] * (PIN in text)


async def call(house: House, name: str, **arguments: Any) -> dict[str, Any]:
    answer = await house.ask("POST", f"/api/plugins/leaky/functions/{name}", json={"arguments": arguments})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def leaks(house: House) -> int:
    return (await house.ask("GET", "/api/plugins/leaky/stats")).json()["secret_leaks"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_secret_in_an_error_is_told_to_nobody(leaky: House, form: str) -> None:
    before = await leaks(leaky)
    answer = await call(leaky, "leak_in_error", form=form)
    assert answer["error"]["message"].startswith("LeakyError: pin [redacted]: cannot use ")
    assert seen(answer) == []
    errors = (await leaky.ask("GET", "/api/plugins/leaky/errors")).json()["items"]
    assert "plugin.py" in errors[0]["error_trace"]
    assert "KeyError" in errors[0]["error_trace"]
    assert seen(errors) == []
    assert errors[0]["secret_leaks"] >= 3
    assert await leaks(leaky) >= before + 3


@pytest.mark.parametrize("form", FORMS)
async def test_a_secret_for_the_user_is_told_to_nobody(leaky: House, form: str) -> None:
    answer = await call(leaky, "leak_to_user", form=form)
    assert answer["error"]["message"].startswith("refused: ")
    assert seen(answer) == []
    assert seen((await leaky.ask("GET", "/api/plugins/leaky/invocations")).json()) == []


@pytest.mark.parametrize("form", FORMS)
async def test_a_secret_in_the_log_is_not_kept(leaky: House, form: str) -> None:
    await call(leaky, "leak_in_log", form=form)
    lines = (await leaky.ask("GET", "/api/plugins/leaky/logs", params={"limit": 3})).json()["items"]
    assert seen(lines) == []
    assert [line["message"].split(" ")[0] for line in lines] == ["sent", "printed", "using"]
    assert (lines[2]["fields"]["password"], lines[2]["fields"]["points"]) == ("[redacted]", 12)
    assert lines[2]["fields"]["pin"] == "[redacted]"


async def test_what_a_plugin_remembers_from_an_earlier_call_is_not_told_either(leaky: House) -> None:
    await leaky.platform.isolates.retire((await leaky.platform.active.get(TENANT)).by_slug["leaky"].id)
    await call(leaky, "remember")
    answer = await call(leaky, "leak_what_is_remembered")
    assert answer["error"]["message"].startswith("RuntimeError: still [redacted]")
    assert seen(answer) == []


async def test_a_token_that_nobody_revealed_is_known_by_its_look(leaky: House) -> None:
    answer = await call(leaky, "bearer")
    assert answer["error"]["message"] == "RuntimeError: 401 for Authorization: Bearer [redacted]"


async def test_a_health_check_says_nothing_of_it(leaky: House) -> None:
    answer = await leaky.ask("GET", "/api/plugins/leaky/health")
    assert seen(answer.json()) == []
    assert "cannot sign in with [redacted]" in answer.text


async def test_nothing_of_it_is_in_any_file(leaky: House) -> None:
    await call(leaky, "leak_in_log", form="plain")
    await call(leaky, "leak_in_error", form="base64")
    files = [path for path in leaky.platform.settings.data_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".journal" for path in files)
    for path in files:
        data = path.read_bytes()
        assert not [part for part in parts() if part.encode() in data], path.name


async def test_what_is_told_to_a_host_and_its_deliveries_is_the_same(leaky: House) -> None:
    result = await leaky.platform.tenant(TENANT).call("leaky", "leak_in_error", {"form": "plain"})
    assert result.error is not None
    assert seen(result.error.message) == []
