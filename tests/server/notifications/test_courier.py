"""What leaves the platform: by a real mail server and to a real receiver, durably, and with nothing smuggled in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from sqlalchemy import select

from jackfield.notifications import Mailer, UnsubscribeTokenError, WebhookUrlError
from jackfield.notifications.models import EndpointRow, NotificationDelivery, UnsubscribeRow
from jackfield.settings import SmtpSettings
from tests.server.notifications.conftest import RIVAL, TENANT, Office
from tests.server.notifications.servers import certificate, mail_server


async def test_an_e_mail_has_text_html_and_a_way_out(office: Office) -> None:
    await office.send(office.ada.id, "Order 7 is late", body="Two days.\nSorry.", link="/orders/7", level="warning")
    assert await office.courier.round() == 1
    (message,) = office.mail.messages
    assert office.mail.recipients == [["ada@example.com"]]
    assert str(message["Subject"]) == "Order 7 is late"
    assert str(message["From"]) == "The shop <news@shop.example>"
    assert str(message["To"]) == "Ada <ada@example.com>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Auto-Submitted"] == "auto-generated"
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert page is not None
    assert "Two days.\nSorry." in text.get_content().replace("\r\n", "\n")
    assert "https://shop.example/orders/7" in text.get_content()
    assert "shop sent this to you as a member of Acme." in text.get_content()
    assert "Two days.<br>Sorry." in page.get_content()
    assert await office.deliveries() == [("email", "done", None)]
    assert await office.courier.round() == 0


async def test_nothing_in_a_text_becomes_a_header_or_markup(office: Office) -> None:
    async with office.database.write(TENANT) as session:
        ada = await session.get(type(office.ada), office.ada.id)
        assert ada is not None
        ada.name = 'Ada" <x@evil.example>,\r\nBcc: everybody@evil.example\r\n'
    title = "Hi\r\nBcc: victim@evil.example\r\n\r\n<script>alert(1)</script>"
    await office.send(office.ada.id, title, body="<img src=x onerror=alert(1)>\r\n.\r\nMAIL FROM:<a@b>", link='/a"b<c>')
    await office.courier.round()
    (message,) = office.mail.messages
    assert office.mail.recipients == [["ada@example.com"]]
    assert message["Bcc"] is None
    assert next(str(address) for address in message["To"].addresses).endswith("<ada@example.com>")
    assert len(message["To"].addresses) == 1
    page = message.get_body(("html",))
    assert page is not None
    assert "<script>" not in page.get_content()
    assert "<img" not in page.get_content()
    assert "MAIL FROM" in page.get_content(), "it is text"


async def test_a_digest_tells_what_would_have_been_too_many_e_mails(office: Office) -> None:
    for number in range(5):
        await office.send(office.ada.id, f"n{number}")
        await office.courier.round()
    assert [str(message["Subject"]) for message in office.mail.messages] == ["n0", "n1", "n2"]
    office.clock.advance(601)
    assert await office.courier.round() == 1
    digest = office.mail.messages[-1]
    assert str(digest["Subject"]) == "2 notifications from shop"
    text = digest.get_body(("plain",))
    assert text is not None
    assert "n3" in text.get_content()
    assert "n4" in text.get_content()
    assert {state for _, state, _ in await office.deliveries()} == {"done"}


async def test_a_mail_server_that_is_busy_is_tried_again_and_the_message_keeps_its_name(office: Office) -> None:
    office.mail.fail = ["451 later", "451 later"]
    await office.send(office.ada.id)
    await office.courier.round()
    assert await office.deliveries() == [("email", "pending", "smtp-refused")]
    assert await office.courier.round() == 0, "not before its time"
    office.clock.advance(11)
    await office.courier.round()
    office.clock.advance(31)
    await office.courier.round()
    assert await office.deliveries() == [("email", "done", None)]
    (message,) = office.mail.messages
    (row,) = await office.rows(NotificationDelivery)
    assert str(message["Message-ID"]) == f"<{row.id}@shop.example>"


async def test_what_can_never_be_delivered_is_given_up_with_its_reason(office: Office) -> None:
    office.mail.refuse = "550 no such user here"
    await office.send(office.ada.id)
    await office.courier.round()
    assert await office.deliveries() == [("email", "dead", "address-refused")]


async def test_what_fails_too_often_is_given_up(office: Office) -> None:
    office.mail.fail = ["451 later"] * 9
    await office.send(office.ada.id)
    for _ in range(5):
        await office.courier.round()
        office.clock.advance(1_000)
    assert await office.deliveries() == [("email", "dead", "smtp-refused")]


async def test_who_has_muted_it_meanwhile_gets_no_e_mail(office: Office) -> None:
    await office.send(office.ada.id)
    await office.service.choose(TENANT, office.ada.id, [("shop", "email", False)])
    await office.courier.round()
    assert office.mail.messages == []
    assert await office.deliveries() == [("email", "dead", "muted")]


async def test_a_node_that_died_leaves_its_deliveries_to_another(office: Office) -> None:
    await office.send(office.ada.id)
    async with office.database.write(None) as session:
        row = (await session.scalars(select(NotificationDelivery))).one()
        row.state, row.lease_owner, row.lease_until = "running", "node_dead", office.clock.now()
    assert await office.courier.round() == 0
    office.clock.advance(1)
    assert await office.courier.round() == 1
    assert len(office.mail.messages) == 1


async def test_a_node_without_a_mail_server_leaves_e_mails_to_one_that_has_it(office: Office) -> None:
    mailer, office.courier._mailer = office.courier._mailer, None
    await office.send(office.ada.id)
    assert await office.courier.round() == 0
    assert await office.deliveries() == [("email", "pending", None)]
    office.courier._mailer = mailer
    assert await office.courier.round() == 1


async def test_one_click_ends_one_plugins_e_mails_and_nothing_else(office: Office) -> None:
    await office.send(office.ada.id)
    await office.courier.round()
    async with office.database.read(None) as session:
        row = (await session.scalars(select(UnsubscribeRow))).one()
    assert f"token={row.token}" in str(office.mail.messages[0]["List-Unsubscribe"])
    assert await office.service.unsubscribe(row.token) == "shop"
    await office.send(office.ada.id, "Quiet")
    await office.send(office.ada.id, "Loud", plugin="other")
    await office.courier.round()
    assert [str(message["Subject"]) for message in office.mail.messages] == ["Hello", "Loud"]
    for token in ("", "x", row.token + "x", row.token.lower() + "!"):
        with pytest.raises(UnsubscribeTokenError):
            await office.service.unsubscribe(token)


async def test_a_webhook_is_signed_as_standard_webhooks_has_it(office: Office) -> None:
    secret = await office.service.set_webhook(TENANT, office.ada.id, office.hooks.url)
    await office.service.choose(TENANT, office.ada.id, [("", "email", False)])
    await office.send(office.ada.id, "Order 7", link="/orders/7", body="late")
    await office.courier.round()
    ((headers, body),) = office.hooks.requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    told = json.loads(body)
    assert told["type"] == "notification.created"
    assert told["data"]["notifications"][0]["title"] == "Order 7"
    assert told["data"]["notifications"][0]["link"] == "https://shop.example/orders/7"
    assert "authorization" not in headers
    assert await office.deliveries() == [("webhook", "done", None)]


async def test_a_receiver_that_fails_is_tried_again_and_one_that_is_gone_is_forgotten(office: Office) -> None:
    await office.service.set_webhook(TENANT, office.ada.id, office.hooks.url)
    await office.service.choose(TENANT, office.ada.id, [("", "email", False)])
    office.hooks.answers = [500, 204, 410]
    await office.send(office.ada.id)
    await office.courier.round()
    assert await office.deliveries() == [("webhook", "pending", "webhook-refused")]
    office.clock.advance(11)
    await office.courier.round()
    ids = {headers["webhook-id"] for headers, _ in office.hooks.requests}
    assert len(ids) == 1, "the same message"
    await office.send(office.ada.id, "Again")
    await office.courier.round()
    assert ("webhook", "dead", "webhook-gone") in await office.deliveries()
    assert await office.service.webhook(TENANT, office.ada.id) is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "https://user:pass@example.com/", "https://[::1", "/relative",
        "https://0x7f.1/", "gopher://x", "https://exa mple.com/", "http://2130706433/",
    ],
)  # fmt: skip
async def test_an_address_that_is_none_is_refused_when_it_is_given(office: Office, url: str) -> None:
    with pytest.raises(WebhookUrlError):
        await office.service.set_webhook(TENANT, office.ada.id, url)
    assert await office.service.webhook(TENANT, office.ada.id) is None


async def test_a_webhook_reaches_nothing_inside(office: Office) -> None:
    await office.service.set_webhook(TENANT, office.ada.id, "https://169.254.169.254/latest/meta-data/")
    await office.service.choose(TENANT, office.ada.id, [("", "email", False)])
    await office.send(office.ada.id)
    await office.courier.round()
    assert await office.deliveries() == [("webhook", "pending", "address-refused")]


async def test_a_secret_is_bound_to_its_member(office: Office) -> None:
    await office.service.set_webhook(TENANT, office.ada.id, office.hooks.url)
    async with office.database.read(None) as session:
        row = (await session.scalars(select(EndpointRow))).one()
    assert row.secret.startswith(f"{TENANT}|~notifications|{office.ada.id}|whsec_")
    assert await office.service.webhook(RIVAL, office.ada.id) is None


async def test_a_server_that_does_not_encrypt_gets_nothing_where_it_has_to(office: Office) -> None:
    settings = SmtpSettings(host="127.0.0.1", port=office.mail.port, sender="news@shop.example")
    office.courier._mailer = Mailer(settings)
    await office.send(office.ada.id)
    await office.courier.round()
    assert office.mail.messages == []
    ((channel, state, code),) = await office.deliveries()
    assert (channel, state) == ("email", "pending")
    assert code in ("smtp-unreachable", "smtp-refused")


async def test_a_server_with_a_strangers_certificate_gets_nothing_and_one_that_is_trusted_does(
    office: Office, tmp_path: Path
) -> None:
    context = certificate(tmp_path)
    async with mail_server(context) as mail:
        known = {"host": "127.0.0.1", "port": mail.port, "sender": "news@shop.example"}
        await office.send(office.ada.id)
        office.courier._mailer = Mailer(SmtpSettings(**known))
        await office.courier.round()
        assert mail.messages == []
        office.clock.advance(11)
        office.courier._mailer = Mailer(SmtpSettings(**known, ca_file=tmp_path / "cert.pem"))
        await office.courier.round()
        assert [str(message["Subject"]) for message in mail.messages] == ["Hello"]
