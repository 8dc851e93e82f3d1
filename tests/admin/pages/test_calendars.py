"""Calendars on their pages: a draft is changed, tried out, reviewed with what it moves, and published by another."""

from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.workflow.runs import create_run
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, manual


@pytest.fixture
async def calendar(site: Site) -> UUID:
    async with site.runtime.uow(SYSTEM) as uow:
        found: UUID = await uow.scalar(text("SELECT id FROM calendar WHERE code = 'TARGET'"))
    return found


async def _version(site: Site) -> tuple[str, int]:
    """The address of the version that is not published yet, and its row version."""
    async with site.runtime.uow(SYSTEM) as uow:
        row = (await uow.execute(text("SELECT id, row_version FROM calendar_version WHERE state <> 'published'"))).one()
    return f"/calendar-versions/{row.id}", row.row_version


async def test_the_list_leads_to_the_year_of_a_calendar_that_everybody_may_read(site: Site, calendar: UUID) -> None:
    browser = await site.browser("preparer")
    listed = await browser.get("/calendars")
    assert f'href="/calendars/{calendar}"' in listed.text
    assert "New calendar" not in text_of(listed)
    page = await browser.get(f"/calendars/{calendar}?year=2026")
    assert page.status_code == 200
    words = text_of(page)
    assert "261 working days" in words  # of 2026, without a holiday
    assert page.text.count('class="cal-month"') == 12
    assert "09:00-18:00" in words
    assert "New draft" not in words
    assert (await browser.post(f"/calendars/{calendar}/draft")).status_code == 403


async def test_a_draft_is_changed_by_hand_and_says_what_differs(site: Site, calendar: UUID) -> None:
    browser = await site.browser("admin")
    made = await browser.post(f"/calendars/{calendar}/draft")
    assert made.headers["location"] == f"/calendars/{calendar}?version=2"
    path, seen = await _version(site)
    sent = {"row_version": str(seen), "year": "2026"}
    decree = {"first": "2026-10-30", "label": "Decree <b>", "kind": "holiday"}
    answer = await browser.post(f"{path}/change/days", {**sent, **decree})
    assert answer.headers["location"] == f"/calendars/{calendar}?version=2&year=2026"
    page = await browser.get(answer.headers["location"])
    assert "260 working days" in text_of(page)
    assert "Decree &lt;b&gt; (holiday)" in page.text
    stale = await browser.post(f"{path}/change/days", {**sent, **decree})
    assert stale.status_code == 412
    assert "was changed since" in text_of(stale)
    _, seen = await _version(site)
    week = {f"day_{n}": "22:00-06:00" if n < 5 else "" for n in range(7)}
    done = await browser.post(f"{path}/change/week", {"row_version": str(seen), **week, "notes": "Night shift"})
    assert done.status_code == 303
    page = await browser.get(f"/calendars/{calendar}?version=2")
    assert 'value="00:00-06:00, 22:00-24:00"' in page.text  # of Tuesday
    assert 'value="00:00-06:00"' in page.text  # of Saturday
    wrong = await browser.post(f"{path}/change/week", {**week, "day_2": "9 to 5"})
    assert wrong.status_code == 422
    assert "“9 to 5” is no working window" in text_of(wrong)
    assert 'aria-invalid="true"' in wrong.text
    removed = await browser.post(f"{path}/change/removal", {"day": "2026-10-30"})
    assert removed.status_code == 303
    imported = await browser.post(f"{path}/change/import", {"source": "de", "first_year": "2026", "last_year": "2027"})
    assert imported.headers["location"].endswith("year=2026")
    refused = await browser.post(f"{path}/change/import", {"source": "MARS", "first_year": "2026", "last_year": "2027"})
    assert refused.status_code == 422
    assert "There is no holiday source" in text_of(refused)


async def test_a_promise_is_tried_out_and_explained_day_by_day(site: Site, calendar: UUID) -> None:
    browser = await site.browser("operations")
    page = await browser.get(f"/calendars/{calendar}?start=2026-10-30T16:00&promise=PT4H")
    words = text_of(page)
    assert "Mon 2 Nov 2026 11:00" in words
    assert "Sat 31 Oct 2026 not worked" in words
    wrong = await browser.get(f"/calendars/{calendar}?start=2026-10-30T16:00&promise=soon")
    assert wrong.status_code == 200
    assert "needs a day, a time and a zone" in text_of(wrong)


