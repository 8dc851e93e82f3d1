"""An administrator changes a decision table by keyboard, sees its cases turn, and publishes it."""

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Enter
from tests.browser.examine import examine

PASTE = """text => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  const given = { clipboardData, bubbles: true, cancelable: true };
  document.activeElement.dispatchEvent(new ClipboardEvent("paste", given));
}"""


def cell(page: Page, grid: str, row: int, column: int) -> Locator:
    return page.locator(f'[data-rule-{grid}] td[data-row="{row}"][data-column="{column}"]')


async def test_a_table_is_written_tried_and_published(enter: Enter) -> None:
    person = await enter("admin")
    page = await person.open("/data/business-rules")
    await page.get_by_role("link", name="Severity of a PnL breach").click()
    await page.get_by_role("button", name="New draft from this version").click()
    await expect(page.get_by_text("Version 2 · Draft")).to_be_visible()
    await expect(page.locator("[data-rule-tests]")).to_have_text("5 of 5 pass")

    # A mistake is said at its cell, and the publication waits.
    await cell(page, "table", 1, 1).click()
    await page.keyboard.type("1,500,000")
    await page.keyboard.press("Enter")
    await expect(cell(page, "table", 1, 1).locator(".e")).to_contain_text("write 1500000 for one number")
    await expect(page.locator("[data-rule-publish]")).to_have_attribute("aria-disabled", "true")

    # Put right, in words the server writes its own way; a case fails now.
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await page.keyboard.type("≥ 2000000")
    await page.keyboard.press("Enter")
    await expect(cell(page, "table", 1, 1)).to_have_text(">= 2000000")
    await expect(page.locator("[data-rule-tests]")).to_have_text("4 of 5 pass")
    await expect(cell(page, "cases", 0, 0).locator(".e")).to_have_text("Severity is low, critical was expected")

    # Undo brings everything back; rows are duplicated, moved and deleted by keyboard.
    await cell(page, "table", 1, 0).click()
    await page.keyboard.press("Control+z")
    await page.keyboard.press("Control+z")
    await expect(page.locator("[data-rule-tests]")).to_have_text("5 of 5 pass")
    rows = page.locator("[data-rule-table] tbody tr")
    await cell(page, "table", 1, 1).click()
    await page.keyboard.press("Control+d")
    await expect(rows).to_have_count(6)
    await expect(page.locator("[data-rule-findings]")).to_contain_text("Row 3 is never reached")
    await page.keyboard.press("Alt+ArrowUp")
    await page.keyboard.press("Control+Backspace")
    await expect(rows).to_have_count(5)

    # A block from a spreadsheet becomes cases.
    await page.get_by_role("button", name="Case", exact=True).click()
    await cell(page, "cases", 5, 0).click()
    await page.evaluate(PASTE, "Half a million\tactual\t-500000\tM, FX, FXEM\thigh\nLittle\tactual\t1\tM\tlow\n")
    await expect(page.locator("[data-rule-tests]")).to_have_text("7 of 7 pass")
    await cell(page, "cases", 5, 0).click()
    await expect(page.locator("[data-rule-table] tr.hit .no")).to_contain_text("3")

    # One input is tried: the row that answers is shown, and why the others do not.
    await page.get_by_label("Measure", exact=True).fill("actual")
    await page.get_by_label("Value in EUR", exact=True).fill("-1200000.01")
    await expect(page.locator("[data-rule-answer]")).to_contain_text("critical")
    await expect(page.locator("[data-rule-answer]")).to_contain_text("Row 1 does not fit: Measure is actual")

    await page.keyboard.press("Control+s")
    await expect(page.get_by_text("Draft 2 saved.")).to_be_visible()
    await examine(page, "rule")
    await expect(page.locator("[data-rule-tests]")).to_have_text("7 of 7 pass")

    await page.get_by_role("button", name="Publish…").click()
    dialog = page.get_by_role("dialog", name="Publish version 2")
    await expect(dialog).to_contain_text("PnL thresholds")
    await dialog.get_by_label("What changes").fill("Two more cases")
    await dialog.get_by_role("button", name="Publish").click()
    await expect(page.get_by_text("Version 2 · In force")).to_be_visible()
    await expect(page.get_by_role("region", name="Versions")).to_contain_text("Two more cases")


async def test_a_reader_looks_at_a_table_and_cannot_change_it(enter: Enter) -> None:
    person = await enter("controller")
    page = await person.open("/data/business-rules")
    await page.get_by_role("link", name="Severity of a PnL breach").click()
    await expect(page.locator("[data-rule-tests]")).to_contain_text("pass")
    await cell(page, "table", 1, 1).click()
    await page.keyboard.type("x")
    await expect(page.locator("[data-rule-table] input")).to_have_count(0)
    await expect(page.get_by_role("button", name="Save draft")).to_have_count(0)
    await examine(page, "rule-read")
