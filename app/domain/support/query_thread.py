"""What is done in a query once it is asked: write, take a step, correct one's own words, change what is wanted, watch.

Who is part of a query, because they asked it or it is asked of them, may write and take its steps also where its record
lies above their own part of the hierarchy; steps that belong to a role are taken only where the role reaches.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import AuditEntry
from app.core.errors import (
    Conflict,
    FieldProblem,
    Forbidden,
    NotFound,
    StaleVersion,
    TransitionRefused,
    ValidationFailed,
)
from app.core.events import RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import record_in_scope, require_in_scope, scope
from app.domain.lifecycles.queries import RecordSteps, steps_of_many
from app.domain.lifecycles.transitions import StepCommand, error_of, transition_records
from app.domain.support.query_asking import asked_people, resolve_due
from app.domain.support.query_blocking import LockedProcess, lock_process_of, recount
from app.domain.support.query_messages import (
    Draft,
    Query,
    add_message,
    as_stored,
    names_in,
    place_of_query,
    told,
    touch,
    who_follows,
)
from app.domain.support.query_people import ids_of, my_groups
from app.domain.support.query_rules import (
    EDIT_WINDOW,
    MAX_TEXT,
    MESSAGE,
    QUERY,
    Asked,
    Priority,
    Source,
    reminder_at,
    unreadable,
)

GONE = "There is no such query, or you may not see it."

CORRECT = text(
    """
UPDATE query_message SET
    text = :text, mentions = :mentions, edited_at = :now, row_version = row_version + 1, updated_at = :now,
    updated_by = :me,
    earlier = coalesce(CASE WHEN jsonb_typeof(earlier) = 'array' THEN earlier END, '[]')
              || jsonb_build_array(jsonb_build_object('text', text, 'until', CAST(:now AS timestamptz)))
WHERE id = :id
"""
).bindparams(bindparam("mentions", type_=JSONB(none_as_null=True)))
WATCH = text(
    """
INSERT INTO process_query_person (id, row_version, created_at, created_by, updated_at, updated_by, query_id, user_id,
                                  watching, read_number)
VALUES (uuidv7(), 1, :now, :me, :now, :me, :query, :me, coalesce(CAST(:watching AS boolean), false), :number)
ON CONFLICT (query_id, user_id) DO UPDATE SET
    watching = coalesce(CAST(:watching AS boolean), process_query_person.watching),
    read_number = greatest(process_query_person.read_number, excluded.read_number),
    row_version = process_query_person.row_version + 1, updated_at = :now, updated_by = :me
"""
)


@dataclass(frozen=True, slots=True)
class Said:
    """What has become of it: the message's number (None: a step without words), the step, the query's version."""

    number: int | None
    step: str | None
    row_version: int


async def visible_query(uow: UnitOfWork, query_id: UUID, *, lock: bool = False) -> Query:
    """The query, where the actor sees it and its record. Raises Forbidden, NotFound."""
    authorize(uow, "read", QUERY)
    table = uow.table(QUERY)
    statement = scope(select(table).where(table.c.id == query_id), uow, "read", QUERY)
    row = (await uow.execute(statement.with_for_update(of=table) if lock else statement)).mappings().first()
    if row is None or not await record_in_scope(uow, "read", row["record_entity"], row["record_id"]):
        raise NotFound(GONE)
    return row


async def say(
    uow: UnitOfWork,
    *,
    query_id: UUID,
    said: str = "",
    step: str | None = None,
    source: Source = Source.WEB,
    mail_id: str | None = None,
) -> Said:
    """Write in a query, take a step of it such as `answer` or `close`, or both at once.

    Raises:
        Forbidden, NotFound: the query or the step is not for the actor.
        ValidationFailed: words are missing, or too many.
        TransitionRefused: the query is closed, or its state does not allow the step.
    """
    authorize(uow, "update", QUERY)
    query = await visible_query(uow, query_id, lock=True)
    said = said.strip()
    if len(said) > MAX_TEXT or unreadable(said):
        words = "A character in it cannot be kept." if unreadable(said) else f"At most {MAX_TEXT} characters."
        raise ValidationFailed([FieldProblem("text", words)])
    if not said and step in (None, "answer"):
        words = "Write your answer." if step else "Write something first."
        raise ValidationFailed([FieldProblem("text", words, "required")])
    if step is None:
        require_open(query)
    number, version = None, query["row_version"]
    if said:
        draft = Draft(said, step, source, mail_id)
        added = await add_message(uow, query, draft, place=place_of_query(query))
        number, version = added.number, added.row_version
        if step is None:  # the step tells of itself, with these words
            subject = f"{uow.actor.name} writes: {query['subject']}"
            told(uow, query, await who_follows(uow, query), subject, said, but=added.mentioned)
    if step is not None:
        version = await take_step(uow, query, step, said or None)
    return Said(number, step, version)


def require_open(query: Query) -> None:
    if query["closed_at"] is not None:
        raise TransitionRefused(
            f"“{query['subject']}” is closed.", guard="state", satisfy="Whoever asked it can reopen it first."
        )


async def take_step(uow: UnitOfWork, query: Query, name: str, comment: str | None) -> int:
    """Take a step of the query's lifecycle; returns the version after it."""
    groups = await my_groups(uow)
    steps = await _offers(uow, {query["id"]: query}, groups)
    offered = {offer.step.name: offer for offer in steps[query["id"]].offers} if query["id"] in steps else {}
    by_role = name in offered and bool(offered[name].step.roles)
    lift = is_party(uow, query, groups) and not by_role
    command = StepCommand(query["id"], name, comment=comment)
    if lift:
        with _reaching(uow):
            outcome = (await transition_records(uow, entity=QUERY, commands=[command]))[0]
    else:
        outcome = (await transition_records(uow, entity=QUERY, commands=[command]))[0]
    if outcome.refusal is not None:
        raise error_of(outcome.refusal, outcome.from_state)
    touch(uow, query)
    return outcome.row_version


