"""Schedules in the database, read: rows as checked rules, expressions as calendars."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Calendar, Roll, WorkingCalendar
from app.domain.calendars.store import calendar_in_force, calendar_of_id
from app.domain.calendars.wall_time import zone_info
from app.domain.schedules.calendar_expression import FIELD, Expression, codes_of, combine, parse_calendars
from app.domain.schedules.catching_up import CatchUp
from app.domain.schedules.errors import InvalidRecurrence
from app.domain.schedules.periods import RETAIL, PeriodKind, RetailPattern, RetailRule, RetailYears, Weekday
from app.domain.schedules.recurrence import (
    Anchor,
    BusinessDateRule,
    Recurrence,
    Unit,
    parse_offset,
)
from app.domain.schedules.wording import day_text

MAX_VARIANT = 32
TIME = "{time}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A row with its rule; the variant may hold `{time}`."""

    id: UUID
    code: str
    workflow_id: UUID
    node_id: UUID | None
    variant: str
    rule: Recurrence
    calendars: Expression | None
    catch_up: CatchUp
    grace: timedelta
    active: bool
    next_due_at: datetime | None
    handled_until: datetime | None

    def variant_at(self, due_at: datetime) -> str:
        return self.variant.replace(TIME, f"{due_at.astimezone(zone_info(self.rule.zone)):%H%M}")


def schedule_of(row: Mapping[str, Any]) -> Schedule:
    """Read a row of the table. Raises InvalidRecurrence."""
    return Schedule(
        id=row["id"],
        code=row["code"],
        workflow_id=row["workflow_id"],
        node_id=row["node_id"],
        variant=variant_of(row.get("variant")),
        rule=rule_of(row),
        calendars=expression_of(row.get("calendars")),
        catch_up=CatchUp(row["catch_up"]),
        grace=timedelta(minutes=row["grace_minutes"]),
        active=row["active"],
        next_due_at=row["next_due_at"],
        handled_until=row["handled_until"],
    )


def rule_of(values: Mapping[str, Any]) -> Recurrence:
    """The rule of a schedule's values by field name; what is not given has its default.

    Raises:
        InvalidRecurrence: a part is missing or wrong; `field` names it.
    """
    period = PeriodKind(values.get("period") or PeriodKind.DAILY)
    return Recurrence(
        period=period,
        zone=values.get("zone") or "Europe/Berlin",
        at=values.get("at") if period is not PeriodKind.CRON else None,
        every=values.get("every") or 1,
        weekdays=frozenset(Weekday(day) for day in values.get("weekdays") or ())
        if period is PeriodKind.WEEKLY
        else frozenset(),
        cron=values.get("cron") if period is PeriodKind.CRON else None,
        year_begins=values.get("year_begins") or 1,
        retail=_retail(values) if period in RETAIL else None,
        anchor=Anchor(values.get("anchor") or Anchor.END),
        offset=parse_offset(values.get("offset") or "0"),
        roll=Roll(values.get("roll") or Roll.FOLLOWING),
        business_date=BusinessDateRule(values.get("business_date_rule") or BusinessDateRule.OCCURRENCE),
        advance=values.get("advance") or 0,
        advance_unit=Unit(values.get("advance_unit") or Unit.CALENDAR),
        valid_from=values.get("valid_from"),
        valid_until=values.get("valid_until"),
        by_time=TIME in (values.get("variant") or ""),
    )


def _retail(values: Mapping[str, Any]) -> RetailYears:
    for name in ("retail_pattern", "retail_year_start", "retail_rule"):
        if not values.get(name):
            raise InvalidRecurrence(name, "A 4-4-5 calendar needs this.")
    return RetailYears.from_start(
        RetailPattern(values["retail_pattern"]), RetailRule(values["retail_rule"]), values["retail_year_start"]
    )


def variant_of(text: str | None) -> str:
    """A variant with or without `{time}`. Raises InvalidRecurrence."""
    text = (text or "").strip()
    tried = text.replace(TIME, "0000")
    if len(tried) > MAX_VARIANT or not all(letter.isalnum() or letter in "-_" for letter in tried):
        raise InvalidRecurrence("variant", f"At most {MAX_VARIANT} letters, digits, - and _, and {TIME} where wanted.")
    return text


def expression_of(text: str | None) -> Expression | None:
    """None where it is empty: the calendar of the workflow counts."""
    return parse_calendars(text) if text and text.strip() else None


async def calendar_for(uow: UnitOfWork, expression: Expression | None, workflow_id: UUID) -> Calendar:
    """The calendar that an expression stands for, or that of the workflow.

    Raises:
        InvalidRecurrence: a calendar is not there or not published; the message names it and those there are.
    """
    if expression is None:
        workflows = uow.table("workflow")
        calendar_id = await uow.scalar(select(workflows.c.calendar_id).where(workflows.c.id == workflow_id))
        try:
            return await calendar_of_id(uow, calendar_id)
        except NotFound as error:
            why = f"Name a calendar: that of the workflow cannot be used. {error.detail}"
            raise InvalidRecurrence(FIELD, why) from None
    found: dict[str, Calendar] = {}
    for code in codes_of(expression):
        try:
            found[code] = await calendar_in_force(uow, code)
        except NotFound:
            known = await _known(uow)
            raise InvalidRecurrence(
                FIELD, f"There is no published calendar {code}; there are {known or 'none yet'}."
            ) from None
    return combine(expression, found)


async def _known(uow: UnitOfWork) -> str:
    calendars, versions = uow.table("calendar"), uow.table("calendar_version")
    published = select(versions.c.calendar_id).where(versions.c.state == "published")
    rows = await uow.execute(
        select(calendars.c.code).where(calendars.c.id.in_(published)).order_by(calendars.c.code).limit(20)
    )
    return ", ".join(row.code for row in rows)


def holidays_end(calendar: Calendar) -> dict[str, date | None]:
    """Of each place in the calendar the last holiday that it lists; None where it lists none."""
    if isinstance(calendar, WorkingCalendar):
        return {calendar.code: max(calendar.holidays, default=None)}
    found: dict[str, date | None] = {}
    for part in getattr(calendar, "parts", ()):
        found |= holidays_end(part)
    return found


def warnings_of(calendar: Calendar, until: date) -> list[str]:
    """What makes far dates doubtful: holidays are entered for some years only."""
    return [
        f"{code} lists no holidays after {day_text(last)}; dates beyond that year are provisional."
        if last is not None
        else f"{code} lists no holidays at all."
        for code, last in holidays_end(calendar).items()
        if last is None or last.year < until.year
    ]
