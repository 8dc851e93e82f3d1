"""Ask: a query about a process, or about any record that the asker may read."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, InvalidRequest, ValidationFailed
from app.core.events import RecordCreated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.store import calendar_of_id
from app.domain.documents.evidence import place_of
from app.domain.entities.numbering import next_references
from app.domain.entities.queries import variables
from app.domain.entities.record_states import add_first_state
from app.domain.support.query_blocking import LockedProcess, lock_process_of, recount
from app.domain.support.query_messages import Draft, add_message, told
from app.domain.support.query_people import Place, ids_of, people_at, roles_that
from app.domain.support.query_rules import (
    MAX_SUBJECT,
    MAX_TEXT,
    PROCESS,
    QUERY,
    Asked,
    Person,
    Priority,
    Source,
    due_instant,
    reminder_at,
    unreadable,
)
from models.base import uuid7
from models.schema import EntityKind

Record = tuple[str, UUID]  # entity, id


@dataclass(frozen=True, slots=True)
class NewQuery:
    """What is asked. `due`: an instant, PT4H on the calendar, or a deadline formula."""

    subject: str
    text: str
    asked: Asked
    blocking: bool = False
    priority: str = Priority.NORMAL
    due: str | None = None


@dataclass(frozen=True, slots=True)
class AskedQuery:
    id: UUID
    reference: str
    row_version: int


async def ask_query(uow: UnitOfWork, *, record: Record, new: NewQuery, source: Source = Source.WEB) -> AskedQuery:
    """Ask about a record; whoever is asked or named in the text is told.

    Raises:
        Forbidden, NotFound: the actor may not ask, may not see the record, or may not hold up its process.
        ValidationFailed: what is missing, or cannot be asked of whom.
        InvalidRequest: nothing can be asked about records of this kind.
    """
    decision = authorize(uow, "ask", QUERY)
    entity_name, record_id = record
    definition = uow.registry.entities.get(entity_name)
    if definition is None or definition.kind is EntityKind.CHILD or entity_name == QUERY:
        raise InvalidRequest(f"Nothing can be asked about records of “{entity_name}”.")
    await require_in_scope(uow, "read", entity_name, record_id)
    process = await lock_process_of(uow, record_id) if entity_name == PROCESS else None
    node_id, application_id = await place_of(uow, definition, record_id)
    if node_id is None and application_id is None:
        raise InvalidRequest(f"{definition.label_plural} belong to no application, so nobody can be asked about them.")
    place = Place(application_id, node_id, entity_name)
    problems, due_at = await _due(uow, new.due, process)
    problems += _text_problems(new) + _block_problems(new.blocking, process)
    people, wrong = await asked_people(uow, place, new.asked)
    if problems or wrong:
        raise ValidationFailed([*problems, *wrong])
    entity = uow.registry.entity(QUERY)
    state: dict[str, object] = {}
    add_first_state(uow, entity, state, variables(uow))
    if not state:
        raise Conflict("No lifecycle for queries is published, so none can be asked.")
    reference = (await next_references(uow, entity, 1))[0]
    row = {
        "id": uuid7(),
        "row_version": 1,
        "created_at": uow.now,
        "created_by": uow.actor.id,
        "updated_at": uow.now,
        "updated_by": uow.actor.id,
        "reference": reference,
        "subject": new.subject.strip(),
        "record_entity": entity_name,
        "record_id": record_id,
        "process_run_id": process.id if process is not None else None,
        "node_id": node_id,
        "application_id": application_id,
        "asker_id": uow.actor.id,
        "asked_user_id": new.asked.user_id,
        "asked_role": new.asked.role,
        "asked_group_id": new.asked.group_id,
        "priority": str(new.priority),
        "blocking": new.blocking,
        "due_at": due_at,
        "due_said": new.due if due_at is not None else None,
        "notice_at": reminder_at(uow.now, due_at) if due_at is not None else None,
        "messages": 0,
        "lifecycle_state": state["lifecycle_state"],
        "lifecycle_version_id": state["lifecycle_version"],
    }
    result = await uow.execute(insert(uow.table(QUERY)).values(**row).returning(*uow.table(QUERY).c))
    query = result.mappings().one()
    if new.blocking:
        await require_in_scope(uow, "block", QUERY, query["id"])
    draft = Draft(new.text, source=source)
    added = await add_message(uow, query, draft, place=place, watchers=ids_of(people) if new.asked.user_id else ())
    blocks = " It keeps the process open until it is answered." if new.blocking else ""
    subject = f"{uow.actor.name} asks: {new.subject.strip()}"
    told(uow, query, ids_of(people), subject, f"{new.text.strip()}{blocks}", but=added.mentioned)
    if process is not None:
        await recount(uow, process)
    shown = ("subject", "record_entity", "record_id", "asked_user_id", "asked_role", "asked_group_id", "priority")
    after = {name: query[name] for name in (*shown, "blocking", "due_at") if query[name] is not None}
    uow.audit(
        AuditEntry(
            command=f"{QUERY}.ask",
            entity=QUERY,
            record_id=query["id"],
            after=after,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.emit(RecordCreated(at=uow.now, entity=QUERY, record_id=query["id"]))
    uow.touch(f"entity:{QUERY}", f"{entity_name}:{record_id}")
    return AskedQuery(query["id"], reference, added.row_version)


async def asked_people(uow: UnitOfWork, place: Place, asked: Asked) -> tuple[list[Person], list[FieldProblem]]:
    """Those who are to answer, without the actor; or why it cannot be asked of them."""
    if not asked.complete:
        return [], [FieldProblem("asked", "Say whom you ask: one person, one role or one group.", "required")]
    if asked.user_id is not None and asked.user_id == uow.actor.id:
        return [], [FieldProblem("asked", "You cannot ask yourself.")]
    if asked.role is not None and asked.role not in roles_that(uow, "update"):
        return [], [FieldProblem("asked", f"The role {asked.role} answers no queries; choose another.")]
    users = None if asked.user_id is None else [asked.user_id]
    found = await people_at(uow, place, role=asked.role, group_id=asked.group_id, users=users, action="update")
    others = [person for person in found if person.id != uow.actor.id]
    if others:
        return others, []
    if asked.user_id is not None:
        why = "This person may not see the record or may not answer; ask somebody who works there."
    elif asked.role is not None:
        why = f"Nobody else has the role {asked.role} there; ask somebody else."
    else:
        why = "Nobody else of this group may see the record; ask somebody else."
    return [], [FieldProblem("asked", why)]


async def calendar_for(uow: UnitOfWork, process: LockedProcess | None) -> Calendar | None:
    """The calendar of the process's workflow; other records have none."""
    return None if process is None else await calendar_of_id(uow, process.calendar_id)