async def offered_steps(uow: UnitOfWork, queries: Mapping[UUID, Query]) -> dict[UUID, RecordSteps]:
    """The steps that each of the queries offers to the actor, with a number of statements that does not grow."""
    return await _offers(uow, queries, await my_groups(uow)) if queries else {}


async def _offers(uow: UnitOfWork, queries: Mapping[UUID, Query], groups: frozenset[UUID]) -> dict[UUID, RecordSteps]:
    found = await steps_of_many(uow, entity=QUERY, record_ids=list(queries))
    mine = [id_ for id_, query in queries.items() if is_party(uow, query, groups)]
    if not mine:
        return found
    with _reaching(uow):
        lifted = await steps_of_many(uow, entity=QUERY, record_ids=mine)
    for id_, steps in lifted.items():
        own = {offer.step.name: offer for offer in found[id_].offers} if id_ in found else {}
        offers = tuple(own.get(o.step.name, o) if o.step.roles else o for o in steps.offers)
        found[id_] = replace(steps, offers=offers)
    return found


def is_party(uow: UnitOfWork, query: Query, groups: frozenset[UUID]) -> bool:
    """Whether the actor asked it, or it is asked of them."""
    return query["asker_id"] == uow.actor.id or is_asked(uow, query, groups)


def is_asked(uow: UnitOfWork, query: Query, groups: frozenset[UUID]) -> bool:
    if query["asked_user_id"] is not None:
        return bool(query["asked_user_id"] == uow.actor.id)
    if query["asked_group_id"] is not None:
        return query["asked_group_id"] in groups
    return query["asked_role"] in uow.actor.roles


@contextmanager
def _reaching(uow: UnitOfWork) -> Iterator[None]:
    """The actor's grants, as if they were not limited to a part of the hierarchy: for a step of their own query."""
    former = uow.actor
    uow.actor = replace(former, grants=tuple(replace(g, node_id=None, node_path=None) for g in former.grants))
    try:
        yield
    finally:
        uow.actor = former


