"""What the forms of a calendar's page send, read and done to the draft; each returns what is said afterwards."""

from datetime import date, time
from uuid import UUID

from app.core.errors import FieldProblem, InvalidRequest, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.calendars import drafts
from app.domain.calendars.calendars import Combination
from app.domain.calendars.week_text import parse_week


async def set_week(uow: UnitOfWork, id_: UUID, typed: dict[str, str]) -> str:
    week = parse_week({weekday: typed.get(f"day_{weekday}", "")[:500] for weekday in range(7)})
    notes = typed.get("notes")
    await drafts.set_week(uow, version_id=id_, week=week, notes=notes, expected_version=seen(typed))
    return "The working hours are changed in the draft."


async def add_days(uow: UnitOfWork, id_: UUID, typed: dict[str, str]) -> tuple[str, int]:
    first = _date(typed, "first")
    if first is None:
        raise ValidationFailed([FieldProblem("first", "Enter the day.")])
    number = await drafts.add_days(
        uow,
        version_id=id_,
        first=first,
        last=_date(typed, "last"),
        kind=typed.get("kind", ""),
        label=typed.get("label", ""),
        opens_at=_time(typed, "opens_at"),
        closes_at=_time(typed, "closes_at"),
        expected_version=seen(typed),
    )
    return f"{number} {'day is' if number == 1 else 'days are'} entered in the draft.", first.year


async def remove_days(uow: UnitOfWork, id_: UUID, given: list[str], typed: dict[str, str]) -> str:
    try:
        days = [date.fromisoformat(day) for day in given]
    except ValueError:
        raise InvalidRequest("a day is no date") from None
    if not days:
        raise ValidationFailed([FieldProblem("day", "Choose the days to take out.")])
    number = await drafts.remove_days(uow, version_id=id_, days=days, expected_version=seen(typed))
    return f"{number} {'day is' if number == 1 else 'days are'} taken out of the draft."


async def compose(uow: UnitOfWork, id_: UUID, given: list[str], typed: dict[str, str]) -> str:
    try:
        parts = [UUID(part) for part in given]
        composition = Combination(typed["composition"]) if typed.get("composition") else None
    except ValueError:
        raise InvalidRequest("a part is no calendar") from None
    await drafts.compose(uow, version_id=id_, composition=composition, parts=parts, expected_version=seen(typed))
    return "The draft is made of other calendars." if composition else "The draft has hours and days of its own."


async def import_holidays(uow: UnitOfWork, id_: UUID, typed: dict[str, str]) -> tuple[str, int]:
    first, last = _whole(typed, "first_year"), _whole(typed, "last_year")
    if last < first:
        raise ValidationFailed([FieldProblem("last_year", "The last year is before the first.")])
    years = range(first, min(last, first + drafts.MOST_YEARS) + 1)
    source = typed.get("source", "").upper()
    number = await drafts.import_into(uow, version_id=id_, source=source, years=years, expected_version=seen(typed))
    return f"{number} holidays of {source} are in the draft; look below at what differs.", first


def seen(typed: dict[str, str]) -> int | None:
    given = typed.get("row_version", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None


def _whole(typed: dict[str, str], name: str) -> int:
    given = typed.get(name, "")
    if not (given.isascii() and given.isdigit() and len(given) == 4):
        raise ValidationFailed([FieldProblem(name, "Enter a year such as 2027.")])
    return int(given)


def _date(typed: dict[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(typed[name]) if typed.get(name) else None
    except ValueError:
        raise ValidationFailed([FieldProblem(name, "Enter a date such as 2027-01-31.")]) from None


def _time(typed: dict[str, str], name: str) -> time | None:
    given = typed.get(name, "")
    try:
        return time(0, 0) if given == "24:00" else (time.fromisoformat(given) if given else None)
    except ValueError:
        raise ValidationFailed([FieldProblem(name, "Enter a time such as 13:00.")]) from None