async def _due(
    uow: UnitOfWork, said: str | None, process: LockedProcess | None
) -> tuple[list[FieldProblem], datetime | None]:
    said = (said or "").strip()
    if not said:
        return [], None
    return await resolve_due(uow, said, process)


async def resolve_due(
    uow: UnitOfWork, said: str, process: LockedProcess | None
) -> tuple[list[FieldProblem], datetime | None]:
    """The instant that is meant, or what is wrong with the words."""
    calendar = await calendar_for(uow, process)
    business_date = process.business_date if process is not None else None
    try:
        return [], due_instant(said, now=uow.now, calendar=calendar, business_date=business_date)
    except ValueError as error:
        return [FieldProblem("due", str(error))], None


def _text_problems(new: NewQuery) -> list[FieldProblem]:
    problems = []
    for path, value, most in (("subject", new.subject, MAX_SUBJECT), ("text", new.text, MAX_TEXT)):
        if not value.strip():
            words = "Say in a few words what it is about." if path == "subject" else "Write your question."
            problems.append(FieldProblem(path, words, "required"))
        elif len(value) > most:
            problems.append(FieldProblem(path, f"At most {most} characters.", "too_long"))
        elif unreadable(value):
            problems.append(FieldProblem(path, "A character in it cannot be kept; write it again."))
    if new.priority not in tuple(Priority):
        problems.append(FieldProblem("priority", f"One of {', '.join(Priority)}."))
    return problems


def _block_problems(blocking: bool, process: LockedProcess | None) -> list[FieldProblem]:
    if not blocking:
        return []
    if process is None:
        return [FieldProblem("blocking", "Only a query about a process can hold it up.")]
    if process.state.closed:
        return [FieldProblem("blocking", f"“{process.label}” is {process.state.label.lower()}: nothing is held up.")]
    return []
