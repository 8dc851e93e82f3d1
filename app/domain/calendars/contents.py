"""What a calendar version says, as a value: to be shown, compared with another version, and changed while a draft."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import WEEKDAY_NAMES, Combination, Window
from app.domain.calendars.errors import InvalidCalendar
from app.domain.calendars.store import week_from_json


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """A date that is not worked like its weekday. `kind` is one of the entity calendar_day."""

    day: date
    kind: str
    label: str
    opens_at: time | None = None
    closes_at: time | None = None

    def in_words(self) -> str:
        """What happens on it, without its name."""
        match self.kind:
            case "early_close":
                return f"closes at {self.closes_at:%H:%M}"
            case "late_open":
                return f"opens at {self.opens_at:%H:%M}"
            case "special_hours":
                return (
                    f"works {self.opens_at:%H:%M}-{'24:00' if self.closes_at == time() else f'{self.closes_at:%H:%M}'}"
                )
        return "holiday"


@dataclass(frozen=True, slots=True)
class Content:
    """`week` is empty and `days` are none where the version is composed of `parts` (id and code of calendars)."""

    week: Mapping[int, tuple[Window, ...]]
    days: tuple[SpecialDay, ...] = ()
    composition: Combination | None = None
    parts: tuple[tuple[UUID, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two versions say differently; `day` where it is about a date."""

    what: str
    before: str
    after: str
    day: date | None = None

    @property
    def kind(self) -> str:
        return "add" if not self.before else ("ret" if not self.after else "chg")


_VERSION = text("""
SELECT v.*, c.code, c.label AS calendar, c.zone FROM calendar_version v JOIN calendar c ON c.id = v.calendar_id
WHERE v.id = :id
""")
_PARTS = text("""
SELECT p.calendar_id, c.code FROM calendar_part p JOIN calendar c ON c.id = p.calendar_id
WHERE p.parent_id = :id ORDER BY p.position, c.code
""")


async def version_row(uow: UnitOfWork, version_id: UUID) -> Mapping[Any, Any]:
    """The row of a version with code, label and zone of its calendar. Raises NotFound."""
    row = (await uow.execute(_VERSION, {"id": version_id})).mappings().first()
    if row is None:
        raise NotFound("There is no such calendar version.")
    return row


async def read_content(uow: UnitOfWork, version_id: UUID) -> Content:
    """What the version says. Raises NotFound."""
    return await content_of(uow, await version_row(uow, version_id))


async def content_of(uow: UnitOfWork, row: Mapping[Any, Any]) -> Content:
    """What the version of this row says; windows that cannot be read are none, for somebody is about to repair them."""
    days = uow.table("calendar_day")
    columns = (days.c.day, days.c.kind, days.c.label, days.c.opens_at, days.c.closes_at)
    listed = await uow.execute(select(*columns).where(days.c.parent_id == row["id"]).order_by(days.c.day))
    parts = await uow.execute(_PARTS, {"id": row["id"]}) if row["composition"] else ()
    try:
        week = week_from_json(row["code"], row["weekly_windows"])
    except InvalidCalendar:
        week = {}
    return Content(
        week=week,
        days=tuple(SpecialDay(each.day, each.kind, each.label, each.opens_at, each.closes_at) for each in listed),
        composition=Combination(row["composition"]) if row["composition"] else None,
        parts=tuple((part.calendar_id, part.code) for part in parts),
    )


def differences(before: Content, after: Content) -> list[Difference]:
    """Everything that `after` says differently, what it is made of first, then the week, then dates in order."""
    found = []
    if (was := made_of(before)) != (now := made_of(after)):
        found.append(Difference("Made of", was, now))
    for weekday, name in enumerate(WEEKDAY_NAMES):
        was, now = hours_of(before, weekday), hours_of(after, weekday)
        if was != now:
            found.append(Difference(name, was, now))
    old, new = ({each.day: each for each in content.days} for content in (before, after))
    for day in sorted(old.keys() | new.keys()):
        was, now = _said(old.get(day)), _said(new.get(day))
        if was != now:
            found.append(Difference(f"{day:%a} {day.day} {day:%b %Y}", was, now, day))
    return found


def made_of(content: Content) -> str:
    """The calendars that it is composed of, in words; empty where it has hours of its own."""
    if content.composition is None:
        return ""
    return f"{content.composition} of {', '.join(code for _, code in content.parts) or 'nothing'}"


def hours_of(content: Content, weekday: int) -> str:
    """The windows of a weekday as they are entered: `09:00-12:00, 13:00-18:00`."""
    return "" if content.composition else ", ".join(str(window) for window in content.week.get(weekday, ()))


def _said(day: SpecialDay | None) -> str:
    return f"{day.label} ({day.in_words()})" if day is not None else ""
