"""The daily close, from the rates to the publication, by people at their browsers and the real worker."""

from pathlib import Path

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Enter
from tests.browser.examine import examine
from tests.browser.person import Person, downloaded

WORKER_MS = 60_000
TOO_SHORT = "The dollar moved."
COMMENTARY = "The dollar moved against the open position; the amount ties to the trade capture, ticket by ticket."
REASON = "The explain does not name the positions that moved; add them and submit again."
EXPLAIN = b"book,measure,eur\nFXG10-LDN-USD,actual,-120394.12\n"


def state(page: Page) -> Locator:
    """The chip with the state beside the title."""
    return page.locator("main .titleline .st").first


def bell(page: Page) -> Locator:
    return page.locator("[data-bell] > summary")


async def take_up(person: Person, label: str) -> Page:
    """Go to work that Home says is waiting."""
    page = await person.open("/")
    await page.get_by_role("link", name=label, exact=True).first.click()
    await expect(page.get_by_role("heading", name=label, level=1)).to_be_visible()
    await page.wait_for_load_state("load")
    return page


async def open_process(person: Person, run: str, label: str) -> Page:
    page = await person.open(run)
    await page.get_by_role("link", name=label).first.click()
    await expect(page.get_by_role("heading", name=label, level=1)).to_be_visible()
    await page.wait_for_load_state("load")
    return page


async def press(page: Page, button: str) -> None:
    """A button of the action row that acts at once."""
    await page.locator("#decide").get_by_role("button", name=button, exact=True).click()
    await page.wait_for_load_state("load")


async def dialog_of(page: Page, button: str) -> Locator:
    """The dialog that a button of the action row opens."""
    await page.locator("#decide").get_by_role("button", name=f"{button}…", exact=True).click()
    dialog = page.get_by_role("dialog", name=button)
    await expect(dialog).to_be_visible()
    return dialog


async def decide(page: Page, button: str, *, says: str, **fields: str) -> None:
    """Open the dialog of an action, fill it in and send it."""
    dialog = await dialog_of(page, button)
    for label, value in fields.items():
        await dialog.get_by_label(label.capitalize()).fill(value)
    await dialog.get_by_role("button", name=button, exact=True).click()
    await expect(page.get_by_text(says)).to_be_visible()
    await page.wait_for_load_state("load")


async def comment_every_breach(page: Page) -> int:
    """Explain each open breach; the first one with too short a text before."""
    total = await page.locator(".brc.open").count()
    for number in range(total):
        breach = page.locator(".brc.open").first
        place = await breach.get_attribute("id")
        await breach.get_by_label("Root cause").select_option("market_move")
        box = breach.get_by_label("Commentary")
        if number == 0:
            await box.fill(TOO_SHORT)
            await breach.get_by_role("button", name="Save commentary").click()
            refused = page.locator(f"#{place} .fld.err .msg")
            await expect(refused).to_contain_text("of at least 40 characters. Say what moved and why")
            await expect(box).to_have_value(TOO_SHORT)
            await expect(box).to_have_attribute("aria-invalid", "true")
            await expect(breach.get_by_label("Root cause")).to_have_value("market_move")
        await box.fill(COMMENTARY)
        await breach.get_by_role("button", name="Save commentary").click()
        await expect(page.locator(".brc.open")).to_have_count(total - number - 1)
        await page.wait_for_load_state("load")
    return total


async def prepare_commentary(person: Person, run: str, label: str, folder: Path, *, look: bool = False) -> Page:
    page = await open_process(person, run, label)
    await press(page, "Start")
    await expect(state(page)).to_have_text("In progress")
    await expect(page.locator("#decide")).to_contain_text("You cannot submit.")
    if look:
        await examine(page, "process")
    assert await comment_every_breach(page) > 0
    await expect(page.locator("#decide")).to_contain_text("One thing is missing:")
    file = folder / "pnl_explain.csv"
    file.write_bytes(EXPLAIN)
    await page.get_by_label("File", exact=True).set_input_files(file)
    await page.get_by_role("button", name="Attach").click()
    await expect(page.get_by_text("“pnl_explain.csv” is attached.")).to_be_visible()
    await page.wait_for_load_state("load")
    assert await downloaded(page, page.get_by_role("link", name="Download pnl_explain.csv")) == EXPLAIN
    await decide(page, "Submit", comment="All breaches are explained.", says="Submitted and done.")
    await expect(state(page)).to_have_text("Done")
    return page


