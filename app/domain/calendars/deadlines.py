"""Deadline formulas: `BD+2 12:00 Europe/London`, `WD+3 18:00 Europe/London`.

`BD+n` is n working days after the business date; `BD+0` is the business date itself, or the next working day where it
is not one. `WD+n` is the n-th working day after the period end, `WD-1` the last working day on or before it.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from app.domain.calendars.calendars import Calendar
from app.domain.calendars.errors import InvalidDeadline, UnknownZone
from app.domain.calendars.wall_time import Occurrence, wall_to_utc, zone_info

EXAMPLE = "BD+0 18:00 Europe/Berlin"
MAX_LENGTH = 100
MAX_OFFSET = 999
_DAY_PART = re.compile(r"(BD|WD)([+-]?[0-9]+)?", re.IGNORECASE | re.ASCII)
_TIME_PART = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


class Anchor(StrEnum):
    """What the working days of a formula are counted from."""

    BUSINESS_DATE = "BD"
    PERIOD_END = "WD"


@dataclass(frozen=True, slots=True)
class DeadlineFormula:
    """A day counted in working days, and a wall time in a zone on that day."""

    anchor: Anchor
    offset: int
    at: time
    zone: str

    def __post_init__(self) -> None:
        if abs(self.offset) > MAX_OFFSET:
            raise InvalidDeadline(f"A deadline is at most {MAX_OFFSET} working days away.")
        if self.anchor is Anchor.PERIOD_END and self.offset == 0:
            raise InvalidDeadline(
                "There is no WD+0: WD+1 is the first working day after the period end, WD-1 the last on or before it."
            )
        zone_info(self.zone)

    def __str__(self) -> str:
        return f"{self.anchor}{self.offset:+d} {self.at:%H:%M} {self.zone}"

    def day(self, business_date: date, calendar: Calendar, *, period_end: date | None = None) -> date:
        """Return the local date of the deadline; the period ends with the business date's month unless given."""
        if self.anchor is Anchor.BUSINESS_DATE:
            return calendar.add_working_days(business_date, self.offset)
        if period_end is None:
            period_end = business_date.replace(day=monthrange(business_date.year, business_date.month)[1])
        if self.offset > 0:
            return calendar.add_working_days(period_end, self.offset)
        return calendar.add_working_days(period_end + timedelta(days=1), self.offset)

    def resolve(self, business_date: date, calendar: Calendar, *, period_end: date | None = None) -> datetime:
        """Return the deadline as an instant in UTC.

        A wall time that daylight saving skips gives the first valid instant after it; one that it repeats, the second.
        """
        day = self.day(business_date, calendar, period_end=period_end)
        return wall_to_utc(day, self.at, zone_info(self.zone), occurrence=Occurrence.SECOND)

    def describe(self) -> str:
        """Return the formula in words."""
        return f"{self.at:%H:%M} {self.zone} on {self._day_in_words()}"

    def _day_in_words(self) -> str:
        count = abs(self.offset)
        if self.anchor is Anchor.BUSINESS_DATE:
            if self.offset == 0:
                return "the business date"
            days = "working day" if count == 1 else "working days"
            return f"the date {count} {days} {'after' if self.offset > 0 else 'before'} the business date"
        if self.offset > 0:
            return f"the {_ordinal(count)} working day after the period end"
        return f"the {'' if count == 1 else _ordinal(count) + ' '}last working day on or before the period end"


def parse_deadline(text: str) -> DeadlineFormula:
    """Read a formula such as `BD+0 18:00 Europe/Berlin`; `str` of the result is its canonical text.

    Raises:
        InvalidDeadline: the text is not a formula; the message says which part to change.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidDeadline(f"A deadline is at most {MAX_LENGTH} characters long: for example {EXAMPLE}.")
    parts = text.split()
    if len(parts) != 3:
        raise InvalidDeadline(f"The deadline {text!r} needs a day, a time and a zone: for example {EXAMPLE}.")
    day, clock, zone = parts
    day_match = _DAY_PART.fullmatch(day)
    if day_match is None:
        raise InvalidDeadline(
            f"The deadline {text!r} has no day that we know: write BD+n (working days after the business date) or WD+n "
            f"(working day after the period end) instead of {day!r}."
        )
    anchor, offset = Anchor(day_match[1].upper()), day_match[2]
    if offset is None:
        raise InvalidDeadline(f"The deadline {text!r} does not say which day: write {anchor}+1 instead of {day}.")
    time_match = _TIME_PART.fullmatch(clock)
    if time_match is None:
        raise InvalidDeadline(f"The deadline {text!r} has no valid time: write 00:00 to 23:59 instead of {clock!r}.")
    try:
        return DeadlineFormula(
            anchor=anchor,
            offset=int(offset),
            at=time(int(time_match[1]), int(time_match[2])),
            zone=zone,
        )
    except (InvalidDeadline, UnknownZone) as error:
        raise InvalidDeadline(f"The deadline {text!r} cannot be used. {error}") from error


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
