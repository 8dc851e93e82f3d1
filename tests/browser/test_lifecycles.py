"""Records that follow a lifecycle, and the lifecycle itself, as people meet them."""

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Enter
from tests.browser.examine import accessibility, examine, sticking_out
from tests.browser.person import DESKTOP, PHONE
from tests.browser.test_records import TRADES, new_trade

CAPTURED = f'{TRADES}?filter={{"lifecycle_state":{{"in":["captured"]}}}}&sort=-reference'


def state(page: Page) -> Locator:
    return page.locator("main .titleline .st").first


async def test_whoever_captured_a_trade_does_not_verify_it_and_somebody_else_does(enter: Enter) -> None:
    maker = await enter("preparer")
    address = await new_trade(maker, Counterparty="Cassel Automotive")
    page = maker.page
    await expect(state(page)).to_have_text("Captured")
    verify = page.get_by_role("button", name="Verify")
    await expect(verify).to_have_attribute("aria-disabled", "true")
    await verify.focus()
    await expect(page.get_by_role("tooltip").filter(has_text="needs the role controller")).to_be_visible()
    await examine(page, "record-steps")

    await page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog", name="Cancel")
    await dialog.get_by_role("button", name="Cancel", exact=True).click()
    await expect(dialog.get_by_text("Say why.")).to_be_visible()
    await expect(dialog.get_by_label("Comment")).to_be_focused()
    await dialog.get_by_role("button", name="Back").click()
    await expect(state(page)).to_have_text("Captured")

    checker = await enter("controller")
    other = await checker.open(address)
    await other.get_by_role("button", name="Verify…").click()
    dialog = other.get_by_role("dialog", name="Verify")
    await dialog.get_by_label("Comment").fill("Matches the ticket")
    await dialog.get_by_role("button", name="Verify").click()
    await expect(other.get_by_text("Verify: the state is “Verified” now.")).to_be_visible()
    await expect(state(other)).to_have_text("Verified")
    await other.get_by_role("link", name="Steps", exact=True).click()
    await expect(other.locator(".s-timeline")).to_contain_text("Matches the ticket")
    await examine(other, "record-steps-log")

    # The maker's page, still open, says that the record changed.
    await expect(page.get_by_text("This record changed.")).to_be_visible()
    await page.get_by_role("link", name="Show the new state").click()
    await expect(state(page)).to_have_text("Verified")
    await expect(page.get_by_text("nobody changes it in this state").first).to_be_visible()


async def test_many_trades_are_tried_and_then_verified_from_the_list(enter: Enter) -> None:
    maker = await enter("preparer")
    for _ in range(2):
        await new_trade(maker, Counterparty="Cassel Automotive")
    mine = await new_trade(maker)
    checker = await enter("controller")
    page = await checker.open(CAPTURED)
    await expect(page.locator(".s-chip").first).to_contain_text("Captured")
    boxes = page.locator("[data-select]")
    for number in range(3):
        await boxes.nth(number).check()
    await expect(page.locator("[data-bulk-count]")).to_have_text("3 selected")
    await page.get_by_role("button", name="Verify…").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Verify: 3 trades")
    await expect(page.get_by_text("Verify needs Counterparty.")).to_be_visible()
    rows = page.locator("tbody tr")
    await expect(rows.filter(has_text="Possible")).to_have_count(2)
    for size in (PHONE, DESKTOP):
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        assert await sticking_out(page) == []
    assert await accessibility(page) == []
    await page.get_by_label("Comment").fill("Ticked off the blotter")
    await page.get_by_role("button", name="Verify: 2 records").click()
    await expect(rows.filter(has_text="Done")).to_have_count(2)
    await page.get_by_role("link", name="Back to the list").last.click()
    await expect(page.get_by_role("heading", name="Trades", level=1)).to_be_visible()
    page = await checker.open(mine)
    await expect(state(page)).to_have_text("Captured")


