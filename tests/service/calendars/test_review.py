"""Drafts of calendars are changed by hand, and looked through and published by somebody who wrote none of it."""

from datetime import date, time
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.errors import Conflict, Forbidden, StaleVersion, ValidationFailed
from app.domain.calendars import drafts
from app.domain.calendars.contents import differences, read_content
from app.domain.calendars.store import calendar_in_force, calendar_of_version
from app.domain.calendars.versions import ask_for_review, discard_draft, publish_version, send_back
from app.domain.calendars.week_text import parse_week
from tests.factories import SYSTEM, World, add_row

CHRISTMAS_EVE = date(2026, 12, 24)


class Office:
    """A calendar whose first version is in force, and two administrators."""

    def __init__(self, runtime: Runtime, maker: Actor, checker: Actor, calendar_id: UUID) -> None:
        self.runtime, self.maker, self.checker, self.calendar_id = runtime, maker, checker, calendar_id

    async def draft(self, who: Actor | None = None) -> UUID:
        async with self.runtime.uow(who or self.maker) as uow:
            return await drafts.new_draft(uow, calendar_id=self.calendar_id)

    async def ask(self, version: UUID) -> None:
        async with self.runtime.uow(self.maker) as uow:
            await ask_for_review(uow, version_id=version)

    async def publish(self, version: UUID, who: Actor, reason: str = "New hours") -> None:
        async with self.runtime.uow(who) as uow:
            await publish_version(uow, version_id=version, reason=reason)

    async def state(self, version: UUID) -> str:
        async with self.runtime.uow(SYSTEM) as uow:
            return str(await uow.scalar(text("SELECT state FROM calendar_version WHERE id = :id"), {"id": version}))


@pytest.fixture
async def office(runtime: Runtime) -> Office:
    world = await World(runtime).build()
    maker = await world.stored_actor("admin", application="PLATFORM")
    checker = await world.stored_actor("admin", application="PLATFORM")
    async with runtime.uow(SYSTEM) as uow:
        calendar = await add_row(uow, "calendar", code="TARGET", label="TARGET", zone="Europe/Berlin")
        version = await drafts.import_holidays(uow, calendar_code="TARGET", years=[2026])
        await publish_version(uow, version_id=version)
    return Office(runtime, maker, checker, calendar)


async def test_whoever_wrote_any_of_a_version_does_not_publish_it(office: Office) -> None:
    version = await office.draft()
    with pytest.raises(Conflict, match="ask for its review"):
        await office.publish(version, office.checker)
    await office.ask(version)
    with pytest.raises(Forbidden, match="second person"):
        await office.publish(version, office.maker)
    with pytest.raises(ValidationFailed, match="why"):
        await office.publish(version, office.checker, " ")
    await office.publish(version, office.checker)
    async with office.runtime.uow(SYSTEM) as uow:
        row = (await uow.execute(text("SELECT * FROM calendar_version WHERE id = :id"), {"id": version})).one()
        entry = await uow.scalar(
            text("SELECT reason FROM audit_entry WHERE record_id = :id AND command = 'calendar_version.publish'"),
            {"id": version},
        )
    assert (row.state, row.published_by_id, row.submitted_by_id) == ("published", office.checker.id, office.maker.id)
    assert row.reason == entry == "New hours"


async def test_somebody_who_changed_one_day_has_written_it_too(office: Office) -> None:
    version = await office.draft()
    async with office.runtime.uow(office.checker) as uow:
        await drafts.add_days(uow, version_id=version, first=CHRISTMAS_EVE, kind="holiday", label="Christmas Eve")
    await office.ask(version)
    with pytest.raises(Forbidden):
        await office.publish(version, office.checker)


async def test_what_is_reviewed_stands_still_until_it_is_sent_back_with_a_reason(office: Office) -> None:
    version = await office.draft()
    await office.ask(version)
    with pytest.raises(Conflict, match="stands still"):
        async with office.runtime.uow(office.maker) as uow:
            await drafts.add_days(uow, version_id=version, first=CHRISTMAS_EVE, kind="holiday", label="Christmas Eve")
    with pytest.raises(ValidationFailed):
        async with office.runtime.uow(office.checker) as uow:
            await send_back(uow, version_id=version, reason="")
    async with office.runtime.uow(office.checker) as uow:
        await send_back(uow, version_id=version, reason="Christmas Eve is missing")
    assert await office.state(version) == "draft"
    async with office.runtime.uow(office.maker) as uow:
        await drafts.add_days(uow, version_id=version, first=CHRISTMAS_EVE, kind="holiday", label="Christmas Eve")
        note = await uow.scalar(text("SELECT review_note FROM calendar_version WHERE id = :id"), {"id": version})
    assert note is None
    await office.ask(version)
    await office.publish(version, office.checker)  # to look and to send back is not to write
    async with office.runtime.uow(SYSTEM) as uow:
        assert not (await calendar_in_force(uow, "TARGET")).is_working_day(CHRISTMAS_EVE)