async def test_the_review_shows_what_moves_and_a_second_person_publishes(site: Site, calendar: UUID) -> None:
    await site.bank.publish([manual("load")])
    async with site.runtime.uow(SYSTEM) as uow:
        await create_run(uow, workflow="W", business_date=DAY)
    maker = await site.browser("admin")
    await site.bank.person("admin2", "admin")
    checker = await site.browser("admin2")
    await maker.post(f"/calendars/{calendar}/draft")
    path, seen = await _version(site)
    await maker.post(f"{path}/change/days", {"first": str(DAY), "label": "Decree", "kind": "holiday"})
    _, seen = await _version(site)
    draft = await maker.get(f"{path}/review")
    assert "Ask for review" in text_of(draft)
    asked = await maker.post(f"{path}/ask", {"row_version": str(seen)})
    assert asked.headers["location"] == f"{path}/review"
    mine = text_of(await maker.get(f"{path}/review"))
    assert "a second person publishes it" in mine
    assert "Publish…" not in mine
    _, seen = await _version(site)
    own = await maker.post(f"{path}/publish", {"row_version": str(seen), "reason": "x"})
    assert own.status_code == 403
    page = await checker.get(f"{path}/review")
    words = text_of(page)
    assert "Load · W-20261030" in words
    assert "+3 d" in words
    assert "Publish…" in words
    nothing = await checker.post(f"{path}/publish", {"row_version": str(seen), "reason": ""})
    assert nothing.status_code == 422
    done = await checker.post(f"{path}/publish", {"row_version": str(seen), "reason": "Decree of the state"})
    assert done.headers["location"] == f"/calendars/{calendar}"
    after = text_of(await checker.get(f"/calendars/{calendar}"))
    assert "Version 2 · In force" in after
    assert "Decree of the state" in after
    due = await site.bank.count("SELECT count(*) FROM process_run WHERE due_at = '2026-11-02T17:00Z'")
    assert due == 1


async def test_a_version_is_sent_back_and_discarded(site: Site, calendar: UUID) -> None:
    maker = await site.browser("admin")
    await site.bank.person("admin2", "admin")
    checker = await site.browser("admin2")
    await maker.post(f"/calendars/{calendar}/draft")
    path, seen = await _version(site)
    await maker.post(f"{path}/ask", {"row_version": str(seen)})
    await checker.post(f"{path}/send-back", {"reason": "Epiphany is missing"})
    page = await maker.get(path)
    assert page.headers["location"] == f"/calendars/{calendar}?version=2"
    assert "Epiphany is missing" in text_of(await maker.get(page.headers["location"]))
    gone = await maker.post(f"{path}/discard")
    assert gone.headers["location"] == f"/calendars/{calendar}"
    assert (await maker.get(f"{path}/review")).status_code == 404


async def test_a_calendar_is_made_of_others_on_its_page(site: Site, calendar: UUID) -> None:
    browser = await site.browser("admin")
    made = await browser.post("/data/calendars/new", {"code": "ALL", "label": "All", "zone": "Europe/Paris"})
    path = made.headers["location"]
    assert path.startswith("/calendars/")
    assert "No version yet" in text_of(await browser.get(path))
    await browser.post(f"{path}/draft")
    version, _ = await _version(site)
    nothing = await browser.post(f"{version}/change/composition", {"composition": "all"})
    assert nothing.status_code == 422
    assert "Choose at least one calendar" in text_of(nothing)
    answer = await browser.post(f"{version}/change/composition", {"composition": "all", "part": str(calendar)})
    page = text_of(await browser.get(answer.headers["location"]))
    assert "It works when all of these do." in page
    assert "all of TARGET" in page


async def test_a_calendar_that_is_not_there_is_not_found(site: Site) -> None:
    browser = await site.browser("admin")
    unknown = "01890000-0000-7000-8000-000000000000"
    version = f"/calendar-versions/{unknown}"
    for path in (f"/calendars/{unknown}", "/calendars/none", version, f"{version}/review"):
        assert (await browser.get(path)).status_code == 404, path
    assert (await browser.post(f"{version}/publish", {"reason": "x"})).status_code == 404
