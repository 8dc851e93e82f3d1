"""Live pages: server-sent events of the topics that a page asks for, as far as the person may see what they are about.

A topic is `entity:<name>` (any record of it), `<entity>:<id>` (one record), `user:<own id>` or `notifications`. Events
carry no data of records: a page that hears one asks again, through its own scope. A page says with `?since=` (ms since
1970, by the clock of the web process that made it) from when on it knows nothing; what was touched since comes first.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import literal, select, union_all
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from admin_views.auth import SESSION_COOKIE
from app.core.errors import InvalidRequest, Unavailable
from app.core.listen import EVERYTHING
from app.core.uow import LIVE_CHANNEL, UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.scope import scope
from app.domain.access.sessions import load_session

if TYPE_CHECKING:
    from admin_views.visit import Visit

MOST_TOPICS = 60
KEEP_ALIVE_SECONDS = 20
MARGIN_SECONDS = 0.1  # the clock of the machine that made the page may differ by as much
NOTIFICATIONS = "notifications"
# Topics whose first word is no entity.
ALIASES = {"run": "workflow_run"}
MOST_WAITING = 1_000


async def live_page(visit: "Visit") -> Response:
    """Stream the topics of `?topics=a,b`; those that the person may not hear are left out without a word."""
    listener = visit.site.listener
    if listener is None:
        raise Unavailable("Live updates are not available at the moment; reload the page to see changes.")
    asked = [topic for topic in dict.fromkeys(visit.request.query_params.get("topics", "").split(",")) if topic]
    if len(asked) > MOST_TOPICS:
        raise InvalidRequest(f"topics: at most {MOST_TOPICS} at once")
    async with visit.uow() as uow:
        topics = await allowed_topics(uow, asked)
    heard: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)

    def hear(payload: str) -> None:
        if heard.full():  # a reader that hangs: one event that says everything replaces what it has missed
            while not heard.empty():
                heard.get_nowait()
            payload = EVERYTHING
        heard.put_nowait(payload)

    unsubscribe = listener.subscribe(LIVE_CHANNEL, hear)
    missed = _missed(visit)
    if missed:
        hear(",".join(missed))
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    stream = _events(visit, topics, heard, unsubscribe)
    return EventSourceResponse(stream, ping=KEEP_ALIVE_SECONDS, headers=headers)


def _missed(visit: "Visit") -> set[str]:
    """What was touched between the making of the page and this connection."""
    since = visit.request.query_params.get("since", "")
    if visit.site.touched is None or not since.isascii() or not since.isdigit():
        return set()
    return visit.site.touched.since(int(since[:15]) / 1_000 - MARGIN_SECONDS)


async def _events(
    visit: "Visit", topics: dict[str, str], heard: "asyncio.Queue[str]", unsubscribe: Any
) -> AsyncIterator[ServerSentEvent]:
    """One event per topic and change. The stream ends with the session: signed out means no more news."""
    try:
        yield ServerSentEvent(comment="connected", retry=2_000)
        while True:
            try:
                payload = await asyncio.wait_for(heard.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                if not await _still_signed_in(visit):
                    return
                continue
            touched = set(payload.split(","))
            for topic, asked in topics.items():
                if EVERYTHING in touched or topic in touched:
                    yield ServerSentEvent(data="{}", event=asked)
    finally:
        unsubscribe()


async def _still_signed_in(visit: "Visit") -> bool:
    """Whether the session is good, without counting as a sign of life: an open page alone must not keep it alive."""
    token = visit.request.cookies.get(SESSION_COOKIE, "")
    async with visit.uow() as uow:
        return await load_session(uow, token=token, ip=visit.actor.ip) is not None


async def allowed_topics(uow: UnitOfWork, asked: Sequence[str]) -> dict[str, str]:
    """Topic as it is touched -> as the page named it, for those that the actor may hear; at most one statement."""
    allowed: dict[str, str] = {}
    records: list[tuple[str, str, str, UUID]] = []
    for topic in asked:
        kind, _, rest = topic.partition(":")
        if topic == NOTIFICATIONS or (kind == "user" and rest == str(uow.actor.id)):
            allowed[f"user:{uow.actor.id}"] = topic
        elif kind == "entity":
            if decide(uow.resources.policy, uow.registry, uow.actor, "read", rest) is not None:
                allowed[topic] = topic
        elif kind != "user" and ALIASES.get(kind, kind) in uow.registry.entities:
            try:
                records.append((topic, topic, ALIASES.get(kind, kind), UUID(rest)))
            except ValueError:
                continue
    visible = await _visible(uow, {(entity, id_) for _, _, entity, id_ in records})
    return allowed | {topic: name for topic, name, entity, id_ in records if (entity, id_) in visible}


async def _visible(uow: UnitOfWork, records: set[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
    """Which of these records the actor may read."""
    parts = []
    for entity in {entity for entity, _ in records}:
        if decide(uow.resources.policy, uow.registry, uow.actor, "read", entity) is None:
            continue
        table = uow.table(entity)
        ids = [id_ for name, id_ in records if name == entity]
        statement = select(literal(entity).label("entity"), table.c.id.label("id")).where(table.c.id.in_(ids))
        parts.append(scope(statement, uow, "read", entity, table))
    if not parts:
        return set()
    return {(row.entity, row.id) for row in await uow.execute(union_all(*parts))}
