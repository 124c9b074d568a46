"""The demo host in a real browser, and what its pages refuse."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.end_to_end.demo import Demo, running_demo

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOP, CLINIC = "/t/corner-shop", "/t/harbour-clinic"

# Objects to early bookings, and has a widget that always fails and one that changes.
STRICT = """
import jackfield_sdk as jf

plugin = jf.Plugin("opening-hours", version="1.0.0", name="Opening hours", permissions=["storage"])


@plugin.filter("booking.beforeCreate")
def check(ctx: jf.Context, booking: jf.hooks.Booking) -> jf.hooks.Booking:
    if booking.starts_at[11:13] < "08":
        raise jf.VetoError("Nobody is here before eight.")
    return booking


@plugin.widget("Customer.Form", title="Opening hours")
def broken(ctx: jf.Context, customer: jf.hooks.Customer) -> jf.ui.Text:
    raise ValueError("on purpose")


@plugin.widget("Product.Details", title="Opening hours")
def cheeky(ctx: jf.Context, product: jf.hooks.Product) -> jf.ui.Column:
    return jf.ui.Column([jf.ui.Text("<b id='injected'>bold</b>"), jf.ui.Badge("sold & loved", tone="success")])


@plugin.widget("Dashboard.Widgets", title="Guests")
def guests(ctx: jf.Context, context: dict[str, object]) -> jf.ui.Text:
    return jf.ui.Text(f"{ctx.storage.get('guests', 0)} inside")


@plugin.function()
def enters(ctx: jf.Context) -> int:
    number = ctx.storage.increment("guests")
    ctx.widgets.refresh("guests")
    return number
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo") / "data") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path is not None, "the browser tests need Chromium; `make setup` installs it where it may"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page in which no script may fail and nothing may be blocked."""
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)
    yield page
    assert problems == []


def sign_in(page: Page, demo: Demo, name: str) -> None:
    page.goto(demo.url)
    page.get_by_role("button", name=name).click()
    page.wait_for_url("**/dashboard")


@contextmanager
def visitor(demo: Demo, employee: str, root: str = SHOP) -> Iterator[httpx.Client]:
    """A signed-in client without a browser."""
    with httpx.Client(base_url=demo.url, timeout=30) as client:
        assert client.post(f"{root}/sign-in", data={"employee": employee}).status_code == 303
        yield client


def csrf(client: httpx.Client, root: str = SHOP) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get(f"{root}/dashboard").text)
    assert found is not None
    return found[1]


def balance(demo: Demo, customer_id: str) -> int:
    with demo.api(demo.token("corner-shop", "member")) as api:
        answer = api.post(
            "/api/plugins/loyalty-points/functions/balance", json={"arguments": {"customer_id": customer_id}}
        )
    return answer.json()["output"]