async def test_an_administrator_makes_a_lifecycle_without_writing_any_code(enter: Enter) -> None:
    admin = await enter("admin")
    page = await admin.open("/lifecycles")
    await examine(page, "lifecycles")
    await page.get_by_role("button", name="New lifecycle").click()
    dialog = page.get_by_role("dialog", name="New lifecycle")
    await dialog.get_by_label("Name").fill("Limit approval")
    await dialog.get_by_label("For").select_option(label="PnL thresholds")
    await dialog.get_by_role("button", name="Begin the draft").click()
    await expect(page.get_by_role("heading", name="Limit approval", level=1)).to_be_visible()
    await page.wait_for_load_state("load")

    # A state in between, and the pickers know it at once.
    await page.get_by_role("button", name="Add a state").click()
    added = page.locator("[data-state-row]").last
    await added.get_by_label("State", exact=True).fill("Under review")
    await added.get_by_label("Kind").select_option(label="Waiting: for somebody else")
    finish = page.locator("[data-step-row]").first
    await finish.locator("summary").first.click()
    await finish.get_by_label("Leads to").select_option(label="Under review")
    await finish.get_by_role("button", name="Add a condition").click()
    row = finish.locator(".lc-cond-row")
    await row.get_by_label("Field").select_option(label="Limit in EUR")
    await row.get_by_label("Condition", exact=True).select_option(label="is above")
    await row.get_by_label("Value").fill("1000")
    await page.get_by_role("button", name="Add a step").click()
    approve = page.locator("[data-step-row]").last
    await approve.get_by_label("Step", exact=True).fill("Approve")
    await approve.get_by_label("Leads to").select_option(label="Done")
    await approve.get_by_role("group", name="Leaves").get_by_label("Under review").check()
    await approve.get_by_label("Desk head").first.check()
    await approve.get_by_label("who created it").check()
    await approve.get_by_role("button", name="Add an effect").click()
    effect = approve.locator("[data-effect-row]")
    await effect.get_by_label("What happens").select_option(label="Tell somebody")
    await effect.get_by_label("Who created it", exact=True).check()
    await effect.get_by_label("Subject").fill("{title} is approved")
    await expect(page.get_by_text("Unsaved changes")).to_be_visible()
    await page.keyboard.press("Control+s")
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await expect(page.get_by_text("As saved, nothing is wrong")).to_be_visible()
    picture = page.get_by_role("img", name="3 states and 2 steps, from Draft on")
    await expect(picture).to_contain_text("Under review")
    await examine(page, "lifecycle-editor")

    # Only for some thresholds, so that those of the others stay as they are.
    await page.get_by_role("button", name="Settings").click()
    settings = page.get_by_role("dialog", name="Settings")
    await settings.get_by_role("button", name="Add a condition").click()
    await settings.get_by_label("Field").select_option(label="Label")
    await settings.get_by_label("Condition", exact=True).select_option(label="starts with")
    await settings.get_by_label("Value").fill("Reviewed")
    await settings.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("New ones where Label starts with “Reviewed”")).to_be_visible()

    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_role("dialog", name="Publish version 1").get_by_role("button", name="Publish").click()
    await expect(page.get_by_text("“Limit approval” is published")).to_be_visible()
    await expect(page.locator(".lc-reading")).to_contain_text("Only where Limit in EUR is above 1000")
    await expect(page.locator(".lc-reading")).to_contain_text("Not by who created it")
    await examine(page, "lifecycle")


async def test_the_platforms_own_lifecycle_can_be_looked_up(enter: Enter) -> None:
    reader = await enter("auditor")
    page = await reader.open("/lifecycles")
    await page.get_by_role("link", name="Process of a run").click()
    await expect(page.get_by_text("is changed by nobody")).to_be_visible()
    await expect(page.get_by_role("button", name="New draft")).to_have_count(0)
    await examine(page, "lifecycle-engine")
