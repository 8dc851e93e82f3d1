"""The messages of a query: adding one, with whom it names and who is told; nothing is ever deleted."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.uow import UnitOfWork
from app.domain.lifecycles.events import RecordNoticeWanted
from app.domain.support.query_people import Place, ids_of, people_at
from app.domain.support.query_rules import QUERY, Person, Source, handles_in, mentioned
from models.base import uuid7

Query = Mapping[Any, Any]  # a row of process_query

# The query is locked, so its next number is nobody else's. Whoever writes or is named watches from then on.
ADD = text(
    """
WITH counted AS (
    UPDATE process_query SET
        messages = messages + 1, last_message_at = :now, row_version = row_version + 1, updated_at = :now,
        updated_by = :author
    WHERE id = :query
    RETURNING messages, row_version
), added AS (
    INSERT INTO query_message (id, row_version, created_at, created_by, updated_at, updated_by, query_id, number,
                               author_id, text, at, step, mentions, source, mail_id)
    SELECT :id, 1, :now, :author, :now, :author, :query, c.messages, :author, :text, :now, :step, :mentions,
           :source, :mail_id
    FROM counted c
), watching AS (
    INSERT INTO process_query_person (id, row_version, created_at, created_by, updated_at, updated_by, query_id,
                                      user_id, watching, read_number)
    SELECT uuidv7(), 1, :now, :author, :now, :author, :query, w.id, true,
           CASE WHEN w.id = :author THEN c.messages ELSE 0 END
    FROM counted c, unnest(:watchers) AS w (id)
    ON CONFLICT (query_id, user_id) DO UPDATE SET
        read_number = greatest(process_query_person.read_number, excluded.read_number), watching = true,
        row_version = process_query_person.row_version + 1, updated_at = :now, updated_by = :author
)
SELECT messages, row_version FROM counted
"""
).bindparams(bindparam("mentions", type_=JSONB(none_as_null=True)), bindparam("watchers", type_=ARRAY(Uuid)))
READ_WATCHERS = text(
    """
SELECT ARRAY(SELECT p.user_id FROM process_query_person p WHERE p.query_id = :query AND p.watching)
"""
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is to be added. `step`: what is done with it; `mail_id`: the Message-ID it came with."""

    text: str
    step: str | None = None
    source: Source = Source.WEB
    mail_id: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    id: UUID
    number: int
    mentioned: tuple[UUID, ...]
    row_version: int  # of the query


async def add_message(
    uow: UnitOfWork, query: Query, draft: Draft, *, place: Place, watchers: Iterable[UUID] = ()
) -> Added:
    """Add it to a query that is locked or new, and tell those whom it names; only who sees the query is named."""
    said = draft.text.strip()
    named = await names_in(uow, said, place)
    id_, ids = uuid7(), tuple(dict.fromkeys(person.id for _, person in named))
    author = uow.actor.id
    values = {
        "id": id_,
        "query": query["id"],
        "author": author,
        "text": said,
        "step": draft.step,
        "mentions": as_stored(named),
        "source": draft.source.value,
        "mail_id": draft.mail_id,
        "watchers": list(dict.fromkeys((*([author] if author else []), *watchers, *ids))),
        "now": uow.now,
    }
    counted = (await uow.execute(ADD, values)).one()
    subject = f"{uow.actor.name} names you: {query['subject']}"
    told(uow, query, ids, subject, said)
    touch(uow, query)
    return Added(id_, counted.messages, ids, counted.row_version)


async def names_in(uow: UnitOfWork, said: str, place: Place) -> list[tuple[str, Person]]:
    """Handle and person, for everybody whom the text names and who sees the query; no statement where nobody is."""
    return mentioned(said, await people_at(uow, place)) if handles_in(said) else []


def as_stored(named: Iterable[tuple[str, Person]]) -> list[dict[str, str]] | None:
    return [{"handle": handle, "id": str(person.id), "name": person.name} for handle, person in named] or None


async def who_follows(uow: UnitOfWork, query: Query) -> tuple[UUID, ...]:
    """Who asked it, the person who is asked and those who watch it, as far as they still see it."""
    watching = await uow.scalar(READ_WATCHERS, {"query": query["id"]})
    users = [id_ for id_ in (query["asker_id"], query["asked_user_id"], *watching) if id_ is not None]
    return ids_of(await people_at(uow, place_of_query(query), users=users))


def told(
    uow: UnitOfWork, query: Query, users: Iterable[UUID], subject: str, said: str, *, but: Collection[UUID] = ()
) -> None:
    """Tell these people, each once, without the actor and without those who are told otherwise."""
    ids = tuple(id_ for id_ in dict.fromkeys(users) if id_ != uow.actor.id and id_ not in but)
    if not ids:
        return
    uow.emit(
        RecordNoticeWanted(
            at=uow.now,
            entity=QUERY,
            record_id=query["id"],
            title=query["subject"],
            roles=(),
            user_ids=ids,
            subject=subject[:300],
            text=said[:2_000],
        )
    )


def touch(uow: UnitOfWork, query: Query) -> None:
    """Let open pages that show the query draw it anew."""
    uow.touch(f"entity:{QUERY}", f"{QUERY}:{query['id']}", f"{query['record_entity']}:{query['record_id']}")


def place_of_query(query: Query) -> Place:
    return Place(query["application_id"], query["node_id"], query["record_entity"])
