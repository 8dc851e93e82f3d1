"""Generated lists, forms and records, on the trades of the demo."""

import csv
import io

from playwright.async_api import Page, expect

from tests.browser.conftest import Enter
from tests.browser.examine import examine
from tests.browser.person import Person, downloaded

TRADES = "/data/trades"
LONG_AGO = "2020-01-02"  # a trade of the run's own date would change its PnL


async def titles(page: Page) -> list[str]:
    """The reference of each row, as shown."""
    return [text.strip() for text in await page.locator("[data-list] td.c-title").all_inner_texts()]


async def cells(page: Page, column: str) -> list[str]:
    return [text.strip() for text in await page.locator(f'[data-list] td[data-label="{column}"]').all_inner_texts()]


async def add_filter(page: Page, field: str, operator: str, value: str) -> None:
    """Build a condition as a person does: find the field, choose the condition, give the value."""
    await page.get_by_text("Add filter").click()
    builder = page.locator("[data-filter-builder]")
    await builder.get_by_label("Find a field").fill(field)
    await builder.locator("[data-field-list]").get_by_role("button", name=field, exact=True).click()
    await builder.get_by_label(f"Condition on {field}").select_option(label=operator)
    control = builder.get_by_label("Value", exact=True)
    if await control.evaluate("element => element.tagName") == "SELECT":
        await control.select_option(label=value)
    else:
        await control.fill(value)
    await builder.get_by_role("button", name="Apply").click()
    await page.wait_for_url("**filter=**")
    await page.wait_for_load_state("load")


async def pick(page: Page, label: str, words: str, choice: str) -> None:
    """Type into a look-up and choose what it finds."""
    await page.get_by_role("combobox", name=label).press_sequentially(words)
    option = page.get_by_role("option").filter(has_text=choice).first
    await expect(option).to_be_visible()
    await option.click()


async def new_trade(person: Person, **more: str) -> str:
    """Create a trade over the form; its address."""
    page = await person.open(f"{TRADES}/new")
    await pick(page, "Book", "LDN-USD", "USD")
    for label, value in {
        "Trade date": LONG_AGO,
        "Currency": "USD",
        "Quantity": "1000000",
        "Trade rate per EUR": "1.1",
        **more,
    }.items():
        await page.get_by_label(label).fill(value)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Trade created.")).to_be_visible()
    return page.url.removeprefix(person.stack.address)


async def test_a_list_is_searched_filtered_sorted_and_exported_as_it_is_shown(enter: Enter) -> None:
    person = await enter("controller")
    page = await person.open(TRADES)
    everything = await page.locator("h1 .s-count").inner_text()
    search = page.get_by_label("Search in this list")
    await search.fill("FXT-00000")
    await search.press("Enter")
    await expect(page.locator("h1 .s-count")).to_have_text("9 records")
    assert set(await titles(page)) == {f"FXT-00000{number}" for number in range(1, 10)}
    await page.get_by_role("link", name="Clear all").click()
    await expect(page.locator("h1 .s-count")).to_have_text(everything)
    await page.wait_for_load_state("load")

    await add_filter(page, "Currency", "is", "BRL")
    await add_filter(page, "Captured after the cut", "is", "Yes")
    chips = page.locator(".s-chip")
    await expect(chips).to_have_count(2)
    assert " ".join((await chips.first.inner_text()).split()) == "Currency is “BRL”"
    assert set(await cells(page, "Currency")) == {"BRL"}
    assert set(await cells(page, "Captured after the cut")) == {"Yes"}

    await page.get_by_role("link", name="Trade rate per EUR").click()
    await expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Trade rate per EUR")
    rates = [float(rate) for rate in await cells(page, "Trade rate per EUR")]
    assert rates == sorted(rates)
    assert len(rates) > 3

    shown = await titles(page)
    await page.get_by_text("Export", exact=True).click()
    text = (await downloaded(page, page.get_by_role("link", name="CSV"))).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["Reference"] for row in rows] == shown
    assert {row["Currency"] for row in rows} == {"BRL"}

    await page.keyboard.press("Escape")
    await page.get_by_label("Remove filter Currency").click()
    await expect(chips).to_have_count(1)
    assert len(set(await cells(page, "Currency"))) > 1


async def test_the_columns_and_the_view_that_a_person_chooses_are_kept(enter: Enter) -> None:
    person = await enter("controller")
    page = await person.open(f'{TRADES}?filter={{"currency":"TRY"}}')
    head = page.locator("[data-list] thead")
    await expect(head).to_contain_text("Product")
    await page.locator("[data-columns] > summary").click()
    await page.locator("[data-columns]").get_by_label("Product", exact=True).uncheck()
    await page.locator("[data-columns]").get_by_label("Trader", exact=True).check()
    await page.locator("[data-columns]").get_by_role("button", name="Apply").click()
    await expect(head).not_to_contain_text("Product")
    await expect(head).to_contain_text("Trader")
    await expect(page.locator(".s-chip")).to_contain_text("TRY")
    await page.wait_for_load_state("load")

    await page.get_by_role("button", name="Save view").click()
    dialog = page.get_by_role("dialog", name="Save view")
    await dialog.get_by_label("Name").fill("Lira")
    await dialog.get_by_role("button", name="Save view").click()
    await expect(page.get_by_text("The view “Lira” is saved.")).to_be_visible()

    await person.open(TRADES)
    await expect(head).to_contain_text("Trader")
    await page.get_by_role("navigation", name="Saved views").get_by_role("link", name="Lira").click()
    await expect(page.locator(".s-chip")).to_contain_text("TRY")
    assert set(await cells(page, "Currency")) == {"TRY"}
    await page.wait_for_load_state("load")

    await page.get_by_role("button", name="Delete view").click()
    await page.get_by_role("dialog", name="Delete view").get_by_role("button", name="Delete view").click()
    await expect(page.get_by_text("The view “Lira” is deleted.")).to_be_visible()
    await page.wait_for_load_state("load")
    await page.locator("[data-columns] > summary").click()
    await page.get_by_role("button", name="Default columns").click()
    await expect(head).to_contain_text("Product")


