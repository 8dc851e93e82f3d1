"""The page of a process: what it shows, what it lets people do, and that a refusal loses nothing."""

import html
import re
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx

from app.domain.finance.facts import SOURCE_ROLLUP, Fact, store_facts
from tests.admin.pages.conftest import Site
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import DAY, approval, automatic, manual, reviewed

ITEMS = [
    {"code": "ties", "label": "Positions tie", "required": True},
    {"code": "extra", "label": "Breaks raised", "required": False},
]
EVIDENCE = [{"code": "explain", "label": "PnL explain", "required": True, "file_types": ["csv", "xlsx"]}]


def text_of(response: httpx.Response) -> str:
    """What a reader sees, in one line."""
    without = re.sub(r"<(script|style)\b.*?</\1>", " ", response.text, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", without)))


def dialog(response: httpx.Response, name: str) -> str:
    found = re.search(rf'<dialog[^>]*id="act-{name}".*?</dialog>', response.text, flags=re.DOTALL)
    assert found, f"there is no dialog for {name}"
    return found.group()


async def test_a_preparer_does_the_main_job_and_a_controller_signs_it(site: Site) -> None:
    await site.bank.run([reviewed("a", checklist=ITEMS, evidence=EVIDENCE)])
    preparer, controller = await site.browser("preparer"), await site.browser("controller")
    path, _ = await site.process("a")

    page = text_of(await preparer.get(path))
    assert "You cannot submit. 2 things are missing: Tick “Positions tie”. Attach “PnL explain”." in page
    assert (await preparer.post(f"{path}/checklist", {"item": "ties", "done": "yes"})).status_code == 303
    attached = await site.attach(preparer, "a", "explain.csv", b"book,pnl\nA,1\n")
    assert attached.status_code == 303
    shown = await preparer.get(path)
    assert 'aria-checked="true"' in shown.text
    assert "1 of 1 required" in text_of(shown)

    assert (await site.do(preparer, "submit", "a", comment="Within limits.")).status_code == 303
    assert await site.bank.state("a") == "in_review"
    review = await controller.get(path)
    assert "Within limits." in text_of(review)
    assert "Approval needs 4 things, 4 are met" in text_of(review)
    assert (await site.do(controller, "approve", "a", comment="Agreed.")).status_code == 303
    done = text_of(await controller.get(path))
    assert "controller approved you" in done
    assert "same as now" in done
    assert await site.bank.state("a") == "done"


async def test_the_maker_sees_the_approval_locked_with_the_rule_and_who_can(site: Site) -> None:
    await site.bank.person("both", "preparer", "controller")
    await site.bank.run([reviewed("a")])
    await site.bank.do("submit", "a", "both")
    path, _ = await site.process("a")
    response = await (await site.browser("both")).get(path)
    assert re.search(r'<button[^>]*aria-disabled="true"[^>]*aria-describedby="why-approve"', response.text)
    assert "You cannot approve or reject." in text_of(response)
    assert "maker is not checker" in text_of(response)
    assert "2 can do it: controller, controller2." in text_of(response)
    assert 'id="act-approve"' not in response.text


async def test_what_is_not_theirs_at_all_is_kept_apart_with_its_reason(site: Site) -> None:
    await site.bank.run([manual("a")])
    path, _ = await site.process("a")
    response = text_of(await (await site.browser("auditor")).get(path))
    assert "Not yours (" in response
    assert "You cannot" not in response


async def test_a_refused_rejection_opens_its_dialog_again_and_says_what_to_mend(site: Site) -> None:
    await site.bank.run([reviewed("a")])
    await site.bank.do("submit", "a", "preparer")
    response = await site.do(await site.browser("controller"), "reject", "a", reason="  ")
    assert response.status_code == 422
    shown = dialog(response, "reject")
    assert "data-open" in shown
    assert "Say why." in shown
    assert await site.bank.state("a") == "in_review"


async def test_a_comment_survives_a_refused_submission(site: Site) -> None:
    await site.bank.run([manual("a", evidence=EVIDENCE, require_comment=True)])
    browser = await site.browser("preparer")
    await site.bank.do("claim", "a", "preparer")
    path, version = await site.process("a")
    stale = await browser.post(
        f"{path}/transitions/submit", {"version": str(version - 1), "comment": "A long story <b>of it</b>"}
    )
    assert stale.status_code == 412
    assert "has changed since you read it" in text_of(stale)
    # Submitting is locked until the evidence is there, so there is no dialog: nothing was typed into one either.
    assert (await site.attach(browser, "a", "explain.csv", b"a,b\n1,2\n")).status_code == 303
    stale = await browser.post(
        f"{path}/transitions/submit", {"version": str(version - 1), "comment": "A long story <b>of it</b>"}
    )
    assert "A long story &lt;b&gt;of it&lt;/b&gt;" in dialog(stale, "submit")
    assert (await site.do(browser, "submit", "a", comment="A long story")).status_code == 303


async def test_a_draft_of_the_comment_is_kept_for_the_submission(site: Site) -> None:
    await site.bank.run([manual("a", require_comment=True)])
    browser = await site.browser("preparer")
    path, version = await site.process("a")
    assert (await browser.post(f"{path}/comment", {"version": str(version), "comment": "So far."})).status_code == 303
    page = await browser.get(path)
    assert "So far.</textarea>" in dialog(page, "submit")
    assert "So far." not in text_of(await (await site.browser("auditor")).get(path))


async def test_a_file_of_the_wrong_kind_is_refused_beside_the_form(site: Site) -> None:
    await site.bank.run([manual("a", evidence=EVIDENCE)])
    browser = await site.browser("preparer")
    response = await site.attach(browser, "a", "page.html", b"<html></html>")
    assert response.status_code == 415
    evidence = response.text.split('id="evidence"')[1].split("</section>")[0]
    assert ".html are not accepted here" in evidence
    nothing = await site.attach(browser, "a", "a.csv", b"a", field="other")
    assert "Choose a file first." in text_of(nothing)


async def test_each_version_of_a_file_is_downloaded_as_it_was(site: Site) -> None:
    await site.bank.run([manual("a", evidence=EVIDENCE)])
    browser = await site.browser("preparer")
    path, _ = await site.process("a")
    for content in (b"book,pnl\nA,1\n", b"book,pnl\nA,2\n"):
        assert (await site.attach(browser, "a", "näme.csv", content)).status_code == 303
    page = await browser.get(path)
    first, second = sorted(set(re.findall(r"/files/[0-9a-f-]+/content\?version=\d", page.text)))
    old, new = await browser.get(first), await browser.get(second)
    assert (old.content, new.content) == (b"book,pnl\nA,1\n", b"book,pnl\nA,2\n")
    assert new.headers["content-disposition"] == "attachment; filename*=UTF-8''n%C3%A4me.csv"
    assert (await browser.get(f"{first.split('?')[0]}?version=9")).status_code == 404
    assert (await browser.get(f"/files/{uuid4()}/content")).status_code == 404


async def test_a_blocked_process_says_what_it_waits_for_and_until_when(site: Site) -> None:
    await site.bank.run([manual("first"), reviewed("second")], [("first", "second")])
    path, _ = await site.process("second")
    page = await (await site.browser("preparer")).get(path)
    before, _ = await site.process("first")
    assert "Waits for 1 process." in text_of(page)
    assert f'href="{before}"' in page.text


async def test_a_process_out_of_scope_and_one_that_is_not_there_are_the_same(site: Site) -> None:
    await site.bank.person("em_only", "preparer", node="EM")
    await site.bank.run([manual("a", node="G10"), manual("b", node="EM", evidence=EVIDENCE)])
    browser = await site.browser("em_only")
    path, version = await site.process("a")
    answers = [
        await browser.get(path),
        await browser.get(f"/processes/{uuid4()}"),
        await browser.get("/processes/nonsense"),
        await browser.post(f"{path}/transitions/claim", {"version": str(version)}),
        await browser.post(f"{path}/checklist", {"item": "x", "done": "yes"}),
        await site.attach(browser, "a", "a.csv", b"a,b"),
        await browser.get(f"{path}/assignees"),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    inside, _ = await site.process("b")
    assert (await browser.get(inside)).status_code == 200


async def test_previous_and_next_lead_only_to_processes_in_scope(site: Site) -> None:
    await site.bank.person("em_only", "preparer", node="EM")
    await site.bank.run([manual("a", node="EM"), manual("b", node="G10"), manual("c", node="EM")])
    first, _ = await site.process("a")
    last, _ = await site.process("c")
    page = await (await site.browser("em_only")).get(first)
    assert re.findall(r'href="([^"]+)"[^>]*data-next', page.text) == [last]
    assert "data-previous" not in page.text


async def test_changes_need_the_token_of_the_page_and_a_known_version(site: Site) -> None:
    await site.bank.run([manual("a")])
    browser = await site.browser("preparer")
    path, version = await site.process("a")
    without = await browser.post(f"{path}/transitions/claim", {"version": str(version), "csrf_token": ""})
    assert without.status_code == 403
    assert (await browser.post(f"{path}/transitions/claim", {"version": "x"})).status_code == 400
    assert (await browser.get(f"{path}/transitions/claim")).status_code == 405
    assert (await browser.post(f"{path}/transitions/explode", {"version": str(version)})).status_code == 404
    assert await site.bank.state("a") == "ready"


async def test_a_hold_asks_for_a_time_ahead_and_shows_it(site: Site) -> None:
    await site.bank.run([manual("a")])
    browser = await site.browser("operations")
    refused = await site.do(browser, "hold", "a", reason="Feed is late", review_by="2020-01-01T10:00")
    assert refused.status_code == 422
    shown = dialog(refused, "hold")
    assert "Choose a time that is still ahead." in shown
    assert "Feed is late" in shown
    assert 'value="2020-01-01T10:00"' in shown
    assert (await site.do(browser, "hold", "a", reason="Feed is late", review_by="2099-01-01T10:00")).status_code == 303
    path, _ = await site.process("a")
    assert "On hold. Feed is late Somebody looks again by" in text_of(await browser.get(path))


async def test_an_assignment_offers_those_who_hold_the_role_there(site: Site) -> None:
    await site.bank.run([manual("a")])
    browser = await site.browser("operations")
    path, _ = await site.process("a")
    options = text_of(await browser.get(f"{path}/assignees"))
    assert "preparer" in options
    assert "controller" not in options
    chosen = str(site.bank.people["preparer2"].id)
    assert (await site.do(browser, "assign", "a", assignee_id=chosen)).status_code == 303
    assert "preparer2" in text_of(await browser.get(path))


async def _figures(site: Site, value: str) -> None:
    node = site.bank.nodes["G10"]
    amounts = {"flash": "100", "actual": value, "market_move": value, "new_trades": "0", "unexplained": "0"}
    async with site.runtime.uow(SYSTEM) as uow:
        facts = [Fact(node, name, "EUR", SOURCE_ROLLUP, Decimal(amount)) for name, amount in amounts.items()]
        await store_facts(uow, DAY, facts)


async def _breach(site: Site, **values: Any) -> UUID:
    async with site.runtime.uow(SYSTEM) as uow:
        return await add_row(
            uow, "breach", business_date=DAY, book_id=site.bank.nodes["G10"], measure="actual", kind="absolute",
            summary="G10: over the limit", value=Decimal(500), limit=Decimal(300), state="open", **values,
        )  # fmt: skip


def _close() -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    compute = {**automatic("compute", node="G10"), "action": "finance.compute_pnl"}
    comment = manual("comment", node="G10", parameters={"comment_per_breach": True})
    return [manual("rates", node="G10"), compute, comment, approval("review", node="G10")], [
        ("rates", "compute"), ("compute", "comment"), ("comment", "review"),
    ]  # fmt: skip


async def test_figures_are_shown_with_their_limits_where_the_process_builds_on_them(site: Site) -> None:
    await site.bank.run(*_close())
    await _figures(site, "500")
    async with site.runtime.uow(SYSTEM) as uow:
        await add_row(
            uow, "pnl_threshold", label="G10", node_id=site.bank.nodes["G10"], measure="actual",
            absolute_limit=Decimal(300),
        )  # fmt: skip
    await _breach(site)
    browser = await site.browser("preparer")
    comment, _ = await site.process("comment")
    page = text_of(await browser.get(comment))
    assert "Actual at the day's rates 500.00 Over limit limit ±300" in page
    assert "0 of at least 40 characters" in page
    rates, _ = await site.process("rates")
    assert "PnL summary" not in text_of(await browser.get(rates))


async def test_a_short_commentary_is_kept_and_counted_and_a_long_one_is_saved(site: Site) -> None:
    await site.bank.run(*_close())
    breach_id = await _breach(site)
    browser = await site.browser("preparer")
    path, _ = await site.process("comment")
    address = f"{path}/breaches/{breach_id}"
    refused = await browser.post(address, {"version": "1", "root_cause": "market_move", "commentary": "Too short"})
    assert refused.status_code == 422
    assert "9 of at least 40 characters." in text_of(refused)
    assert ">Too short</textarea>" in refused.text
    assert re.search(r'<option value="market_move" selected>', refused.text)
    words = "The dollar moved by two percent against the euro in the afternoon."
    saved = await browser.post(address, {"version": "1", "root_cause": "market_move", "commentary": words})
    assert saved.status_code == 303
    shown = await browser.get(path)
    assert words in text_of(shown)
    assert "Market move, preparer" in text_of(shown)


async def test_the_number_of_statements_stays_small_and_flat(site: Site) -> None:
    await site.bank.person("both", "preparer", "controller")
    many = [manual(f"p{number}", node="G10") for number in range(20)]
    compute = {**automatic("compute", node="G10"), "action": "finance.compute_pnl"}
    join = reviewed("join", "controller", "desk_head", node="G10", evidence=EVIDENCE, checklist=ITEMS)
    edges = [("compute", "join"), *((f"p{n}", "join") for n in range(20))]
    await site.bank.run([*many, compute, join, reviewed("few")], edges)
    await _figures(site, "500")
    browser = await site.browser("both")
    counts = {}
    for code in ("few", "join"):
        path, _ = await site.process(code)
        await browser.get(path)
        with site.statements() as seen:
            assert (await browser.get(path)).status_code == 200
        # What identifies the session is not the page's own.
        counts[code] = len([statement for statement in seen if "user_session" not in statement])
    assert counts["few"] <= counts["join"] <= 12
    await site.bank.do("submit", "few", "both")
    path, _ = await site.process("few")
    with site.statements() as seen:
        assert "2 can do it" in text_of(await browser.get(path))
    assert len([statement for statement in seen if "user_session" not in statement]) <= 12
