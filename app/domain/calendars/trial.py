"""What a calendar makes of a start and a promise, with every day on the way: so that people can try it out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from app.domain.calendars.calendar_index import from_micros
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.deadlines import Anchor, parse_deadline
from app.domain.calendars.errors import InvalidDeadline
from app.domain.calendars.wall_time import Occurrence, wall_to_utc, zone_info

EXAMPLES = ("PT4H", "PT1H30M", "3 days", "WD+3 18:00", "BD+1 12:00")
MOST_STEPS = 40
_TIME = re.compile(r"(-)?PT(?:(\d{1,5})H)?(?:(\d{1,6})M)?", re.ASCII)
_DAYS = re.compile(r"([+-]?\d{1,3})\s*(?:working\s+)?days?", re.IGNORECASE | re.ASCII)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Step:
    """One day on the way: what counted of it, or why nothing did."""

    day: date
    text: str
    counts: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """`words` says how it was understood; `more` steps are not listed."""

    words: str
    due_at: datetime
    steps: tuple[Step, ...]
    more: int = 0


def try_out(calendar: Calendar, start: datetime, promise: str, *, names: Mapping[date, str] | None = None) -> Answer:
    """Work a promise out from a start: `PT4H` of working time, `3 days`, or a formula such as `WD+3 18:00`.

    A formula counts from the start's date in the calendar's zone, and has that zone unless it names one.

    Raises:
        InvalidDeadline: the promise cannot be read. OutsideCalendarRange: it lies too far away.
    """
    text, names = " ".join(promise.split()), names or {}
    hours = _TIME.fullmatch(text.upper())
    if hours is not None and (hours[2] or hours[3]):
        amount = timedelta(hours=int(hours[2] or 0), minutes=int(hours[3] or 0))
        return _time(calendar, start, -amount if hours[1] else amount, names)
    zone = zone_info(calendar.zone)
    begins = calendar.local_date(start)
    days = _DAYS.fullmatch(text)
    if days is not None:
        count = int(days[1])
        day = calendar.add_working_days(begins, count)
        at = start.astimezone(zone).time()
        due = wall_to_utc(day, at, zone, occurrence=Occurrence.SECOND)
        words = f"{count} working {'day' if abs(count) == 1 else 'days'}, at the same local time"
        return _answer(words, due, _counted(calendar, begins, day, names))
    if len(text.split()) == 2:
        text = f"{text} {calendar.zone}"
    try:
        formula = parse_deadline(text)
    except InvalidDeadline as error:
        raise InvalidDeadline(f"{error.detail} Working time is written PT4H, working days 3 days.") from error
    day = formula.day(begins, calendar)
    due = formula.resolve(begins, calendar)
    since = begins if formula.anchor is Anchor.BUSINESS_DATE else _end_of_month(begins)
    return _answer(formula.describe(), due, _counted(calendar, since, day, names))


def _time(calendar: Calendar, start: datetime, amount: timedelta, names: Mapping[date, str]) -> Answer:
    due = calendar.add_working_time(start, amount)
    zone = zone_info(calendar.zone)
    first, last = sorted((start, due))
    begins, ends = first.astimezone(zone).date(), last.astimezone(zone).date()
    worked: dict[date, timedelta] = {}
    for opened, closed in calendar.open_periods(first.astimezone(UTC).year, last.astimezone(UTC).year):
        since, until = max(from_micros(opened), first), min(from_micros(closed), last)
        # A window over local midnight is told on the day it begins.
        if since < until:
            day = since.astimezone(zone).date()
            worked[day] = worked.get(day, timedelta()) + (until - since)
    steps = []
    for number in range((ends - begins).days + 1):
        day = begins + number * _DAY
        if day in worked:
            steps.append(Step(day, _hours(worked[day]), True))
        else:
            steps.append(Step(day, _why_not(calendar, day, names) or "no working time left", False))
    return _answer(f"{_hours(abs(amount))} of working time", due, steps)


def _counted(calendar: Calendar, begins: date, day: date, names: Mapping[date, str]) -> list[Step]:
    steps, count = [Step(begins, "counted from here", False)], 0
    direction = 1 if day >= begins else -1
    for number in range(1, abs((day - begins).days) + 1):
        each = begins + direction * number * _DAY
        if calendar.is_working_day(each):
            count += 1
            steps.append(Step(each, f"working day {count}", True))
        else:
            steps.append(Step(each, _why_not(calendar, each, names), False))
    return steps


def _why_not(calendar: Calendar, day: date, names: Mapping[date, str]) -> str:
    if calendar.is_working_day(day):
        return ""
    return names.get(day) or "not worked"


def _answer(words: str, due: datetime, steps: list[Step]) -> Answer:
    return Answer(words, due, tuple(steps[:MOST_STEPS]), max(0, len(steps) - MOST_STEPS))


def _hours(amount: timedelta) -> str:
    minutes, seconds = divmod(int(amount.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 min"


def _end_of_month(day: date) -> date:
    return (day.replace(day=28) + 4 * _DAY).replace(day=1) - _DAY


def start_of(text: str, zone_name: str) -> datetime:
    """Read a start such as `2026-12-23T17:00` in the calendar's zone, or an instant that has its own.

    Raises:
        InvalidDeadline: it is neither.
    """
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidDeadline("Enter a start such as 2026-12-23T17:00.") from None
    if given.tzinfo is not None:
        return given.astimezone(UTC)
    at = time(given.hour, given.minute, given.second)
    return wall_to_utc(given.date(), at, zone_info(zone_name), occurrence=Occurrence.FIRST)