@pytest.fixture(scope="module")
def opening_hours(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The strict plugin: packed, published by the demo's publisher, installed at the shop."""
    folder = tmp_path_factory.mktemp("opening-hours")
    (folder / "plugin.py").write_text(STRICT)
    (folder / "pyproject.toml").write_text('[project]\nname = "opening-hours"\nversion = "1.0.0"\n')
    package = folder.parent / "opening-hours.jfp"
    subprocess.run(
        [sys.executable, "-m", "jackfield_cli", "pack", str(folder), "--out", str(package)],
        check=True,
        env={**os.environ, "JACKFIELD_HOME": str(demo.data / "publisher")},
    )
    with demo.api(demo.facts["publisher_token"]) as api:
        published = api.post(
            "/api/registry/releases",
            content=package.read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
    assert published.status_code == 201, published.text
    with demo.api(demo.token("corner-shop", "owner")) as api:
        installed = api.post("/api/plugins/install", json={"slug": "opening-hours", "grants": ["storage"]})
    assert installed.status_code == 201, installed.text
    return "opening-hours"


# -- selling ---------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_sale_at_the_till_earns_points_that_receipt_and_profile_show(demo: Demo, page: Page) -> None:
    before = balance(demo, "customer-grace")
    sign_in(page, demo, "Mina Patel")
    page.get_by_role("link", name="Till").click()
    # The tile, and not the buttons of the cart's line, which appear after the first click.
    page.locator(".tile", has_text="Heather honey").click()
    page.locator(".tile", has_text="Flat white").click()
    page.locator(".tile", has_text="Flat white").click()
    cart = page.get_by_role("region", name="Cart")
    expect(cart.locator(".sum")).to_contain_text("£14.30")
    cart.get_by_label("Customer").select_option("Grace O’Neill")
    expect(cart.get_by_label("Customer")).to_have_value("customer-grace")
    cart.get_by_role("button", name="Complete sale").click()

    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    widget = page.locator("[data-slot='POS.AfterCheckout'] [data-plugin='loyalty-points']")
    expect(widget.locator(".node-stat", has_text="Earned with this sale").locator("strong")).to_have_text("14")
    expect(widget.locator(".node-stat", has_text="Balance").locator("strong")).to_have_text(str(before + 14))

    page.get_by_role("link", name="Grace O’Neill").click()
    profile = page.locator("[data-slot='Customer.Profile'] [data-plugin='loyalty-points']")
    expect(profile.get_by_role("row", name="Earned")).to_contain_text("+14")


@pytest.mark.browser
def test_the_till_works_without_javascript(demo: Demo, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, demo, "Tom Okafor")
    page.goto(f"{demo.url}{SHOP}/till")
    page.get_by_role("button", name="Birthday card").click()
    page.get_by_role("button", name="One more of Birthday card").click()
    page.get_by_label("Customer").select_option("Ben Hartley")
    page.get_by_role("button", name="Set").click()
    page.get_by_role("button", name="Complete sale").click()
    expect(page.get_by_role("cell", name="£5.00").first).to_be_visible()
    expect(page.get_by_role("link", name="Ben Hartley")).to_be_visible()
    context.close()


def test_a_cart_that_is_sent_twice_is_one_sale(demo: Demo) -> None:
    with visitor(demo, "employee-tom") as client:
        token = csrf(client)
        client.post(f"{SHOP}/till/cart", data={"csrf": token, "more": "product-tulips"})
        cart = client.cookies["corner_shop_cart"]
        first = client.post(f"{SHOP}/till/complete", data={"csrf": token})
        client.cookies.set("corner_shop_cart", cart, path=SHOP)
        second = client.post(f"{SHOP}/till/complete", data={"csrf": token})
        number = first.headers["location"].partition("?")[0].rpartition("/")[2]
        assert first.status_code == second.status_code == 303
        assert first.headers["location"] == second.headers["location"]
        assert client.get(f"{SHOP}/sales").text.count(f"/sales/{number}") == 1


def test_what_is_out_of_stock_is_not_sold(demo: Demo) -> None:
    with visitor(demo, "employee-tom") as client:
        token = csrf(client)
        for _ in range(30):
            client.post(f"{SHOP}/till/cart", data={"csrf": token, "more": "product-beans"})
        answer = client.post(f"{SHOP}/till/complete", data={"csrf": token})
        assert answer.status_code == 409
        assert "of House beans, 250 g left" in answer.text


@pytest.mark.browser
def test_a_refund_puts_the_goods_back(demo: Demo, page: Page) -> None:
    sign_in(page, demo, "Rosa Lindqvist")
    stock = page.request.get(f"{demo.url}{SHOP}/products/product-eggs").text()
    page.goto(f"{demo.url}{SHOP}/till")
    page.get_by_role("button", name="Six free-range eggs").click()
    page.get_by_role("button", name="Complete sale").click()
    page.get_by_role("button", name="Refund").click()
    expect(page.get_by_text("Refunded; the goods are back in stock.")).to_be_visible()
    expect(page.get_by_text("refunded", exact=True)).to_be_visible()
    assert page.request.get(f"{demo.url}{SHOP}/products/product-eggs").text() == stock


# -- plugins ---------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_clinic_installs_echo_with_consent_and_the_shop_does_not_have_it(demo: Demo, page: Page) -> None:
    sign_in(page, demo, "Jonas Weber")
    page.get_by_role("link", name="Plugins").click()
    expect(page.get_by_text("Nothing installed")).to_be_visible()
    page.locator("[data-offer='echo']").get_by_role("link", name="Install").click()
    expect(page.get_by_role("heading", name="Install Echo?")).to_be_visible()
    asks = page.get_by_role("region", name="It asks to do this at Harbour Clinic")
    expect(asks.get_by_text("low risk").first).to_be_visible()
    page.get_by_role("button", name="Agree and install").click()

    card = page.locator("article[data-plugin='echo']")
    expect(card.get_by_text("active", exact=True)).to_be_visible()
    expect(card.get_by_text("Agreed to by Jonas Weber")).to_be_visible()
    expect(page.get_by_role("cell", name="on_install")).to_be_visible()
    page.get_by_role("link", name="Dashboard").click()
    expect(page.locator("[data-slot='Dashboard.Widgets'] [data-plugin='echo']")).to_contain_text("Pings")

    with visitor(demo, "employee-mina") as client:
        assert 'data-plugin="echo"' not in client.get(f"{SHOP}/dashboard").text


@pytest.mark.browser
def test_a_deactivated_plugin_shows_nothing_until_it_is_activated_again(demo: Demo, page: Page) -> None:
    sign_in(page, demo, "Tom Okafor")
    widget = page.locator("[data-plugin='loyalty-points']")
    plugins, profile = f"{demo.url}{SHOP}/plugins", f"{demo.url}{SHOP}/customers/customer-grace"
    page.goto(plugins)
    expect(widget.get_by_text("Agreed to by Rosa Lindqvist")).to_be_visible()
    widget.get_by_role("button", name="Deactivate").click()
    expect(widget.get_by_text("inactive", exact=True)).to_be_visible()
    page.goto(profile)
    expect(widget).to_have_count(0)
    page.goto(plugins)
    widget.get_by_role("button", name="Activate").click()
    expect(page.get_by_text("Activated.")).to_be_visible()
    page.goto(profile)
    expect(widget).to_be_visible()


@pytest.mark.browser
def test_a_veto_is_shown_beside_what_was_entered(demo: Demo, page: Page, opening_hours: str) -> None:
    sign_in(page, demo, "Mina Patel")
    page.goto(f"{demo.url}{SHOP}/bookings")
    form = page.locator("#new-booking")
    form.get_by_label("Customer").select_option("Farid Rahimi")
    form.get_by_label("Starts").fill("2031-05-05T06:30")
    form.get_by_label("Notes").fill("Very early")
    form.get_by_role("button", name="Book").click()
    expect(form.get_by_role("alert")).to_contain_text("Nobody is here before eight.")
    expect(form.get_by_role("alert")).to_contain_text(opening_hours)
    expect(form.get_by_label("Notes")).to_have_value("Very early")

    form.get_by_label("Starts").fill("2031-05-05T09:30")
    form.get_by_role("button", name="Book").click()
    expect(page.get_by_text("Booked.", exact=True)).to_be_visible()
    page.get_by_role("button", name="Cancel the booking of Farid Rahimi").click()
    expect(page.get_by_text("Booking cancelled.")).to_be_visible()


@pytest.mark.browser
def test_a_failing_widget_does_not_break_its_page_and_markup_is_shown_as_text(
    demo: Demo, page: Page, opening_hours: str
) -> None:
    sign_in(page, demo, "Rosa Lindqvist")
    page.goto(f"{demo.url}{SHOP}/customers/new")
    failed = page.locator(f"[data-plugin='{opening_hours}']")
    expect(failed).to_contain_text("nothing to show just now")
    page.get_by_label("Name").fill("Noor de Vries")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Noor de Vries")).to_be_visible()

    page.goto(f"{demo.url}{SHOP}/products/product-honey")
    expect(failed.get_by_text("<b id='injected'>bold</b>")).to_be_visible()
    expect(page.locator("#injected")).to_have_count(0)
    page.goto(f"{demo.url}{SHOP}/plugins/{opening_hours}")
    expect(page.get_by_text("on purpose").first).to_be_visible()


@pytest.mark.browser
def test_a_widget_that_changes_is_shown_anew_without_loading_the_page(
    demo: Demo, page: Page, opening_hours: str
) -> None:
    sign_in(page, demo, "Rosa Lindqvist")
    page.evaluate("window.isTheSame = true")
    widget = page.locator(f"[data-slot='Dashboard.Widgets'] [data-plugin='{opening_hours}']")
    expect(widget).to_contain_text("0 inside")
    with demo.api(demo.token("corner-shop", "member")) as api:
        for number in (1, 2):
            called = api.post(f"/api/plugins/{opening_hours}/functions/enters", json={"arguments": {}})
            assert called.json()["output"] == number, called.text
            expect(widget).to_contain_text(f"{number} inside")
    assert page.evaluate("window.isTheSame")


def test_members_neither_install_nor_refund(demo: Demo) -> None:
    with visitor(demo, "employee-mina") as client:
        form = {"csrf": csrf(client)}
        assert client.get(f"{SHOP}/plugins/install/echo").status_code == 403
        for path in ("plugins/install/echo", "plugins/loyalty-points/deactivate", "plugins/loyalty-points/uninstall"):
            assert client.post(f"{SHOP}/{path}", data=form).status_code == 403
        assert client.post(f"{SHOP}/sales/sale-cs-100/refund", data=form).status_code == 403


# -- what the pages refuse -------------------------------------------------------------------------------------------


def test_a_form_without_its_token_or_from_another_origin_is_refused(demo: Demo) -> None:
    with visitor(demo, "employee-rosa") as client:
        token, url = csrf(client), f"{SHOP}/plugins/loyalty-points/deactivate"
        assert client.post(url, data={"sure": "yes"}).status_code == 403
        assert client.post(url, data={"csrf": "0" * 64}).status_code == 403
        foreign = {"Origin": "https://elsewhere.example"}
        assert client.post(url, data={"csrf": token}, headers=foreign).status_code == 403
        assert client.post(f"{SHOP}/sign-in", data={"employee": "employee-rosa"}, headers=foreign).status_code == 403
        assert "active" in client.get(f"{SHOP}/plugins/loyalty-points").text


def test_a_session_opens_one_organisation_only(demo: Demo) -> None:
    with visitor(demo, "employee-rosa") as client:
        cookie = client.cookies["corner_shop"]
        assert client.get(f"{SHOP}/customers/patient-iris").status_code == 404
        assert client.post(f"{SHOP}/sign-in", data={"employee": "employee-aoife"}).status_code == 404
    # The same cookie, sent wherever one likes.
    with httpx.Client(base_url=demo.url, cookies={"corner_shop": cookie}) as copied:
        assert copied.get(f"{SHOP}/customers").status_code == 200
        assert copied.get(f"{CLINIC}/customers").status_code == 303
    with httpx.Client(base_url=demo.url, cookies={"corner_shop": cookie[:-1] + "x"}) as forged:
        assert forged.get(f"{SHOP}/customers").status_code == 303


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(demo: Demo) -> None:
    with httpx.Client(base_url=demo.url) as client:
        answer = client.post(f"{SHOP}/sign-in", data={"employee": "employee-rosa"})
    flags = answer.headers["set-cookie"].lower()
    assert "httponly" in flags
    assert "samesite=lax" in flags
    assert f"path={SHOP}" in flags


def test_a_page_under_another_name_is_not_served(demo: Demo) -> None:
    with httpx.Client(base_url=demo.url, headers={"Host": "rebound.example"}) as client:
        assert client.get("/").status_code == 403
        assert client.post(f"{SHOP}/sign-in", data={"employee": "employee-rosa"}).status_code == 403


def test_pages_allow_scripts_and_styles_of_their_own_only(demo: Demo) -> None:
    with httpx.Client(base_url=demo.url) as client:
        answer = client.get("/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "style=" not in answer.text
    assert "<script>" not in answer.text


def test_an_unknown_page_is_a_page_too(demo: Demo) -> None:
    with visitor(demo, "employee-rosa") as client:
        for path in ("nonsense", "plugins/nonsense", "plugins/install/nonsense", "sales/nonsense"):
            answer = client.get(f"{SHOP}/{path}")
            assert answer.status_code == 404, path
            assert "<h1>" in answer.text, path


def test_the_api_of_the_platform_answers_beside_the_pages(demo: Demo) -> None:
    with demo.api(demo.token("harbour-clinic", "member")) as api:
        assert api.get("/api/me").json()["tenant"]["id"] == "harbour-clinic"
    assert httpx.get(f"{demo.url}/api/me").status_code == 401


# -- looks -----------------------------------------------------------------------------------------------------------

PATHS = (
    "dashboard", "till", "sales", "bookings", "customers", "customers/new", "customers/customer-amara", "products",
    "products/product-honey", "products/product-honey/edit", "plugins", "plugins/loyalty-points",
    "plugins/install/echo",
)  # fmt: skip


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_no_page_is_wider_than_the_screen(demo: Demo, browser: Browser, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="light" if scheme == "light" else "dark"
    )
    page = context.new_page()
    sign_in(page, demo, "Rosa Lindqvist")
    for path in PATHS:
        answer = page.goto(f"{demo.url}{SHOP}/{path}")
        assert answer is not None
        assert answer.status == 200, path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    context.close()


# -- starting again --------------------------------------------------------------------------------------------------


def test_a_second_start_keeps_tokens_data_and_decisions(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_demo(data) as first:
        facts = first.facts
        with visitor(first, "employee-rosa") as client:
            form = {"csrf": csrf(client), "data": "delete"}
            assert client.post(f"{SHOP}/plugins/loyalty-points/uninstall", data=form).status_code == 303
            form = {"csrf": csrf(client), "name": "Only once"}
            assert client.post(f"{SHOP}/customers/new", data=form).status_code == 303
        assert first.stop() == 0
    for name in ("demo.json", "secret.key", "session.key"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name

    with running_demo(data) as second:
        assert {**second.facts, "url": ""} == {**facts, "url": ""}
        with second.api(second.token("corner-shop", "owner")) as api:
            assert api.get("/api/plugins").json()["items"] == []
        with visitor(second, "employee-rosa") as client:
            names = client.get(f"{SHOP}/customers").text
            assert names.count("Only once") == 1
            assert names.count("Amara Nwosu") == 1
