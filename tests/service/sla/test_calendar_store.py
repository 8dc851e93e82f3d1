"""Calendars in the database: the version in force, drafts, and published versions that never change."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime
from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.domain.calendars.calendars import WorkingCalendar
from app.domain.calendars.drafts import import_holidays
from app.domain.calendars.errors import HolidaysUnavailable, InvalidCalendar
from app.domain.calendars.store import calendar_in_force, calendar_of_id, calendar_of_version
from app.domain.calendars.versions import ask_for_review, discard_draft, publish_version
from app.domain.entities.service import update_record
from tests.factories import SYSTEM, World, add_row
from tests.service.sla.close import statements

GOOD_FRIDAY, LABOUR_DAY = date(2026, 4, 3), date(2026, 5, 1)


@pytest.fixture
async def calendar_id(runtime: Runtime) -> UUID:
    async with runtime.uow(SYSTEM) as uow:
        return await add_row(uow, "calendar", code="TARGET", label="TARGET", zone="Europe/Berlin")


async def _published(runtime: Runtime, *years: int) -> UUID:
    async with runtime.uow(SYSTEM) as uow:
        version = await import_holidays(uow, calendar_code="TARGET", years=years)
        await publish_version(uow, version_id=version)
    return version


@pytest.mark.usefixtures("calendar_id")
async def test_an_import_is_not_in_force_before_it_is_published(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        version = await import_holidays(uow, calendar_code="TARGET", years=[2026])
        with pytest.raises(NotFound, match="publish"):
            await calendar_in_force(uow, "TARGET")
        draft = await calendar_of_version(uow, version)
        assert not draft.is_working_day(GOOD_FRIDAY)
        await publish_version(uow, version_id=version)
        calendar = await calendar_in_force(uow, "TARGET")
    assert (calendar.version, calendar.zone) == (1, "Europe/Berlin")
    assert calendar.add_working_days(date(2026, 4, 2), 1) == date(2026, 4, 7)
    assert not calendar.is_working_day(LABOUR_DAY)


async def test_the_highest_published_version_is_in_force_and_an_import_replaces_its_years_only(
    runtime: Runtime, calendar_id: UUID
) -> None:
    first = await _published(runtime, 2025, 2026)
    async with runtime.uow(SYSTEM) as uow:
        second = await import_holidays(uow, calendar_code="TARGET", years=[2026, 2027])
        await uow.execute(
            text("DELETE FROM calendar_day WHERE parent_id = :id AND day = :day"), {"id": second, "day": LABOUR_DAY}
        )
        assert (await calendar_in_force(uow, "TARGET")).version == 1
        await publish_version(uow, version_id=second)
    async with runtime.uow(SYSTEM) as uow:
        now, before = await calendar_of_id(uow, calendar_id), await calendar_of_version(uow, first)
    assert isinstance(now, WorkingCalendar)
    assert isinstance(before, WorkingCalendar)
    assert now.version == 2
    assert now.is_working_day(LABOUR_DAY)
    assert not before.is_working_day(LABOUR_DAY)
    assert {day for day in now.holidays if day.year == 2025} == {day for day in before.holidays if day.year == 2025}
    assert any(day.year == 2027 for day in now.holidays)


async def test_windows_and_early_closes_are_carried_over(runtime: Runtime, calendar_id: UUID) -> None:
    async with runtime.uow(SYSTEM) as uow:
        windows = {"0": [["08:00", "12:00"], ["13:00", "24:00"]], "1": [["08:00", "12:00"]]}
        first = await add_row(
            uow, "calendar_version", calendar_id=calendar_id, number=1, state="draft", weekly_windows=windows
        )
        await add_row(
            uow, "calendar_day", parent_id=first, position=0, day=date(2026, 12, 21), label="Short day",
            kind="early_close", closes_at=time(11, 0),
        )  # fmt: skip
        await publish_version(uow, version_id=first)
        second = await import_holidays(uow, calendar_code="TARGET", years=[2026])
        calendar = await calendar_of_version(uow, second)
    assert isinstance(calendar, WorkingCalendar)
    assert [str(window) for window in calendar.windows_on(date(2026, 6, 1))] == ["08:00-12:00", "13:00-24:00"]
    assert [str(window) for window in calendar.windows_on(date(2026, 12, 21))] == ["08:00-11:00"]
    assert not calendar.is_working_day(date(2026, 6, 3))


@pytest.mark.usefixtures("calendar_id")
async def test_a_calendar_in_force_is_built_once_and_replaced_when_a_version_is_published(runtime: Runtime) -> None:
    await _published(runtime, 2026)
    async with runtime.uow(SYSTEM) as uow:
        first = await calendar_in_force(uow, "TARGET")
        async with statements(runtime) as sent:
            assert await calendar_in_force(uow, "TARGET") is first
        assert len(sent) == 1
    await _published(runtime, 2027)
    async with runtime.uow(SYSTEM) as uow:
        assert (await calendar_in_force(uow, "TARGET")).version == 2


async def test_a_moved_zone_is_not_answered_from_memory(runtime: Runtime, calendar_id: UUID) -> None:
    await _published(runtime, 2026)
    async with runtime.uow(SYSTEM) as uow:
        await calendar_in_force(uow, "TARGET")
        await uow.execute(text("UPDATE calendar SET zone = 'Europe/London' WHERE id = :id"), {"id": calendar_id})
        assert (await calendar_in_force(uow, "TARGET")).zone == "Europe/London"


async def test_nothing_of_a_published_version_can_be_changed_in_a_form(runtime: Runtime, calendar_id: UUID) -> None:
    version = await _published(runtime, 2026)
    admin = (await World(runtime).build()).actor("admin", application="PLATFORM")
    changes: list[dict[str, object]] = [
        {"weekly_windows": {"0": [["10:00", "11:00"]]}},
        {"notes": "Changed"},
        {"days": []},
        {"state": "draft"},
        {"number": 7},
    ]
    for change in changes:
        with pytest.raises((ValidationFailed, Forbidden)):
            async with runtime.uow(admin) as uow:
                await update_record(uow, "calendar_version", version, change, expected_version=2)
    async with runtime.uow(SYSTEM) as uow:
        calendar = await calendar_of_id(uow, calendar_id)
    assert calendar.version == 1
    assert not calendar.is_working_day(GOOD_FRIDAY)


@pytest.mark.usefixtures("calendar_id")
async def test_a_published_version_is_neither_published_again_nor_discarded(runtime: Runtime) -> None:
    version = await _published(runtime, 2026)
    for command in (publish_version, discard_draft):
        with pytest.raises(Conflict, match="never changes"):
            async with runtime.uow(SYSTEM) as uow:
                await command(uow, version_id=version)


@pytest.mark.usefixtures("calendar_id")
async def test_a_draft_older_than_the_version_in_force_is_not_published(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        old = await import_holidays(uow, calendar_code="TARGET", years=[2026])
    await _published(runtime, 2026)
    with pytest.raises(Conflict, match="later version"):
        async with runtime.uow(SYSTEM) as uow:
            await publish_version(uow, version_id=old)
    async with runtime.uow(SYSTEM) as uow:
        await discard_draft(uow, version_id=old)
        assert await uow.scalar(text("SELECT count(*) FROM calendar_version")) == 1


@pytest.mark.usefixtures("calendar_id")
async def test_publishing_what_was_changed_after_the_review_is_refused(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        version = await import_holidays(uow, calendar_code="TARGET", years=[2026])
        await update_record(uow, "calendar_version", version, {"notes": "Two days added"}, expected_version=1)
        with pytest.raises(StaleVersion):
            await publish_version(uow, version_id=version, expected_version=1)


async def test_a_draft_that_contradicts_itself_is_not_published(runtime: Runtime, calendar_id: UUID) -> None:
    for windows in ({"0": [["18:00", "09:00"]]}, {}, {"monday": [["09:00", "18:00"]]}, ["09:00"]):
        async with runtime.uow(SYSTEM) as uow:
            version = await add_row(
                uow, "calendar_version", calendar_id=calendar_id, number=1, state="draft", weekly_windows=windows
            )
            with pytest.raises(InvalidCalendar):
                await publish_version(uow, version_id=version)
            await discard_draft(uow, version_id=version)


@pytest.mark.usefixtures("calendar_id")
async def test_an_import_says_what_is_wrong_with_it(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        with pytest.raises(NotFound, match="MOON"):
            await import_holidays(uow, calendar_code="MOON", source="TARGET", years=[2026])
        with pytest.raises(HolidaysUnavailable, match="choose one of"):
            await import_holidays(uow, calendar_code="TARGET", source="MARS", years=[2026])
        with pytest.raises(HolidaysUnavailable, match="1900"):
            await import_holidays(uow, calendar_code="TARGET", years=[1900])
        with pytest.raises(ValidationFailed, match="year"):
            await import_holidays(uow, calendar_code="TARGET", years=[])


@pytest.mark.usefixtures("calendar_id")
async def test_only_administrators_import_and_publish(runtime: Runtime) -> None:
    world = await World(runtime).build()
    version = await _published(runtime, 2026)
    for role in ("preparer", "auditor"):
        with pytest.raises(Forbidden):
            async with runtime.uow(world.actor(role)) as uow:
                await import_holidays(uow, calendar_code="TARGET", years=[2027])
        with pytest.raises(Forbidden):
            async with runtime.uow(world.actor(role)) as uow:
                await publish_version(uow, version_id=version)
    admin = replace(world.actor("admin", application="PLATFORM"), id=await world.user("admin@bank.example"))
    other = replace(world.actor("admin", application="PLATFORM"), id=await world.user("other@bank.example"))
    async with runtime.uow(admin) as uow:
        draft = await import_holidays(uow, calendar_code="TARGET", years=[2027])
        await ask_for_review(uow, version_id=draft)
    async with runtime.uow(other) as uow:
        await publish_version(uow, version_id=draft, reason="The holidays of 2027")
    audit = "SELECT command FROM audit_entry WHERE record_id = :id ORDER BY sequence"
    async with runtime.uow(SYSTEM) as uow:
        written = list((await uow.execute(text(audit), {"id": draft})).scalars())
    assert written == [
        "calendar_version.import_holidays",
        "calendar_version.ask_for_review",
        "calendar_version.publish",
    ]


@pytest.mark.usefixtures("calendar_id")
async def test_a_deadline_computed_from_the_store_skips_the_holiday(runtime: Runtime) -> None:
    await _published(runtime, 2026)
    async with runtime.uow(SYSTEM) as uow:
        calendar = await calendar_in_force(uow, "TARGET")
    friday_evening = datetime.fromisoformat("2026-04-02T17:30:00+02:00")
    due = calendar.add_working_time(friday_evening, timedelta(hours=1))
    assert due == datetime.fromisoformat("2026-04-07T09:30:00+02:00")
