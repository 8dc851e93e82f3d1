"""Calendars that are made of others follow them: their versions are found when somebody asks, never before."""

from datetime import date
from uuid import UUID

import pytest

from app.bootstrap import Runtime
from app.core.errors import Conflict, ValidationFailed
from app.domain.calendars import drafts
from app.domain.calendars.calendars import Combination
from app.domain.calendars.contents import read_content
from app.domain.calendars.errors import InvalidCalendar
from app.domain.calendars.queries import named_days, uses_of
from app.domain.calendars.store import calendar_in_force, calendar_of_id, calendars_built_on
from app.domain.calendars.versions import publish_version
from app.domain.calendars.week_text import parse_week
from tests.factories import SYSTEM, add_row
from tests.service.sla.close import statements

MAY_DAY, SPRING = date(2026, 5, 1), date(2026, 5, 25)  # closed in TARGET only, in London only


@pytest.fixture
async def places(runtime: Runtime) -> dict[str, UUID]:
    """TARGET and LONDON with the holidays of 2026, and BOTH without a version."""
    found = {}
    async with runtime.uow(SYSTEM) as uow:
        for code, zone in (("TARGET", "Europe/Berlin"), ("LONDON", "Europe/London"), ("BOTH", "Europe/Paris")):
            found[code] = await add_row(uow, "calendar", code=code, label=code.title(), zone=zone)
        for code in ("TARGET", "LONDON"):
            version = await drafts.import_holidays(uow, calendar_code=code, years=[2026])
            await publish_version(uow, version_id=version)
    return found


async def _compose(runtime: Runtime, calendar: UUID, combination: Combination, *parts: UUID) -> UUID:
    async with runtime.uow(SYSTEM) as uow:
        version = await drafts.new_draft(uow, calendar_id=calendar)
        await drafts.compose(uow, version_id=version, composition=combination, parts=parts)
        await publish_version(uow, version_id=version)
    return version


async def test_all_of_works_when_each_does_and_any_of_when_one_does(runtime: Runtime, places: dict[str, UUID]) -> None:
    parts = places["TARGET"], places["LONDON"]
    await _compose(runtime, places["BOTH"], Combination.ALL, *parts)
    async with runtime.uow(SYSTEM) as uow:
        both = await calendar_in_force(uow, "BOTH")
    assert (both.code, both.zone, both.version) == ("BOTH", "Europe/Paris", 1)
    assert [both.is_working_day(day) for day in (MAY_DAY, SPRING, date(2026, 5, 4))] == [False, False, False]
    assert both.is_working_day(date(2026, 5, 5))
    await _compose(runtime, places["BOTH"], Combination.ANY, *parts)
    async with runtime.uow(SYSTEM) as uow:
        either = await calendar_in_force(uow, "BOTH")
    assert [either.is_working_day(day) for day in (MAY_DAY, SPRING, date(2026, 12, 25))] == [True, True, False]
    assert either.version == 2


async def test_a_new_version_of_a_part_is_seen_at_once_and_an_old_one_can_be_asked_for(
    runtime: Runtime, places: dict[str, UUID]
) -> None:
    await _compose(runtime, places["BOTH"], Combination.ALL, places["TARGET"], places["LONDON"])
    async with runtime.uow(SYSTEM) as uow:
        draft = await drafts.new_draft(uow, calendar_id=places["TARGET"])
        await drafts.add_days(uow, version_id=draft, first=date(2026, 5, 6), kind="holiday", label="Move")
        with_draft = await calendar_of_id(uow, places["BOTH"], instead={places["TARGET"]: draft})
        assert not with_draft.is_working_day(date(2026, 5, 6))
        assert (await calendar_in_force(uow, "BOTH")).is_working_day(date(2026, 5, 6))
        await publish_version(uow, version_id=draft)
        assert not (await calendar_in_force(uow, "BOTH")).is_working_day(date(2026, 5, 6))


async def test_a_composed_calendar_that_is_known_costs_one_look_for_each_part(
    runtime: Runtime, places: dict[str, UUID]
) -> None:
    await _compose(runtime, places["BOTH"], Combination.ALL, places["TARGET"], places["LONDON"])
    async with runtime.uow(SYSTEM) as uow:
        first = await calendar_in_force(uow, "BOTH")
        async with statements(runtime) as sent:
            assert await calendar_in_force(uow, "BOTH") is first
        assert len(sent) == 4  # the calendar, what it is made of, and each part


async def test_no_calendar_is_made_of_itself_however_deep(runtime: Runtime, places: dict[str, UUID]) -> None:
    both, target = places["BOTH"], places["TARGET"]
    await _compose(runtime, both, Combination.ALL, target, places["LONDON"])
    async with runtime.uow(SYSTEM) as uow:
        own = await drafts.new_draft(uow, calendar_id=both)
        with pytest.raises(ValidationFailed, match="itself"):
            await drafts.compose(uow, version_id=own, composition=Combination.ANY, parts=[both])
    async with runtime.uow(SYSTEM) as uow:
        ring = await drafts.new_draft(uow, calendar_id=target)
        await drafts.compose(uow, version_id=ring, composition=Combination.ALL, parts=[both])
        with pytest.raises(InvalidCalendar, match="TARGET of BOTH of TARGET"):
            await publish_version(uow, version_id=ring)


async def test_what_never_works_or_is_made_of_nothing_is_not_published(
    runtime: Runtime, places: dict[str, UUID]
) -> None:
    async with runtime.uow(SYSTEM) as uow:
        weekend = await add_row(uow, "calendar", code="WEEKEND", label="Weekend", zone="UTC")
        version = await drafts.new_draft(uow, calendar_id=weekend)
        await drafts.set_week(uow, version_id=version, week=parse_week({5: "09:00-18:00", 6: "09:00-18:00"}))
        await publish_version(uow, version_id=version)
        draft = await drafts.new_draft(uow, calendar_id=places["BOTH"])
        with pytest.raises(ValidationFailed, match="at least one"):
            await drafts.compose(uow, version_id=draft, composition=Combination.ALL)
        await drafts.compose(uow, version_id=draft, composition=Combination.ALL, parts=[weekend, places["TARGET"]])
        with pytest.raises(InvalidCalendar, match="no day on which all"):
            await publish_version(uow, version_id=draft)
        with pytest.raises(Conflict, match="composed of others"):
            await drafts.add_days(uow, version_id=draft, first=MAY_DAY, kind="holiday", label="May Day")
        await drafts.compose(uow, version_id=draft, composition=None)
        assert await drafts.add_days(uow, version_id=draft, first=MAY_DAY, kind="holiday", label="May Day") == 1


async def test_it_is_known_what_is_made_of_a_calendar_and_where_each_holiday_comes_from(
    runtime: Runtime, places: dict[str, UUID]
) -> None:
    version = await _compose(runtime, places["BOTH"], Combination.ALL, places["TARGET"], places["LONDON"])
    async with runtime.uow(SYSTEM) as uow:
        assert await calendars_built_on(uow, places["LONDON"]) == {places["LONDON"], places["BOTH"]}
        assert await calendars_built_on(uow, places["BOTH"]) == {places["BOTH"]}
        named = await named_days(uow, await read_content(uow, version))
        uses = await uses_of(uow, places["LONDON"], "LONDON")
    assert [(code, day.label) for code, day in named[MAY_DAY]] == [("TARGET", "Labour Day")]
    assert sorted(code for code, _ in named[date(2026, 12, 25)]) == ["LONDON", "TARGET"]
    assert [(use.entity, use.records) for use in uses] == [("calendar", ((places["BOTH"], "Both"),))]
