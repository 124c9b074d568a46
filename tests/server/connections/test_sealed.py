"""All of it together: a sealed plugin whose entities lie behind a REST API, and which acts in an account by OAuth2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Column, MetaData, String, Table, select

from jackfield import Platform, Settings, Surface, ensure_key_file
from jackfield.capabilities.models import SecretValue
from jackfield.settings import EgressSettings
from jackfield.surface import Entity
from jackfield.telemetry import MASK
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.server.connections.conftest import people
from tests.server.connections.test_oauth2 import agree, authorization_code
from tests.servers.oauth2 import OAuth2Server
from tests.servers.rest import Api

SOURCE = """
import jackfield_sdk as jf

plugin = jf.Plugin(
    "crm", version="1.0.0", permissions=["people:read", "people:write", "http:HOST"],
    permission_reasons={"http:HOST": "Reads who you are."},
)
plugin.connection("calendar", "oauth2", hosts=["HOST"], reason="Writes appointments.")


@plugin.function()
def add(ctx: jf.Context, name: str) -> str:
    return ctx.data["people"].create(name=name)["name"]


@plugin.function()
def names(ctx: jf.Context) -> list[str]:
    return [row["name"] for row in ctx.data["people"].list(order="-name")]


@plugin.function()
def whoami(ctx: jf.Context) -> list[str]:
    account = ctx.connections["calendar"]
    answer = ctx.http.get("BASE/me", headers=account.headers)
    return [account.state, answer.text, account.handle]


@plugin.function()
def tell(ctx: jf.Context) -> int:
    token = "".join(ctx.http.get("BASE/parts", headers=ctx.connections["calendar"].headers).json())
    ctx.log.warning(f"the token is {token}!", token_is=token, among=f"Basic {token.encode().hex()}", count=3)
    return len(token)
"""

PEOPLE = Table(
    "people", MetaData(), Column("id", String, primary_key=True), Column("tenant_id", String), Column("name", String)
)
SURFACE = Surface(entities=[Entity("people", PEOPLE, readable=("id", "name"), writable=("name",))])


async def test_a_sealed_plugin_with_data_and_an_account_elsewhere(
    tmp_path: Path, api: tuple[str, Api], oauth2: tuple[str, OAuth2Server]
) -> None:
    (api_url, rest), (auth_url, server) = api, oauth2
    rest.token = "tok-secret-1"
    host = urlsplit(auth_url).netloc
    project = tmp_path / "crm"
    project.mkdir()
    (project / "plugin.py").write_text(SOURCE.replace("HOST", host).replace("BASE", auth_url))
    (project / "pyproject.toml").write_text('[project]\nname = "crm"\nversion = "1.0.0"\n')
    key = create_key(tmp_path / "keys")
    pack_project(project, tmp_path / "crm.jfp", key=key)
    ensure_key_file(tmp_path / "data")
    settings = Settings(
        data_dir=tmp_path / "data", isolation="unprivileged", public_url="http://jackfield.test",
        egress=EgressSettings(allowed=("127.0.0.1",)),
    )  # fmt: skip
    async with Platform(settings, SURFACE) as platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")

        async def chunks() -> AsyncIterator[bytes]:
            yield (tmp_path / "crm.jfp").read_bytes()

        await platform.registry.publish(chunks(), "pub")
        await platform.tenants.ensure_tenant("acme", name="Acme")
        token = (await platform.tenants.issue_token("admin", tenant_id="acme")).plaintext
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=platform.asgi), base_url="http://jackfield.test",
            headers={"Authorization": f"Bearer {token}"},
        ) as admin:  # fmt: skip

            async def ask(method: str, path: str, **body: Any) -> Any:
                answer = await admin.request(method, f"/api/plugins{path}", json=body or None)
                assert answer.status_code < 300, answer.text
                return answer.json() if answer.content else None

            await ask(
                "POST", "/install", slug="crm",
                grants=["people:read", "people:write", f"http:{host}", "connections:calendar", "log"],
            )  # fmt: skip
            await ask(
                "PUT", "/crm/connections/data", adapter="rest", settings=people(api_url),
                credentials={"kind": "bearer", "token": "tok-secret-1"},
            )  # fmt: skip
            for name in ("Ada", "Bob"):
                await platform.tenant("acme").call("crm", "add", {"name": name})
            listed = await platform.tenant("acme").call("crm", "names", {})
            assert listed.output == ["Bob", "Ada"]
            assert [row["org"] for row in rest.rows["people"].values()] == ["acme", "acme"]

            await ask("PUT", "/crm/connections/calendar", credentials=authorization_code(auth_url))
            waiting = await platform.tenant("acme").call("crm", "whoami", {})
            assert waiting.error is not None
            assert waiting.error.code == "connection-not-authorized"
            begun = await ask("POST", "/crm/connections/calendar/authorize")
            back = await agree(begun["url"])
            page = await admin.get("/api/connections/callback", params=back)
            assert "is connected" in page.text
            who = await platform.tenant("acme").call("crm", "whoami", {})
            assert who.output[:2] == ["ready", '{"name":"Ann"}']
            assert not server.is_good(who.output[2])

            # It has the token, by the account's own doing; in what it logs, the token is not.
            (held,) = server.access_tokens
            told = await platform.tenant("acme").call("crm", "tell", {})
            assert (told.output, server.is_good(held)) == (len(held), True)
            lines = (await ask("GET", "/crm/logs"))["items"]
            (line,) = [each for each in lines if each["level"] == "warning" and "count" in each["fields"]]
            assert line["message"] == f"the token is {MASK}!"
            assert line["fields"]["among"] == f"Basic {MASK}"
            assert held not in str(lines)

            await ask("DELETE", "/crm?data=delete")
            await platform.connected.revocations.work()
            assert len(server.revoked) == 1
            async with platform.database.read(None) as session:
                assert not list(await session.scalars(select(SecretValue)))
