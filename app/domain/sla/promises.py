"""What the target of a policy comes to for one record: so much time, or an instant."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from app.domain.calendars.calendars import FULL_DAY, Calendar, WorkingCalendar
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.errors import InvalidDeadline
from app.domain.sla.deciding import Promise
from models.sla import BUSINESS_DATE, PolicyDef, TargetDef

# Where a policy names no calendar, every hour of every day counts.
ALWAYS = WorkingCalendar(code="24x7", version=1, zone="UTC", week=dict.fromkeys(range(7), (FULL_DAY,)))


def promise_of(
    definition: PolicyDef, target: TargetDef, record: Mapping[str, Any], *, calendar: Calendar, business_date: date
) -> Promise | None:
    """What is promised; None where the record lacks the date that the deadline counts from.

    Raises:
        InvalidDeadline, OutsideCalendarRange: the formula cannot be used on this record.
    """
    if target.within is not None:
        return Promise(within=target.within)
    base = base_date_of(definition, record, calendar=calendar, business_date=business_date)
    if base is None:
        return None
    formula = formula_of(definition, target, record, calendar=calendar)
    return Promise(due_at=parse_deadline(formula).resolve(base, calendar), formula=formula, base_date=base)


def base_date_of(
    definition: PolicyDef, record: Mapping[str, Any], *, calendar: Calendar, business_date: date
) -> date | None:
    """The date that the deadline counts from; the day of an instant is that of the calendar's zone."""
    if definition.base_date == BUSINESS_DATE:
        return business_date
    value = record.get(definition.base_date)
    return calendar.local_date(value) if isinstance(value, datetime) else value


def formula_of(definition: PolicyDef, target: TargetDef, record: Mapping[str, Any], *, calendar: Calendar) -> str:
    """The formula with its zone: its own, the calendar's, or the one that a field of the record names."""
    formula = target.by or ""
    if len(formula.split()) != 2:
        return formula
    if definition.zone == "calendar":
        return f"{formula} {calendar.zone}"
    zone = record.get(definition.zone) if definition.zone else None
    if not zone:
        raise InvalidDeadline(f"The deadline {formula!r} names no zone, and the record has none either.")
    return f"{formula} {zone}"
