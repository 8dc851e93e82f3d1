"""What a step of a query's lifecycle means, whoever took it and by which way: the state decides, by its category.

A query in a final or void state is closed; in a waiting one it is answered; else it is open and may block.
So an administrator who refines the lifecycle decides with the category of a state whether it blocks.
"""

from uuid import UUID

from sqlalchemy import Text, Uuid, select, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.lifecycles.events import RecordTransitioned
from app.domain.lifecycles.store import version_of
from app.domain.support.query_blocking import lock_process_of, recount
from app.domain.support.query_messages import Query, place_of_query, told, touch, who_follows
from app.domain.support.query_people import ids_of, people_at
from app.domain.support.query_rules import QUERY
from models.lifecycle import CLOSED

SETTLE = text(
    """
UPDATE process_query SET
    closed_at = CASE WHEN :closed THEN coalesce(closed_at, CAST(:now AS timestamptz)) END,
    closed_by_id = CASE WHEN :closed THEN coalesce(closed_by_id, CAST(:by AS uuid)) END,
    answered_at = CASE WHEN :answered THEN CAST(:now AS timestamptz) WHEN :closed THEN answered_at END,
    answered_by_id = CASE WHEN :answered THEN CAST(:by AS uuid) WHEN :closed THEN answered_by_id END
WHERE id = :id
"""
)
# What is due by now; several sweeps share it, and each query is told of once.
DUE = text(
    """
WITH due AS (
    SELECT id FROM process_query
    WHERE notice_at <= :now AND closed_at IS NULL AND answered_at IS NULL
    ORDER BY notice_at LIMIT :batch FOR UPDATE SKIP LOCKED
)
UPDATE process_query q SET
    notice_at = CASE WHEN q.due_at > :now THEN q.due_at END,
    overdue_at = CASE WHEN q.due_at <= :now THEN CAST(:now AS timestamptz) END
FROM due WHERE q.id = due.id
RETURNING q.id
"""
).columns(id=Uuid)
SAID_WITH_IT = text(
    """
SELECT m.text, m.mentions FROM query_message m
WHERE m.query_id = :id AND m.at = :at AND m.step IS NOT NULL ORDER BY m.number DESC LIMIT 1
"""
).columns(text=Text, mentions=JSONB)
BATCH = 200


async def on_query_transitioned(uow: UnitOfWork, event: RecordTransitioned) -> None:
    """Keep what follows from the state: since when it is answered or closed, and whether it holds up its process."""
    if event.entity != QUERY:
        return
    query = await _read(uow, event.record_id)
    lifecycle = await version_of(uow, query["lifecycle_version_id"])
    state = lifecycle.states.get(event.to_state)
    category = state.category if state is not None else "active"
    closed, answered = category in CLOSED, category == "waiting"
    by = None if uow.actor.is_system else uow.actor.id
    values = {"id": query["id"], "closed": closed, "answered": answered, "now": event.at, "by": by}
    await uow.execute(SETTLE, values)
    if query["process_run_id"] is not None:
        await recount(uow, await lock_process_of(uow, query["process_run_id"]))
    label = state.label if state is not None else event.to_state.replace("_", " ").capitalize()
    people = (*await who_follows(uow, query), *await _asked(uow, query))
    said = (await uow.execute(SAID_WITH_IT, {"id": query["id"], "at": event.at})).first()
    words = said.text if said is not None else f"{uow.actor.name} took the step “{event.name.replace('_', ' ')}”."
    named = [UUID(item["id"]) for item in said.mentions or ()] if said is not None else []
    told(uow, query, people, f"{label} by {uow.actor.name}: {query['subject']}", words, but=named)
    touch(uow, query)


async def tell_due(uow: UnitOfWork) -> int:
    """Tell whoever is asked that a query is due soon, and them and who asked that it is late; returns how many."""
    ids = [row.id for row in await uow.execute(DUE, {"now": uow.now, "batch": BATCH})]
    for id_ in ids:
        query = await _read(uow, id_)
        late = query["overdue_at"] is not None
        people = await _asked(uow, query)
        said = f"{query['reference']} is waiting for an answer."
        if late:
            told(uow, query, (query["asker_id"], *people), f"Late: {query['subject']}", said)
        else:
            told(uow, query, people, f"Due soon: {query['subject']}", said)
        touch(uow, query)
    return len(ids)


async def _read(uow: UnitOfWork, query_id: UUID) -> Query:
    table = uow.table(QUERY)
    return (await uow.execute(select(table).where(table.c.id == query_id))).mappings().one()


async def _asked(uow: UnitOfWork, query: Query) -> tuple[UUID, ...]:
    """Those who are to answer, as far as they still may."""
    users = None if query["asked_user_id"] is None else [query["asked_user_id"]]
    role, group_id = query["asked_role"], query["asked_group_id"]
    found = await people_at(uow, place_of_query(query), role=role, group_id=group_id, users=users, action="update")
    return ids_of(found)
