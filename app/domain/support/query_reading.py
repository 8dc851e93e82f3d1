"""Read queries: the threads of a record, one thread, lists by whom they concern, and how many wait for an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Table, Uuid, and_, bindparam, func, literal, or_, select, text, true
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.errors import InvalidRequest, NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize, decide, is_wide
from app.domain.access.scope import record_in_scope, require_in_scope, scope
from app.domain.lifecycles.queries import RecordSteps
from app.domain.support.query_messages import Query
from app.domain.support.query_people import my_groups
from app.domain.support.query_rules import EDIT_WINDOW, QUERY
from app.domain.support.query_thread import is_asked, offered_steps, visible_query
from models.types import Ltree

MOST_OF_A_RECORD = 50
MOST_LISTED = 200

# Files of a query that were added with message n are there for the purpose `message_n`.
READ_MESSAGES = text(
    """
SELECT m.query_id, jsonb_agg(jsonb_build_object(
    'id', m.id, 'number', m.number, 'by_id', m.author_id, 'by', u.name, 'text', m.text, 'at', m.at, 'step', m.step,
    'mentions', m.mentions, 'edited_at', m.edited_at, 'earlier', m.earlier, 'source', m.source) ORDER BY m.number)::text
    AS messages
FROM query_message m JOIN app_user u ON u.id = m.author_id
WHERE m.query_id = ANY (:ids) GROUP BY m.query_id
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
READ_AROUND = text(
    """
SELECT q.id, a.name AS asker, coalesce(u.name, g.label, o.label, q.asked_role) AS asked, c.name AS closed_by,
       w.name AS answered_by, coalesce(p.watching, false) AS watching, coalesce(p.read_number, 0) AS read_number,
       coalesce(z.label, '') AS process, coalesce(r.reference, '') AS run, coalesce(n.label, '') AS node,
       (SELECT jsonb_agg(jsonb_build_object('id', f.id, 'name', f.name, 'purpose', f.purpose, 'size', f.size)
                         ORDER BY f.created_at, f.id)
        FROM file f WHERE f.record_entity = 'process_query' AND f.record_id = q.id AND f.deleted_at IS NULL)::text
       AS files
FROM process_query q
JOIN app_user a ON a.id = q.asker_id
LEFT JOIN app_user u ON u.id = q.asked_user_id
LEFT JOIN user_group g ON g.id = q.asked_group_id
LEFT JOIN role o ON o.code = q.asked_role
LEFT JOIN app_user c ON c.id = q.closed_by_id
LEFT JOIN app_user w ON w.id = q.answered_by_id
LEFT JOIN process_query_person p ON p.query_id = q.id AND p.user_id = CAST(:me AS uuid)
LEFT JOIN process_run z ON z.id = q.process_run_id
LEFT JOIN workflow_run r ON r.id = z.run_id
LEFT JOIN hierarchy_node n ON n.id = q.node_id
WHERE q.id = ANY (:ids)
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))


class Part(StrEnum):
    """Whom the listed queries concern."""

    ASKED = "asked"  # asked of me, of a group or a role of mine
    MINE = "mine"  # asked by me
    WATCHED = "watched"
    ALL = "all"


class Standing(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    CLOSED = "closed"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Message:
    """`mine` may still be corrected when `correctable`; `earlier`: text and until when, the oldest first."""

    id: UUID
    number: int
    by_id: UUID
    by: str
    text: str
    at: datetime
    step: str | None
    mentions: tuple[Mapping[str, str], ...]
    edited_at: datetime | None
    earlier: tuple[Mapping[str, str], ...]
    source: str
    correctable: bool
    files: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class QueryHead:
    """A query as lists show it. `row`: its record; `unread`: messages that the actor has not read."""

    row: Query
    asker: str
    asked: str
    answered_by: str | None
    closed_by: str | None
    watching: bool
    unread: int
    process: str
    run: str
    node: str
    asked_of_me: bool

    @property
    def id(self) -> UUID:
        found: UUID = self.row["id"]
        return found

    @property
    def standing(self) -> Standing:
        if self.row["closed_at"] is not None:
            return Standing.CLOSED
        return Standing.OPEN if self.row["answered_at"] is None else Standing.ANSWERED

    @property
    def blocks(self) -> bool:
        """Whether it holds up its process now."""
        return bool(self.row["blocking"]) and self.standing is Standing.OPEN


@dataclass(frozen=True, slots=True)
class Thread:
    """A query with its messages, and what its state offers to the actor."""

    head: QueryHead
    messages: tuple[Message, ...]
    steps: RecordSteps | None
    may_write: bool
    may_lead: bool


@dataclass(frozen=True, slots=True)
class Listed:
    queries: tuple[QueryHead, ...]
    more: bool
    counts: Mapping[Part, int]  # of those that are not closed


async def threads_of(uow: UnitOfWork, *, record: tuple[str, UUID], seen: bool = False) -> tuple[Thread, ...]:
    """The queries about a record, those that are not closed first; a number of statements that does not grow.

    `seen`: the caller has read the record under its actor's scope.

    Raises: Forbidden, NotFound.
    """
    authorize(uow, "read", QUERY)
    entity, id_ = record
    if entity not in uow.registry.entities:
        raise NotFound("There is no such record, or you may not see it.")
    if not seen:
        await require_in_scope(uow, "read", entity, id_)
    table = uow.table(QUERY)
    wanted = select(table).where(table.c.record_entity == entity, table.c.record_id == id_)
    order = (table.c.closed_at.is_not(None), table.c.created_at.desc(), table.c.id.desc())
    rows = await uow.execute(scope(wanted, uow, "read", QUERY).order_by(*order).limit(MOST_OF_A_RECORD))
    return await _threads(uow, rows.mappings().all())


async def thread_of(uow: UnitOfWork, *, query_id: UUID) -> Thread:
    """One query with everything that was said. Raises Forbidden, NotFound."""
    return (await _threads(uow, [await visible_query(uow, query_id)]))[0]


async def _threads(uow: UnitOfWork, rows: Sequence[Query]) -> tuple[Thread, ...]:
    if not rows:
        return ()
    ids = [row["id"] for row in rows]
    said = {row.query_id: orjson.loads(row.messages) for row in await uow.execute(READ_MESSAGES, {"ids": ids})}
    heads, files = await _heads(uow, rows)
    may_write = decide(uow.resources.policy, uow.registry, uow.actor, "update", QUERY) is not None
    steps = await offered_steps(uow, {row["id"]: row for row in rows}) if may_write else {}
    leads = await _led(uow, ids)
    return tuple(
        Thread(
            head,
            tuple(_message(uow, head, item, files[head.id]) for item in said.get(head.id, ())),
            steps.get(head.id),
            may_write,
            head.id in leads,
        )
        for head in heads
    )


async def _led(uow: UnitOfWork, ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those of the queries that the actor may change as a lead."""
    if decide(uow.resources.policy, uow.registry, uow.actor, "lead", QUERY) is None:
        return frozenset()
    table = uow.table(QUERY)
    found = await uow.execute(scope(select(table.c.id).where(table.c.id.in_(ids)), uow, "lead", QUERY))
    return frozenset(row.id for row in found)


async def _heads(uow: UnitOfWork, rows: Sequence[Query]) -> tuple[list[QueryHead], dict[UUID, list[Mapping[str, Any]]]]:
    ids: list[UUID] = [row["id"] for row in rows]
    groups = await my_groups(uow)
    around = {row["id"]: row for row in (await uow.execute(READ_AROUND, {"ids": ids, "me": uow.actor.id})).mappings()}
    heads: list[QueryHead] = []
    files: dict[UUID, list[Mapping[str, Any]]] = {}
    for row in rows:
        beside = around[row["id"]]
        files[row["id"]] = orjson.loads(beside["files"] or "[]")
        heads.append(
            QueryHead(
                row=row,
                asker=beside["asker"],
                asked=beside["asked"],
                answered_by=beside["answered_by"],
                closed_by=beside["closed_by"],
                watching=beside["watching"],
                unread=max(0, row["messages"] - beside["read_number"]),
                process=beside["process"],
                run=beside["run"],
                node=beside["node"],
                asked_of_me=is_asked(uow, row, groups),
            )
        )
    return heads, files


def _message(uow: UnitOfWork, head: QueryHead, item: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> Message:
    at, by_id = datetime.fromisoformat(item["at"]), UUID(item["by_id"])
    own = by_id == uow.actor.id and head.row["closed_at"] is None
    return Message(
        id=UUID(item["id"]),
        number=item["number"],
        by_id=by_id,
        by=item["by"],
        text=item["text"],
        at=at,
        step=item["step"],
        mentions=tuple(item["mentions"] or ()),
        edited_at=datetime.fromisoformat(item["edited_at"]) if item["edited_at"] else None,
        earlier=tuple(item["earlier"] or ()),
        source=item["source"],
        correctable=own and uow.now - at <= EDIT_WINDOW,
        files=tuple(file for file in files if file["purpose"] == f"message_{item['number']}"),
    )


async def list_queries(
    uow: UnitOfWork, *, part: Part = Part.ASKED, standing: Standing | None = None, search: str = ""
) -> Listed:
    """Queries that the actor sees, by due time; `standing` None: those that are not closed.

    Raises: Forbidden; InvalidRequest for a search that cannot be made.
    """
    authorize(uow, "read", QUERY)
    if "\x00" in search:
        raise InvalidRequest("The search contains a character that cannot be searched for; remove it.")
    table, conditions = uow.table(QUERY), _parts(uow)
    wanted = select(table).where(conditions[part], _standing(table, standing))
    for word in search.split()[:10]:
        columns = (table.c.reference, table.c.subject)
        wanted = wanted.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
    latest = standing is Standing.CLOSED
    order = (table.c.closed_at.desc(),) if latest else (table.c.due_at.asc().nulls_last(), table.c.created_at.desc())
    wanted = scope(wanted, uow, "read", QUERY).order_by(*order, table.c.id).limit(MOST_LISTED + 1)
    rows = (await uow.execute(wanted)).mappings().all()
    heads, _ = await _heads(uow, await _readable(uow, rows[:MOST_LISTED]))
    return Listed(tuple(heads), len(rows) > MOST_LISTED, await _counts(uow, conditions))


async def asked_of_me(uow: UnitOfWork, *, limit: int = 5) -> tuple[list[QueryHead], int]:
    """What waits for an answer of the actor, by due time, and how many there are; nothing for who reads no queries."""
    if decide(uow.resources.policy, uow.registry, uow.actor, "read", QUERY) is None:
        return [], 0
    table, conditions = uow.table(QUERY), _parts(uow)
    total = func.count().over().label("total")
    wanted = select(table, total).where(conditions[Part.ASKED], _standing(table, Standing.OPEN))
    wanted = scope(wanted, uow, "read", QUERY).order_by(table.c.due_at.asc().nulls_last(), table.c.created_at)
    rows = (await uow.execute(wanted.limit(limit))).mappings().all()
    if not rows:
        return [], 0
    heads, _ = await _heads(uow, rows)
    return heads, rows[0]["total"]


async def _readable(uow: UnitOfWork, rows: Sequence[Query]) -> list[Query]:
    """Those whose record the actor may read. Of processes that is the scope of the query itself."""
    found: list[Query] = []
    for row in rows:
        same = row["process_run_id"] is not None
        if same or await record_in_scope(uow, "read", row["record_entity"], row["record_id"]):
            found.append(row)
    return found


def _parts(uow: UnitOfWork) -> dict[Part, ColumnElement[bool]]:
    table, people = uow.table(QUERY), uow.table("process_query_person")
    watched = select(people.c.id).where(
        people.c.query_id == table.c.id, people.c.user_id == uow.actor.id, people.c.watching
    )
    return {
        Part.ASKED: _asked_of_me(uow, table),
        Part.MINE: table.c.asker_id == uow.actor.id,
        Part.WATCHED: watched.exists(),
        Part.ALL: true(),
    }


def _asked_of_me(uow: UnitOfWork, table: Table) -> ColumnElement[bool]:
    """Somebody else asks it of the actor: by name, as a member of the group, or by a role that reaches it there."""
    nodes, applications = uow.table("hierarchy_node"), uow.table("application")
    groups, members = uow.table("user_group"), uow.table("user_group_member")
    mine = select(members.c.parent_id).join(groups, groups.c.id == members.c.parent_id)
    mine = mine.where(members.c.user_id == uow.actor.id, groups.c.active)
    ways: list[ColumnElement[bool]] = [
        table.c.asked_user_id == uow.actor.id,
        table.c.asked_group_id.in_(mine),
    ]
    for grant in uow.actor.grants:
        way = [table.c.asked_role == grant.role]
        if not is_wide(uow.resources.policy, grant):
            there = select(applications.c.id).where(applications.c.code == grant.application).scalar_subquery()
            way.append(or_(table.c.application_id.is_(None), table.c.application_id == there))
        if grant.node_path is not None:
            below = nodes.c.path.op("<@", is_comparison=True)(literal(grant.node_path, Ltree()))
            way.append(table.c.node_id.in_(select(nodes.c.id).where(below)))
        ways.append(and_(*way))
    return and_(table.c.asker_id != uow.actor.id, or_(*ways))


def _standing(table: Table, standing: Standing | None) -> ColumnElement[bool]:
    match standing:
        case Standing.OPEN:
            return and_(table.c.closed_at.is_(None), table.c.answered_at.is_(None))
        case Standing.ANSWERED:
            return and_(table.c.closed_at.is_(None), table.c.answered_at.is_not(None))
        case Standing.CLOSED:
            return table.c.closed_at.is_not(None)
        case Standing.ANY:
            return true()
    return table.c.closed_at.is_(None)


async def _counts(uow: UnitOfWork, conditions: Mapping[Part, ColumnElement[bool]]) -> dict[Part, int]:
    """How many that are not closed each part has; one statement."""
    table = uow.table(QUERY)
    columns: list[Any] = [func.count().filter(condition).label(part.value) for part, condition in conditions.items()]
    statement = select(*columns).where(table.c.closed_at.is_(None))
    row = (await uow.execute(scope(statement, uow, "read", QUERY))).one()
    return {part: getattr(row, part.value) for part in conditions}