async def test_the_daily_close_is_done_through_the_screens_from_the_rates_to_the_publication(
    enter: Enter, tmp_path: Path
) -> None:
    preparer, controller = await enter("preparer"), await enter("controller")
    second, deskhead, onlooker = await enter("controller2"), await enter("deskhead"), await enter("auditor")

    # The onlooker has the run open all the time and never reloads it.
    watched = await onlooker.open("/runs")
    await watched.get_by_role("link", name="Daily FX PnL close").first.click()
    await expect(watched.get_by_role("heading", name="Daily FX PnL close", level=1)).to_be_visible()
    run = watched.url.removeprefix(onlooker.stack.address)
    await watched.evaluate("window.notReloaded = true")
    await expect(state(watched)).to_have_text("In progress")
    rows = watched.locator("table.procs tbody tr")

    def watched_state(label: str) -> Locator:
        return rows.filter(has=watched.locator(".pname", has_text=label)).locator(".p-st .st")

    # Rates and positions; Home says what waits for whom.
    page = await take_up(controller, "Approve rates")
    await expect(state(page)).to_have_text("In review")
    await decide(page, "Approve", says="Approved and done.")
    await expect(watched_state("Approve rates")).to_have_text("Done")

    await examine(await preparer.open("/"), "home")
    page = await take_up(preparer, "Reconcile positions")
    await press(page, "Start")
    await expect(page.locator("#decide")).to_contain_text("You cannot submit. 3 things are missing:")
    for item in (await page.locator("#checklist .tick").all_inner_texts())[:3]:
        await page.get_by_role("checkbox", name=item).click()
        await expect(page.get_by_role("checkbox", name=item)).to_have_attribute("aria-checked", "true")
        await page.wait_for_load_state("load")
    await decide(page, "Submit", says="Submitted and done.")

    # The worker computes, rolls up and tests; the open page follows by itself.
    for label in ("Test G10 thresholds", "Test EM thresholds"):
        await expect(watched_state(label)).to_have_text("Done", timeout=WORKER_MS)
    await expect(watched_state("Comment on G10 breaches")).to_have_text("Ready")

    page = await preparer.open(run)
    await examine(page, "run")
    await prepare_commentary(preparer, run, "Comment on G10 breaches", tmp_path, look=True)
    await prepare_commentary(preparer, run, "Comment on EM breaches", tmp_path)

    # The preparer cannot approve their own work, and is told why.
    page = await open_process(preparer, run, "Controller review of G10 PnL")
    await expect(state(page)).to_have_text("In review")
    decided = page.locator("#decide")
    await expect(decided).to_contain_text(
        "You cannot approve. You prepared what “Controller review of G10 PnL” decides on"
    )
    await expect(decided).to_contain_text("Rule: maker is not checker. 2 can do it: Elena Rossi, Tomasz Nowak.")
    await expect(decided.get_by_role("button", name="Approve")).to_have_attribute("aria-disabled", "true")
    await decided.get_by_role("button", name="Approve").click(force=True)
    await expect(page.get_by_role("dialog")).to_have_count(0)

    # The controller sends it back, which takes a reason.
    page = await open_process(controller, run, "Controller review of G10 PnL")
    dialog = await dialog_of(page, "Reject")
    await dialog.get_by_role("button", name="Reject", exact=True).click()
    dialog = page.get_by_role("dialog", name="Reject")
    await expect(dialog.locator(".s-err")).to_have_text("Say why.")
    await dialog.get_by_label("Reason").fill(REASON)
    await dialog.get_by_role("button", name="Reject", exact=True).click()
    await expect(page.get_by_text("Sent back; round 2 begins.")).to_be_visible()

    # The preparer hears of it on the page that is open, and submits again.
    page = preparer.page
    await bell(page).click()
    rejected = page.locator(".s-notices li.new").first
    await expect(rejected).to_contain_text("Rejected: Controller review of G10 PnL", timeout=2_000)
    await page.keyboard.press("Escape")
    await expect(page.locator(".titleline")).to_contain_text("Round 2")
    await expect(page.locator("#decide")).to_contain_text(REASON)
    await decide(page, "Submit", comment="The positions are named now.", says="Submitted. It waits for approval now.")

    page = controller.page
    await expect(state(page)).to_have_text("In review")
    await decide(page, "Approve", says="Approved and done.")
    page = await open_process(second, run, "Controller review of EM PnL")
    await decide(page, "Approve", says="Approved and done.")

    # The desk head signs; the worker publishes; the run is done.
    page = await take_up(deskhead, "Desk head sign-off")
    await decide(page, "Approve", says="Approved and done.")
    await expect(state(watched)).to_have_text("Done", timeout=WORKER_MS)
    await expect(watched_state("Publish PnL")).to_have_text("Done")
    assert await watched.evaluate("window.notReloaded") is True