async def test_a_calendar_has_one_unpublished_version_that_people_begin(office: Office) -> None:
    version = await office.draft()
    with pytest.raises(Conflict, match="Version 2"):
        await office.draft(office.checker)
    async with office.runtime.uow(office.maker) as uow:
        await discard_draft(uow, version_id=version)
    assert await office.draft() != version


async def test_days_of_every_kind_are_entered_replaced_and_taken_out(office: Office) -> None:
    version = await office.draft()
    saturday = date(2026, 12, 19)
    async with office.runtime.uow(office.maker) as uow:
        entered = await drafts.add_days(
            uow, version_id=version, first=date(2026, 12, 28), last=date(2026, 12, 30), kind="early_close",
            label="Between the years", closes_at=time(13, 0), opens_at=time(7, 0),
        )  # fmt: skip
        await drafts.add_days(
            uow, version_id=version, first=saturday, kind="special_hours", label="Migration",
            opens_at=time(8, 0), closes_at=time(0, 0),
        )  # fmt: skip
        await drafts.add_days(
            uow, version_id=version, first=date(2026, 12, 29), kind="late_open", label="Stocktaking",
            opens_at=time(11, 0),
        )  # fmt: skip
        calendar = await calendar_of_version(uow, version)
    assert entered == 3
    assert [str(window) for window in calendar.windows_on(saturday)] == ["08:00-24:00"]  # type: ignore[attr-defined]
    assert calendar.is_working_day(saturday)
    assert [str(window) for window in calendar.windows_on(date(2026, 12, 28))] == ["09:00-13:00"]  # type: ignore[attr-defined]
    assert [str(window) for window in calendar.windows_on(date(2026, 12, 29))] == ["11:00-18:00"]  # type: ignore[attr-defined]
    async with office.runtime.uow(office.maker) as uow:
        assert await drafts.remove_days(uow, version_id=version, days=[saturday, date(2026, 12, 20)]) == 1
        assert not (await calendar_of_version(uow, version)).is_working_day(saturday)
        positions = (
            await uow.execute(
                text("SELECT position FROM calendar_day WHERE parent_id = :id ORDER BY day"), {"id": version}
            )
        ).scalars()
        assert list(positions) == list(range(9))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kind": "early_close"}, "closes_at"),
        ({"kind": "late_open"}, "opens_at"),
        ({"kind": "special_hours", "opens_at": time(9, 0)}, "closes_at"),
        ({"kind": "special_hours", "opens_at": time(9, 0), "closes_at": time(8, 0)}, "closes_at"),
        ({"kind": "feast"}, "kind"),
        ({"kind": "holiday", "label": " "}, "label"),
        ({"kind": "holiday", "last": date(2026, 12, 1)}, "last"),
        ({"kind": "holiday", "last": date(2028, 12, 1)}, "last"),
        ({"kind": "holiday", "first": date(1900, 1, 1)}, "first"),
    ],
)
async def test_days_that_do_not_fit_are_refused_at_their_field(
    office: Office, given: dict[str, object], field: str
) -> None:
    version = await office.draft()
    values = {"first": CHRISTMAS_EVE, "label": "Christmas Eve", **given}
    async with office.runtime.uow(office.maker) as uow:
        with pytest.raises(ValidationFailed) as refused:
            await drafts.add_days(uow, version_id=version, **values)  # type: ignore[arg-type]
    assert field in [problem.path for problem in refused.value.problems]


async def test_a_change_of_what_somebody_else_has_changed_since_is_refused(office: Office) -> None:
    version = await office.draft()
    week = parse_week({0: "08:00-12:00, 13:00-17:00"})
    async with office.runtime.uow(office.maker) as uow:
        await drafts.set_week(uow, version_id=version, week=week, expected_version=1)
    for change in (
        lambda uow: drafts.set_week(uow, version_id=version, week=week, expected_version=1),
        lambda uow: drafts.import_into(uow, version_id=version, source="DE", years=[2026], expected_version=1),
        lambda uow: ask_for_review(uow, version_id=version, expected_version=1),
    ):
        with pytest.raises(StaleVersion):
            async with office.runtime.uow(office.checker) as uow:
                await change(uow)


async def test_an_import_into_a_draft_says_what_differs_from_the_version_in_force(office: Office) -> None:
    version = await office.draft()
    async with office.runtime.uow(office.maker) as uow:
        number = await drafts.import_into(uow, version_id=version, source="DE", years=[2026])
        first = await uow.scalar(text("SELECT id FROM calendar_version WHERE number = 1"))
        found = differences(await read_content(uow, first), await read_content(uow, version))
    assert number == 9
    added = [(each.what, each.after) for each in found if each.kind == "add"]
    assert ("Thu 14 May 2026", "Ascension Day (holiday)") in added
    assert {each.what for each in found if each.kind == "ret"} == set()
    assert all(each.day is not None and each.day.year == 2026 for each in found)
