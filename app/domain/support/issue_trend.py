"""How issues come and go: opened and resolved per day, by category and priority, and how long they take."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Date, Row, Select, and_, case, cast, func, or_, select

from app.core.errors import FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.support.issue_links import ISSUE

MOST_DAYS = 400


@dataclass(frozen=True, slots=True)
class DayCount:
    """`open_after`: how many were open at the end of the day."""

    day: date
    opened: int
    resolved: int
    open_after: int


@dataclass(frozen=True, slots=True)
class GroupCount:
    """Issues of one category (or priority) that came in the period; `mean` of those of them that are solved."""

    id: UUID | None
    label: str
    opened: int
    resolved: int
    open_now: int
    mean: timedelta | None


@dataclass(frozen=True, slots=True)
class Trend:
    days: tuple[DayCount, ...]
    categories: tuple[GroupCount, ...]
    priorities: tuple[GroupCount, ...]
    opened: int
    resolved: int
    open_now: int
    mean: timedelta | None
    reopened: int


async def issue_trend(uow: UnitOfWork, *, first: date, last: date, zone: ZoneInfo) -> Trend:
    """The days from `first` to `last`, both included, as they are in the zone; of what the actor may see.

    Raises: ValidationFailed for a period that ends before it begins, or is longer than 400 days.
    """
    authorize(uow, "read", ISSUE)
    if last < first or (last - first).days >= MOST_DAYS:
        raise ValidationFailed([FieldProblem("last", f"choose a period of 1 to {MOST_DAYS} days", "period")])
    begin = datetime.combine(first, time(), zone)
    end = datetime.combine(last + timedelta(days=1), time(), zone)
    i = uow.table(ISSUE)
    ended = func.least(i.c.resolved_at, i.c.closed_at)  # NULLs do not count: the first of the two
    opened = await _per_day(uow, i.c.created_at, begin, end, zone)
    resolved = await _per_day(uow, ended, begin, end, zone)
    before = select(func.count()).where(i.c.created_at < begin, or_(ended.is_(None), ended >= begin))
    open_count: int = await uow.scalar(scope(before.select_from(i), uow, "read", ISSUE)) or 0
    days = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        open_count += opened.get(day, 0) - resolved.get(day, 0)
        days.append(DayCount(day, opened.get(day, 0), resolved.get(day, 0), open_count))
    totals = (await uow.execute(scope(_totals(uow, begin, end), uow, "read", ISSUE))).one()
    return Trend(
        days=tuple(days),
        categories=await _by_category(uow, begin, end),
        priorities=await _by_priority(uow, begin, end),
        opened=totals.opened,
        resolved=totals.resolved,
        open_now=totals.open_now,
        mean=totals.mean,
        reopened=await _reopened(uow, begin, end),
    )


async def _per_day(
    uow: UnitOfWork, moment: ColumnElement[Any], begin: datetime, end: datetime, zone: ZoneInfo
) -> dict[date, int]:
    i = uow.table(ISSUE)
    day: Any = cast(func.timezone(zone.key, moment), Date).label("day")
    within = and_(moment >= begin, moment < end)
    counted = scope(select(day, func.count().label("number")).select_from(i).where(within), uow, "read", ISSUE)
    rows = await uow.execute(counted.group_by(day))
    return {row.day: row.number for row in rows}


def _totals(uow: UnitOfWork, begin: datetime, end: datetime) -> Select[tuple[int, int, int, timedelta | None]]:
    """Counts of what came in the period, was resolved in it, and is open now; the mean time of what was resolved."""
    i = uow.table(ISSUE)
    came = and_(i.c.created_at >= begin, i.c.created_at < end)
    solved = and_(i.c.resolved_at >= begin, i.c.resolved_at < end)
    return select(
        func.count(case((came, 1))).label("opened"),
        func.count(case((solved, 1))).label("resolved"),
        func.count(case((and_(i.c.resolved_at.is_(None), i.c.closed_at.is_(None)), 1))).label("open_now"),
        func.avg(case((solved, i.c.resolved_at - i.c.created_at))).label("mean"),
    ).select_from(i)


async def _by_category(uow: UnitOfWork, begin: datetime, end: datetime) -> tuple[GroupCount, ...]:
    i, c = uow.table(ISSUE), uow.table("issue_category")
    statement = _totals(uow, begin, end).add_columns(c.c.id.label("id"), c.c.label.label("label"))
    statement = statement.select_from(i.outerjoin(c, c.c.id == i.c.category_id))
    rows = await uow.execute(scope(statement, uow, "read", ISSUE).group_by(c.c.id, c.c.label))
    return _groups(rows, none="Without a category")


async def _by_priority(uow: UnitOfWork, begin: datetime, end: datetime) -> tuple[GroupCount, ...]:
    i = uow.table(ISSUE)
    label = func.upper(i.c.priority)
    statement = _totals(uow, begin, end).add_columns(label.label("label"))
    found = _groups(await uow.execute(scope(statement, uow, "read", ISSUE).group_by(label)), none="Without a priority")
    return tuple(sorted(found, key=lambda group: group.label))


def _groups(rows: Iterable[Row[Any]], *, none: str) -> tuple[GroupCount, ...]:
    found = [
        GroupCount(getattr(row, "id", None), row.label or none, row.opened, row.resolved, row.open_now, row.mean)
        for row in rows
        if row.opened or row.resolved or row.open_now
    ]
    return tuple(sorted(found, key=lambda group: (-group.opened, group.label)))


async def _reopened(uow: UnitOfWork, begin: datetime, end: datetime) -> int:
    """How many issues were opened again in the period: what was called solved and was not."""
    i, t = uow.table(ISSUE), uow.table("record_transition")
    again = t.c.record_id == i.c.id
    within = and_(t.c.at >= begin, t.c.at < end, t.c.record_entity == ISSUE, t.c.name == "reopen")
    statement = select(func.count()).select_from(i).where(select(t.c.id).where(again, within).exists())
    count: int = await uow.scalar(scope(statement, uow, "read", ISSUE)) or 0
    return count
