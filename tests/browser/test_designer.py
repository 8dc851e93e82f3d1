"""An administrator redefines the close in the screens: the next run follows it, the one under way its own version."""

from playwright.async_api import Page, expect

from tests.browser.conftest import Enter
from tests.browser.examine import examine
from tests.browser.person import Person


async def follow(page: Page, name: str) -> None:
    await page.get_by_role("link", name=name, exact=True).first.click()
    await page.wait_for_load_state("load")


async def choose(page: Page, name: str) -> None:
    """Choose a part in the tree."""
    await page.locator(".wf-stages").get_by_role("treeitem").filter(has_text=name).first.click()
    await expect(page.locator("#h-editor")).to_contain_text(name)
    await page.wait_for_load_state("load")


async def save(page: Page, button: str = "Save", *, says: str = "Saved.") -> None:
    await page.locator(".wf-save").get_by_role("button", name=button, exact=True).click()
    await expect(page.get_by_text(says, exact=True)).to_be_visible()
    await page.wait_for_load_state("load")


async def running(person: Person) -> tuple[str, str]:
    """The address of the newest run, and the text of its page."""
    page = await person.open("/runs")
    await page.locator("#runs .rname a").first.click()
    await page.wait_for_load_state("load")
    return page.url, await page.locator("main").inner_text()


async def test_an_administrator_redefines_the_close_for_the_next_run_only(enter: Enter) -> None:
    admin = await enter("admin")
    under_way, before = await running(admin)
    assert "v1" in before
    page = await admin.open("/workflows/DFX")
    await page.get_by_role("button", name="New draft").click()
    await expect(page.locator("main .titleline .st").first).to_have_text("Draft, version 2")
    await page.wait_for_load_state("load")
    await examine(page, "designer")

    # a new stage with a process
    await page.locator(".wf-add").get_by_role("link", name="Stage", exact=True).click()
    await page.get_by_label("Label").fill("Attestation")
    await save(page, "Add", says="Added.")
    await page.locator(".wf-add").get_by_role("link", name="Process", exact=True).click()
    await expect(page.get_by_text("in 6 Attestation")).to_be_visible()
    await page.get_by_label("Label").fill("Attest the close")
    await page.get_by_label("Kind").select_option("manual")
    await page.get_by_label("Owner role").select_option("preparer")
    await page.locator("#f-deadline").fill("BD+0 19:30 Europe/Berlin")
    await save(page, "Add", says="Added.")
    await expect(page.locator(".wf-stages [aria-selected=true]")).to_contain_text("Attest the close")

    # it follows the publication
    await page.locator(".wf-near").get_by_role("link", name="Dependency", exact=True).click()
    await expect(page.get_by_label("Successor")).not_to_have_value("")
    await page.get_by_label("Predecessor").select_option(label="5.2 Publish PnL")
    await save(page, "Add", says="Added.")
    await examine(page, "designer_dependency")

    # a new approval level, refused where the maker's role would give it
    await admin.open("/workflows/DFX/versions/2")
    await choose(page, "Attest the close")
    await page.get_by_role("button", name="Add approval level").click()
    await page.locator('[name="approval_levels-0-level"]').fill("1")
    await page.locator('[name="approval_levels-0-role"]').select_option("preparer")
    await save(page)
    await expect(page.get_by_label("Findings here")).to_contain_text("maker is not checker")
    publish = page.locator(".wf-publish").get_by_role("button", name="Publish")
    await expect(publish).to_have_attribute("aria-disabled", "true")
    await page.locator('[name="approval_levels-0-role"]').select_option("desk_head")
    await save(page)
    await expect(page.get_by_label("Findings here")).to_have_count(0)

    # moved by the keyboard, and back
    await page.locator("#h-editor").click()
    await choose(page, "Check rates")
    await page.locator("body").press("Alt+ArrowUp")
    await expect(page.locator(".wf-editor .s-code")).to_have_text("1.1")
    await page.wait_for_load_state("load")
    await page.get_by_role("button", name="Move down").click()
    await expect(page.locator(".wf-editor .s-code")).to_have_text("1.2")
    await page.wait_for_load_state("load")

    # compared and published, with what it means
    side = page.locator(".wf-side")
    await expect(side).to_contain_text("stays on version 1")
    await expect(side).to_contain_text("process: Attest the close")
    await follow(page, "Full diff")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Version 1 and version 2")
    await expect(page.locator("main")).to_contain_text("Publish PnL → Attest the close")
    await examine(page, "designer_compare")
    await admin.open("/workflows/DFX/versions/2")
    await page.get_by_label("Reason").fill("The desk head attests each close.")
    await page.locator(".wf-publish").get_by_role("button", name="Publish").click()
    await expect(page.get_by_text("Version 2 is published; the next run uses it.")).to_be_visible()
    await page.wait_for_load_state("load")
    await expect(page.locator(".wf-save")).to_have_count(0)

    # the next run has it, the one under way does not
    operations = await enter("operations")
    begun = await operations.context.request.post(
        f"{operations.stack.address}/api/v1/workflow-runs",
        data={"workflow": "DFX", "business_date": "2027-01-29"},
        headers={
            "x-csrf-token": await _token(await operations.open("/")),
            "origin": operations.stack.address,
        },
    )
    assert begun.status == 201, await begun.text()
    run = (await begun.json())["id"]
    page = await operations.open(f"/runs/{run}")
    await expect(page.locator("main")).to_contain_text("Attest the close")
    await expect(page.locator("main")).to_contain_text("v2")
    page = await operations.open(under_way.removeprefix(operations.stack.address))
    await expect(page.locator("main")).to_contain_text("v1")
    await expect(page.locator("main")).not_to_contain_text("Attest the close")

    # the one under way is tried and taken over
    page = await admin.open("/workflows/DFX/migrate")
    await examine(page, "migration_new")
    await page.get_by_label("Reason").fill("All closes are attested from today.")
    await page.get_by_role("button", name="Show what would happen").click()
    await expect(page.locator("main")).to_contain_text("1 of 1 runs can go over now")
    await page.wait_for_load_state("load")
    await examine(page, "migration")
    await page.get_by_role("button", name="Execute…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Execute", exact=True).click()
    await expect(page.locator("main")).to_contain_text("1 gone over", timeout=60_000)
    page = await operations.open(under_way.removeprefix(operations.stack.address))
    await expect(page.locator("main")).to_contain_text("Attest the close")


async def _token(page: Page) -> str:
    return await page.locator('meta[name="csrf-token"]').get_attribute("content") or ""