async def test_a_form_says_what_is_wrong_beside_each_field_and_keeps_what_was_typed(enter: Enter) -> None:
    person = await enter("preparer")
    page = await person.open(f"{TRADES}/new")
    await page.get_by_label("Trade date").fill(LONG_AGO)
    await page.get_by_label("Currency").fill("usd")
    await page.get_by_label("Quantity").fill("1,000,000")
    await page.get_by_label("Counterparty").fill("Cassel Automotive")
    await page.get_by_role("button", name="Save", exact=True).click()
    summary = page.locator("[data-error-summary]")
    await expect(summary).to_be_focused()
    await page.wait_for_load_state("load")
    await expect(summary).to_contain_text("things need attention")
    for field in ("book", "currency", "rate"):
        await expect(page.locator(f'[data-field="{field}"] .s-err')).to_be_visible()
    await expect(page.get_by_label("Counterparty")).to_have_value("Cassel Automotive")
    await summary.get_by_role("link", name="Currency").click()
    await expect(page.get_by_label("Currency")).to_be_focused()

    await page.get_by_label("Currency").fill("USD")
    await pick(page, "Book", "LDN-USD", "USD")
    await page.get_by_label("Trade rate per EUR").fill("1.0987")

    # A field that depends on another one appears, is asked for, and goes again.
    reason = page.get_by_label("Late reason")
    await expect(reason).to_be_hidden()
    await page.locator('[data-field="late"]').get_by_role("checkbox").check()
    await expect(reason).to_be_visible()
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator('[data-field="late_reason"] .s-err')).to_be_visible()
    await reason.fill("Confirmed by phone after the cut")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Trade created.")).to_be_visible()
    await expect(page.locator("main")).to_contain_text("Confirmed by phone after the cut")
    await expect(page.locator("main")).to_contain_text("Cassel Automotive")


async def test_two_people_who_edit_one_record_lose_nothing_and_its_history_tells_both(enter: Enter) -> None:
    first, second = await enter("preparer"), await enter("admin")
    record = await new_trade(first)
    mine, theirs = await first.open(f"{record}/edit"), await second.open(f"{record}/edit")
    await theirs.get_by_label("Counterparty").fill("Cassel Automotive")
    await theirs.get_by_label("Trader").fill("K. Mori")
    await theirs.get_by_role("button", name="Save", exact=True).click()
    await expect(theirs.get_by_text("Saved.")).to_be_visible()

    await mine.get_by_label("Counterparty").fill("Borealis Timber")
    await mine.get_by_label("Note").fill("Split with the second desk")
    await mine.get_by_role("button", name="Save", exact=True).click()
    await expect(mine.get_by_text("Somebody else saved first.")).to_be_visible()
    clash = mine.locator(".s-clash tbody tr")
    await expect(clash).to_have_count(1)
    for words in ("Counterparty", "Cassel Automotive", "Borealis Timber"):
        await expect(clash).to_contain_text(words)
    await expect(mine.get_by_label("Counterparty")).to_have_value("Borealis Timber")
    await expect(mine.get_by_label("Note")).to_have_value("Split with the second desk")
    await expect(mine.get_by_label("Trader")).to_have_value("K. Mori")
    await mine.wait_for_load_state("load")
    await mine.get_by_role("button", name="Save", exact=True).click()
    await expect(mine.get_by_text("Saved.")).to_be_visible()

    await mine.get_by_role("navigation", name="Parts of the record").get_by_role("link", name="History").click()
    latest, earlier, created = mine.locator("ol.hist > li").nth(0), mine.locator("ol.hist > li").nth(1), 3
    await expect(mine.locator("ol.hist > li")).to_have_count(created)
    await expect(latest.locator(".who")).to_contain_text("Jonas Weber")
    change = latest.locator(".chg").filter(has_text="Counterparty")
    await expect(change.locator("del")).to_have_text("Cassel Automotive")
    await expect(change.locator("ins")).to_have_text("Borealis Timber")
    await expect(latest.locator(".chg").filter(has_text="Trader")).to_have_count(0)
    await expect(earlier.locator(".who")).to_contain_text("Mara Lindqvist")
    await expect(earlier.locator(".chg").filter(has_text="Trader").locator("ins")).to_have_text("K. Mori")


async def test_lists_forms_and_records_fit_and_can_be_used_by_everybody(enter: Enter) -> None:
    person = await enter("preparer")
    # Old trades first: one of the last days may be verified, and then nobody edits it.
    page = await person.open(f'{TRADES}?filter={{"currency":"BRL","late":true}}&sort=trade_date')
    await examine(page, "list")
    await page.locator("[data-list] td.c-title a").first.click()
    await page.wait_for_load_state("load")
    await examine(page, "detail")
    await page.get_by_role("link", name="Edit").click()
    await page.wait_for_load_state("load")
    await examine(page, "form")
