"""Coming in and going out: wrong passwords, where the sign-in leads to, sessions that end, the theme that stays."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Enter
from tests.browser.examine import examine


async def test_a_wrong_password_and_an_unknown_name_are_answered_alike_and_the_name_is_kept(enter: Enter) -> None:
    person = await enter("auditor", signed_in=False)
    page = await person.open("/signin")
    said = []
    for email in (person.email, "nobody@demo.example"):
        await person.sign_in("not the password", email=email)
        alert = page.get_by_role("alert")
        await expect(alert).to_be_visible()
        said.append(await alert.inner_text())
        await expect(page.get_by_label("E-mail")).to_have_value(email)
        await expect(page.get_by_label("Password", exact=True)).to_have_value("")
    assert said[0] == said[1]
    await expect(page).to_have_url(f"{person.stack.address}/signin")


async def test_what_is_left_empty_is_asked_for_beside_its_field(enter: Enter) -> None:
    person = await enter("auditor", signed_in=False)
    page = await person.open("/signin")
    await person.sign_in("something", email="")
    await expect(page.locator("#email-e")).to_have_text("Enter the e-mail address of your account.")
    await person.sign_in("")
    await expect(page.locator("#password-e")).to_contain_text("Enter your password.")


async def test_the_sign_in_leads_to_the_page_that_was_asked_for_and_never_to_another_site(enter: Enter) -> None:
    person = await enter("auditor", signed_in=False)
    page = await person.open("/data/trades?q=FXT-000001")
    await expect(page).to_have_url(f"{person.stack.address}/signin?next=%2Fdata%2Ftrades%3Fq%3DFXT-000001")
    await person.sign_in()
    await expect(page).to_have_url(f"{person.stack.address}/data/trades?q=FXT-000001")
    for foreign in ("https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example"):
        await person.context.clear_cookies()
        await person.open(f"/signin?next={foreign}")
        await person.sign_in()
        await expect(page).to_have_url(f"{person.stack.address}/")


async def test_signing_out_ends_the_session_and_says_so(enter: Enter) -> None:
    person = await enter("auditor", fresh=True)
    page = person.page
    await page.get_by_label("Henrik Olsen, account and preferences").click()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_text("You are signed out.")).to_be_visible()
    await person.open("/runs")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_session_that_was_ended_elsewhere_leads_to_the_sign_in_and_back_to_the_page(enter: Enter) -> None:
    here, there = await enter("operations", fresh=True), await enter("operations", signed_in=False)
    await there.context.add_cookies(await here.context.cookies())  # type: ignore[arg-type]
    await there.open("/runs")
    wanted = await there.page.get_by_role("link", name="Daily FX PnL close").first.evaluate("link => link.href")
    # A live page notices by itself that the session is over; here the person comes back to a page that has slept.
    await there.page.goto("about:blank")
    await here.page.get_by_label("Priya Nair, account and preferences").click()
    await here.page.get_by_role("button", name="Sign out").click()
    await expect(here.page.get_by_text("You are signed out.")).to_be_visible()
    await there.page.goto(wanted)
    await expect(there.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await there.sign_in()
    await expect(there.page.get_by_role("heading", name="Daily FX PnL close", level=1)).to_be_visible()


async def test_the_theme_that_a_person_chooses_stays_with_them(enter: Enter) -> None:
    person = await enter("operations", fresh=True)
    page, root = person.page, person.page.locator("html")
    await expect(root).to_have_attribute("data-bs-theme", "light")
    async with page.expect_response("**/preferences/theme"):
        await page.get_by_role("button", name="Switch between light and dark").click()
    await expect(root).to_have_attribute("data-bs-theme", "dark")
    await person.open("/runs")
    await expect(root).to_have_attribute("data-bs-theme", "dark")
    elsewhere = await enter("operations", fresh=True)
    await expect(elsewhere.page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    async with elsewhere.page.expect_response("**/preferences/theme"):
        await elsewhere.page.get_by_role("button", name="Switch between light and dark").click()
    await person.open("/runs")
    await expect(root).to_have_attribute("data-bs-theme", "light")


async def test_the_sign_in_page_fits_and_can_be_used_by_everybody(enter: Enter) -> None:
    person = await enter("auditor", signed_in=False)
    page = await person.open("/signin")
    await examine(page, "signin")


@pytest.mark.parametrize("path", ["/no-such-page", "/runs/01990000-0000-7000-8000-000000000000", "/data/no-such-list"])
async def test_an_address_that_leads_nowhere_says_what_to_do(enter: Enter, path: str) -> None:
    person = await enter("auditor")
    page = await person.open(path)
    await expect(page.get_by_text("Error 404")).to_be_visible()
    await expect(page.get_by_role("heading", name="What you can do")).to_be_visible()
    await expect(page.get_by_role("link", name="Go to Home")).to_be_visible()
