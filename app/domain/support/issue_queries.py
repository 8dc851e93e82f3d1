"""What pages and the API show of issues: links, holds, parts, watchers, the board. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, or_, select

from app.core.errors import Conflict
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope, scope
from app.domain.lifecycles.compiled import CompiledLifecycle
from app.domain.lifecycles.store import version_of
from app.domain.support.issue_links import ISSUE, LINK, PROCESS, RUN

MOST_OF_RECORD = 20
MOST_ON_BOARD = 300
# How long what is finished stays on the board.
SHOWN_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link. `held`: the process is on hold because of blocking issues; `overridden_at`: it goes on in spite of it."""

    id: UUID
    entity: str
    record_id: UUID
    process_state: str | None
    held: bool
    overridden_at: datetime | None


@dataclass(frozen=True, slots=True)
class IssueLine:
    """An issue as lists of a few show it."""

    id: UUID
    reference: str
    title: str
    state: str
    version_id: UUID | None
    row_version: int
    priority: str | None
    blocking: bool
    is_open: bool
    assignee_id: UUID | None
    assignee: str | None
    category: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around an issue."""

    links: tuple[LinkView, ...]
    parts: tuple[IssueLine, ...]
    merged: tuple[IssueLine, ...]
    watchers: tuple[tuple[UUID, str], ...]


async def around(uow: UnitOfWork, *, issue_id: UUID) -> Around:
    """Links, parts, merged issues and watchers, as far as the actor may see them. Raises NotFound, Forbidden."""
    await require_in_scope(uow, "read", ISSUE, issue_id)
    i, w, u = uow.table(ISSUE), uow.table("issue_watcher"), uow.table("user")
    near = await _lines(uow, or_(i.c.parent_id == issue_id, i.c.merged_into_id == issue_id))
    of = {row.id: row.merged_into_id for row in near}
    watching = select(u.c.id, u.c.name).join(w, w.c.user_id == u.c.id).where(w.c.issue_id == issue_id)
    watchers = await uow.execute(watching.order_by(u.c.name))
    return Around(
        links=await _links(uow, issue_id),
        parts=tuple(_line(row) for row in near if of[row.id] != issue_id),
        merged=tuple(_line(row) for row in near if of[row.id] == issue_id),
        watchers=tuple((row.id, row.name) for row in watchers),
    )


async def _links(uow: UnitOfWork, issue_id: UUID) -> tuple[LinkView, ...]:
    l, h, p = uow.table(LINK), uow.table("issue_hold"), uow.table(PROCESS)  # noqa: E741
    is_process = and_(l.c.record_entity == PROCESS, p.c.id == l.c.record_id)
    held = and_(h.c.process_run_id == p.c.id, h.c.ended_at.is_(None))
    statement = (
        select(l.c.id, l.c.record_entity, l.c.record_id, l.c.overridden_at, p.c.state, h.c.id.label("hold_id"))
        .outerjoin(p, is_process)
        .outerjoin(h, held)
        .where(l.c.issue_id == issue_id)
        .order_by(l.c.id)
    )
    return tuple(
        LinkView(row.id, row.record_entity, row.record_id, row.state, row.hold_id is not None, row.overridden_at)
        for row in await uow.execute(statement)
    )


async def issues_of_record(uow: UnitOfWork, *, entity: str, record_id: UUID) -> list[IssueLine]:
    """The issues about a record that the actor may see, open ones first; of a process and a run with what is in it."""
    authorize(uow, "read", ISSUE)
    i, l = uow.table(ISSUE), uow.table(LINK)  # noqa: E741
    about = and_(l.c.record_entity == entity, l.c.record_id == record_id)
    if entity == PROCESS:
        about = or_(about, l.c.process_run_id == record_id)
    elif entity == RUN:
        about = or_(about, l.c.run_id == record_id)
    linked = select(l.c.issue_id).where(about)
    rows = await _lines(uow, and_(i.c.id.in_(linked), i.c.merged_into_id.is_(None)), most=MOST_OF_RECORD)
    return sorted((_line(row) for row in rows), key=lambda line: not line.is_open)


async def board(
    uow: UnitOfWork, *, mine: bool = False, category_id: UUID | None = None, priority: str | None = None
) -> tuple[list[IssueLine], bool]:
    """Open issues and those that ended in the last week, the most pressing first; and whether there are more."""
    authorize(uow, "read", ISSUE)
    i = uow.table(ISSUE)
    ended = func.coalesce(i.c.closed_at, i.c.resolved_at)
    conditions = [or_(ended.is_(None), ended > uow.now - SHOWN_AFTER), i.c.merged_into_id.is_(None)]
    if mine:
        conditions.append(or_(i.c.assignee_id == uow.actor.id, i.c.requester_id == uow.actor.id))
    if category_id is not None:
        c = uow.table("issue_category")
        above = select(c.c.path).where(c.c.id == category_id).scalar_subquery()
        below = select(c.c.id).where(c.c.path.op("<@", is_comparison=True)(above))
        conditions.append(i.c.category_id.in_(below))
    if priority:
        conditions.append(i.c.priority == priority)
    rows = await _lines(uow, and_(*conditions), most=MOST_ON_BOARD + 1)
    return [_line(row) for row in rows[:MOST_ON_BOARD]], len(rows) > MOST_ON_BOARD


async def _lines(uow: UnitOfWork, condition: ColumnElement[bool], *, most: int = 100) -> Sequence[Row[Any]]:
    i, u, c = uow.table(ISSUE), uow.table("user"), uow.table("issue_category")
    columns = (
        i.c.id, i.c.reference, i.c.title, i.c.lifecycle_state, i.c.lifecycle_version_id, i.c.row_version, i.c.priority,
        i.c.blocking, i.c.resolved_at, i.c.closed_at, i.c.assignee_id, i.c.created_at, i.c.updated_at,
        i.c.merged_into_id,
    )  # fmt: skip
    statement = (
        select(*columns, u.c.name.label("assignee"), c.c.label.label("category"))
        .outerjoin(u, u.c.id == i.c.assignee_id)
        .outerjoin(c, c.c.id == i.c.category_id)
        .where(condition)
        .order_by(i.c.priority, i.c.created_at.desc())
        .limit(most)
    )
    return (await uow.execute(scope(statement, uow, "read", ISSUE))).all()


def _line(row: Row[Any]) -> IssueLine:
    return IssueLine(
        id=row.id,
        reference=row.reference,
        title=row.title,
        state=row.lifecycle_state or "",
        version_id=row.lifecycle_version_id,
        row_version=row.row_version,
        priority=row.priority,
        blocking=row.blocking,
        is_open=row.resolved_at is None and row.closed_at is None,
        assignee_id=row.assignee_id,
        assignee=row.assignee,
        category=row.category,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


async def find_issue(uow: UnitOfWork, text: str) -> UUID | None:
    """The issue that a reference number, an id or the address of its page names, where the actor may see it."""
    authorize(uow, "read", ISSUE)
    i, words = uow.table(ISSUE), text.strip().rstrip("/").rpartition("/")[2]
    try:
        condition = i.c.id == UUID(words)
    except ValueError:
        condition = func.upper(i.c.reference) == words.upper()
    found: UUID | None = await uow.scalar(scope(select(i.c.id).where(condition), uow, "read", ISSUE))
    return found


async def categories(uow: UnitOfWork) -> list[tuple[UUID, str]]:
    """Categories in use, by name, for the board's filter."""
    c = uow.table("issue_category")
    rows = await uow.execute(select(c.c.id, c.c.label).where(c.c.active).order_by(c.c.label))
    return [(row.id, row.label) for row in rows]


async def lifecycles_of_lines(uow: UnitOfWork, lines: Sequence[IssueLine]) -> dict[UUID, CompiledLifecycle]:
    """The lifecycle versions of these issues; one that does not fit any more is left out."""
    found: dict[UUID, CompiledLifecycle] = {}
    for version_id in {line.version_id for line in lines if line.version_id is not None}:
        try:
            found[version_id] = await version_of(uow, version_id)
        except Conflict:
            continue
    return found
