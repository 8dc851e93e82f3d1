"""Every page that the navigation leads to: it opens, it fits, and everybody can use it."""

from playwright.async_api import expect

from tests.browser.conftest import Enter
from tests.browser.examine import accessibility, examine, sticking_out
from tests.browser.person import DESKTOP, PHONE


async def test_every_page_of_the_navigation_fits_and_can_be_used_by_everybody(enter: Enter) -> None:
    person = await enter("admin")
    page = person.page
    links = page.locator("#side-nav a")
    addresses = [str(await link.get_attribute("href")) for link in await links.all()]
    assert {"/", "/runs", "/hierarchies", "/jobs", "/data/trades", "/data/users"} <= set(addresses)
    troubles: list[str] = []
    for address in addresses:
        await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        await person.open(address)
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)
        await expect(page.locator('#side-nav [aria-current="page"]')).to_have_attribute("href", address)
        troubles += [f"{address} on a phone: sticks out: {element}" for element in await sticking_out(page)]
        await page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
        troubles += [f"{address}: {trouble}" for trouble in await accessibility(page)]
    assert troubles == [], "\n".join(troubles)


async def test_the_runs_fit_and_can_be_used_by_everybody(enter: Enter) -> None:
    person = await enter("auditor")
    page = await person.open("/runs")
    await expect(page.get_by_role("link", name="Daily FX PnL close")).to_have_count(4)
    await examine(page, "runs")


async def test_the_way_back_from_a_process_leads_to_its_stage_in_its_run(enter: Enter) -> None:
    person = await enter("auditor")
    page = await person.open("/runs")
    await page.get_by_role("link", name="Daily FX PnL close").last.click()
    await page.get_by_role("link", name="Comment on EM breaches").click()
    trail = page.get_by_role("navigation", name="Breadcrumb")
    await trail.get_by_role("link", name="EM", exact=True).click()
    await expect(page.locator("#h-procs")).to_have_text("EM")
    await expect(page.locator(".pname")).to_have_count(2)
    await page.get_by_role("link", name="Show all").click()
    await expect(page.locator(".pname")).to_have_count(16)


async def test_a_phone_shows_the_navigation_when_it_is_asked_for_and_the_keyboard_reaches_everything(
    enter: Enter,
) -> None:
    person = await enter("auditor")
    page = await person.open("/runs")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    nav = page.get_by_role("navigation", name="Main")
    await expect(nav).to_be_hidden()
    await page.get_by_role("button", name="Menu", exact=True).click()
    await expect(nav.get_by_role("link", name="Home")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(nav).to_be_hidden()
    await expect(page.get_by_role("button", name="Menu", exact=True)).to_be_focused()
