"""What of queries needs no database: who is named in a text, when a query is due, and in which words it is refused."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.domain.calendars.calendars import Calendar
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.errors import InvalidDeadline

QUERY = "process_query"
MESSAGE = "query_message"
PROCESS = "process_run"

MAX_SUBJECT = 200
MAX_TEXT = 20_000
EDIT_WINDOW = timedelta(minutes=15)

# An e-mail address, or what stands before its @: `@elena.rossi`, `@elena.rossi@bank.example`; not one inside a word.
_HANDLE = re.compile(r"(?<![\w@.])@([A-Za-z0-9][\w.+-]*(?:@[\w-]+(?:\.[\w-]+)+)?)")
_DURATION = re.compile(r"P(?:(\d{1,3})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?)?", re.IGNORECASE)
DUE_EXAMPLES = (
    "PT4H (four working hours), P2D (two working days), BD+1 12:00 Europe/London, or an instant with its zone"
)


def unreadable(text: str) -> bool:
    """Whether it holds what cannot be stored."""
    return "\x00" in text


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Source(StrEnum):
    WEB = "web"
    API = "api"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who sees the record a query is about. `handle`: what stands before the @ of the e-mail address."""

    id: UUID
    name: str
    email: str

    @property
    def handle(self) -> str:
        return self.email.partition("@")[0].lower()


@dataclass(frozen=True, slots=True)
class Asked:
    """Of whom a query is asked: exactly one of the three."""

    user_id: UUID | None = None
    role: str | None = None
    group_id: UUID | None = None

    @property
    def complete(self) -> bool:
        return sum(part is not None for part in (self.user_id, self.role, self.group_id)) == 1


def handles_in(text: str) -> list[str]:
    """What follows an @ in the text, in lower case and without a full stop at its end, each once."""
    return list(dict.fromkeys(found.lower().rstrip(".-") for found in _HANDLE.findall(text)))


def mentioned(text: str, people: Iterable[Person]) -> list[tuple[str, Person]]:
    """Who of the people the text names: by the e-mail address, or by its first part where only one person has it."""
    by_name: dict[str, list[Person]] = {}
    for person in people:
        by_name.setdefault(person.handle, []).append(person)
        by_name.setdefault(person.email.lower(), []).append(person)
    found = [(handle, by_name.get(handle, [])) for handle in handles_in(text)]
    return [(handle, named[0]) for handle, named in found if len({person.id for person in named}) == 1]


def due_instant(said: str, *, now: datetime, calendar: Calendar | None, business_date: date | None) -> datetime:
    """When a query is due that is asked now: an instant, a time that works out on the calendar, or a deadline formula.

    Raises:
        ValueError: it cannot be read, lies in the past, or needs a calendar where there is none.
    """
    said = said.strip()
    at = _instant(said) or _after(said, now, calendar)
    if at is None:
        if calendar is None or business_date is None:
            raise ValueError(f"“{said}” cannot be read here: write PT4H (in four hours) or an instant with its zone.")
        try:
            at = parse_deadline(said).resolve(business_date, calendar)
        except InvalidDeadline as error:
            raise ValueError(f"{error.detail} Or write {DUE_EXAMPLES}.") from error
    if at <= now:
        raise ValueError("That lies in the past; choose a time that is still ahead.")
    return at


def _instant(said: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None
    if at.tzinfo is None:
        raise ValueError("Say in which zone: for example 2026-10-30T16:00:00+01:00.")
    return at


def _after(said: str, now: datetime, calendar: Calendar | None) -> datetime | None:
    """Days are working days and hours are working hours, where there is a calendar."""
    match = _DURATION.fullmatch(said)
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups())
    span = timedelta(hours=hours, minutes=minutes)
    if calendar is None:
        return now + timedelta(days=days) + span
    at = now
    if days:
        moved = calendar.add_working_days(calendar.local_date(now), days) - calendar.local_date(now)
        at += moved
    return calendar.add_working_time(at, span) if span else at


def reminder_at(asked_at: datetime, due_at: datetime) -> datetime:
    """When whoever is asked is told that it is due soon: when three quarters of the time have gone."""
    return asked_at + (due_at - asked_at) * 3 / 4