async def correct_message(uow: UnitOfWork, *, message_id: UUID, said: str) -> None:
    """Correct one's own words for a quarter of an hour; what stood there before is kept.

    Raises:
        NotFound, Forbidden: there is no such message, or it is somebody else's.
        TransitionRefused: the time is over, or the query is closed.
        ValidationFailed: no words, or too many.
    """
    authorize(uow, "update", QUERY)
    messages = uow.table(MESSAGE)
    owner = await uow.scalar(select(messages.c.query_id).where(messages.c.id == message_id))
    if owner is None:
        raise NotFound("There is no such message, or you may not see it.")
    query = await visible_query(uow, owner, lock=True)
    message = (await uow.execute(select(messages).where(messages.c.id == message_id))).mappings().one()
    said = said.strip()
    if message["author_id"] != uow.actor.id:
        raise Forbidden("Only who wrote a message corrects it.")
    require_open(query)
    if uow.now - message["at"] > EDIT_WINDOW:
        minutes = EDIT_WINDOW // timedelta(minutes=1)
        raise TransitionRefused(
            f"A message can be corrected for {minutes} minutes; that is over.",
            guard="edit_window",
            satisfy="Write another message.",
        )
    if not said or len(said) > MAX_TEXT or unreadable(said):
        words = f"At most {MAX_TEXT} characters." if said else "A message needs words; it cannot be taken back."
        raise ValidationFailed([FieldProblem("text", words)])
    if said == message["text"]:
        return
    named = await names_in(uow, said, place_of_query(query))
    before = {item["id"] for item in message["mentions"] or ()}
    values = {"id": message_id, "text": said, "mentions": as_stored(named), "now": uow.now, "me": uow.actor.id}
    await uow.execute(CORRECT, values)
    fresh = [person.id for _, person in named if str(person.id) not in before]
    told(uow, query, fresh, f"{uow.actor.name} names you: {query['subject']}", said)
    uow.audit(
        AuditEntry(
            command=f"{MESSAGE}.correct",
            entity=QUERY,
            record_id=query["id"],
            before={"message": message["number"], "text": message["text"]},
            after={"message": message["number"], "text": said},
        )
    )
    touch(uow, query)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be different; None stays as it is. `due` empty: no deadline any more."""

    asked: Asked | None = None
    due: str | None = None
    priority: str | None = None
    blocking: bool | None = None

    @property
    def only_passes_on(self) -> bool:
        return self.due is None and self.priority is None and self.blocking is None


async def change_query(uow: UnitOfWork, *, query_id: UUID, expected_version: int, wish: Wish) -> int:
    """Change of whom it is asked, until when, how urgent it is, whether it blocks; returns the new version.

    Who asked it and leads change all of it; who is asked passes it on to somebody else.

    Raises: Forbidden, NotFound, StaleVersion, ValidationFailed; TransitionRefused for a closed query.
    """
    authorize(uow, "update", QUERY)
    query = await visible_query(uow, query_id, lock=True)
    if query["row_version"] != expected_version:
        raise StaleVersion(
            f"“{query['subject']}” has changed since you read it. Read it again and repeat your change.",
            context={"current_version": query["row_version"], "expected_version": expected_version},
        )
    require_open(query)
    await _require_may_change(uow, query, wish)
    process = await lock_process_of(uow, query["process_run_id"]) if query["process_run_id"] else None
    values, people = await _changed(uow, query, wish, process)
    changed = {name: value for name, value in values.items() if query[name] != value}
    if not changed:
        return expected_version
    table = uow.table(QUERY)
    stamp = {"row_version": expected_version + 1, "updated_at": uow.now, "updated_by": uow.actor.id}
    await uow.execute(table.update().where(table.c.id == query_id).values(**changed, **stamp))
    if changed.get("blocking"):
        await require_in_scope(uow, "block", QUERY, query_id)
    if "blocking" in changed and process is not None:
        await recount(uow, process)
    if people:
        subject = f"{uow.actor.name} passes on to you: {query['subject']}"
        told(uow, query, people, subject, "It is asked of you now.")
    shown = [name for name in changed if name != "notice_at"]
    uow.audit(
        AuditEntry(
            command=f"{QUERY}.change",
            entity=QUERY,
            record_id=query_id,
            before={name: query[name] for name in shown},
            after={name: changed[name] for name in shown},
        )
    )
    uow.emit(RecordUpdated(at=uow.now, entity=QUERY, record_id=query_id, fields=tuple(shown)))
    touch(uow, query)
    return expected_version + 1


async def _require_may_change(uow: UnitOfWork, query: Query, wish: Wish) -> None:
    if query["asker_id"] == uow.actor.id or await record_in_scope(uow, "lead", QUERY, query["id"]):
        return
    if wish.only_passes_on and is_asked(uow, query, await my_groups(uow)):
        return
    raise Forbidden("Who asked a query or leads the work changes it; who is asked can pass it on.")


async def _changed(
    uow: UnitOfWork, query: Query, wish: Wish, process: LockedProcess | None
) -> tuple[dict[str, Any], tuple[UUID, ...]]:
    """The columns as they are to be, and whom it is asked of anew."""
    problems: list[FieldProblem] = []
    values: dict[str, Any] = {}
    people: tuple[UUID, ...] = ()
    if wish.asked is not None:
        found, wrong = await asked_people(uow, place_of_query(query), wish.asked)
        problems += wrong
        people = ids_of(found)
        values |= {
            "asked_user_id": wish.asked.user_id,
            "asked_role": wish.asked.role,
            "asked_group_id": wish.asked.group_id,
        }
    if wish.due is not None:
        due_at = None
        if wish.due.strip():
            wrong, due_at = await resolve_due(uow, wish.due.strip(), process)
            problems += wrong
        values |= {"due_at": due_at, "due_said": wish.due.strip() or None, "overdue_at": None}
        values["notice_at"] = reminder_at(uow.now, due_at) if due_at is not None else None
    if wish.priority is not None:
        values["priority"] = wish.priority
        if wish.priority not in tuple(Priority):
            problems.append(FieldProblem("priority", f"One of {', '.join(Priority)}."))
    if wish.blocking is not None:
        values["blocking"] = wish.blocking
        if wish.blocking and (process is None or process.state.closed):
            problems.append(FieldProblem("blocking", "There is no open process that it could hold up."))
    if problems:
        raise ValidationFailed(problems)
    return values, people


async def watch(uow: UnitOfWork, *, query_id: UUID, watching: bool) -> None:
    """Be told of what happens in the query, or not any more. Raises Forbidden, NotFound."""
    query = await visible_query(uow, query_id)
    await uow.execute(WATCH, {"query": query_id, "me": uow.actor.id, "watching": watching, "number": 0, "now": uow.now})
    uow.touch(f"{QUERY}:{query['id']}", f"user:{uow.actor.id}")


async def mark_read(uow: UnitOfWork, *, query_id: UUID) -> None:
    """Note that the actor has read the query up to its latest message. Raises Forbidden, NotFound."""
    if uow.actor.read_only:
        raise Conflict("This access token may only read.")
    query = await visible_query(uow, query_id)
    values = {"query": query_id, "me": uow.actor.id, "watching": None, "number": query["messages"], "now": uow.now}
    await uow.execute(WATCH, values)
    uow.touch(f"user:{uow.actor.id}")
