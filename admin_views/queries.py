"""Pages of queries: those that concern me, one with its thread, and the form that asks; and the parts they load.

A change that is refused shows the query's own page with the reason and what was typed.
"""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from admin_views import query_view
from admin_views.navigation import record_path
from admin_views.pages import PageRoute
from admin_views.query_view import Drawing, Refused
from admin_views.visit import Visit, json_answer, record_id
from app.core.errors import (
    FieldProblem,
    InvalidRequest,
    NotFound,
    StepsError,
    Unauthenticated,
    ValidationFailed,
)
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope
from app.domain.documents.evidence import place_of
from app.domain.documents.files import attach_file
from app.domain.entities.queries import get_record
from app.domain.support.query_asking import NewQuery, ask_query
from app.domain.support.query_people import Place, choices_at, people_at
from app.domain.support.query_reading import Part, Standing, asked_of_me, list_queries, thread_of, threads_of
from app.domain.support.query_rules import PROCESS, QUERY, Asked
from app.domain.support.query_thread import Wish, change_query, correct_message, mark_read, say, watch

GONE = "There is no such query, or you may not see it."
NO_RECORD = "There is no such record, or you may not see it."
CHUNK = 1 << 16
NOT_BESIDE_THE_FIELD = (Unauthenticated, NotFound)
PARTS = ((Part.ASKED, "Asked of me"), (Part.MINE, "Asked by me"), (Part.WATCHED, "Watched"), (Part.ALL, "All"))
STANDINGS = (("", "Not closed"), ("open", "Open"), ("answered", "Answered"), ("closed", "Closed"))


async def queries_page(visit: Visit) -> Response:
    """Queries by whom they concern; `?part= &standing= &q=`."""
    given = visit.request.query_params
    part = Part(given.get("part", Part.ASKED)) if given.get("part", Part.ASKED) in tuple(Part) else Part.ASKED
    said = given.get("standing", "")
    standing = Standing(said) if said in tuple(Standing) else None
    search = given.get("q", "").strip()[:200]
    async with visit.uow() as uow:
        found = await list_queries(uow, part=part, standing=standing, search=search)
        drawing = _drawing(visit, uow)

        def href(**changed: str) -> str:
            wanted = {"part": part.value, "standing": said, "q": search, **changed}
            kept = {name: value for name, value in wanted.items() if value and (name, value) != ("part", Part.ASKED)}
            return "/queries" + (f"?{urlencode(kept)}" if kept else "")

        page = {
            "own_href": href(),
            "everything_href": "/queries?part=all",
            "parts": [
                {"label": label, "href": href(part=one.value), "current": one is part, "count": found.counts[one]}
                for one, label in PARTS
            ],
            "standings": [
                {"label": label, "href": href(standing=value), "current": value == said} for value, label in STANDINGS
            ],
            "search": search,
            "part": part.value,
            "standing": said,
            "rows": [query_view.head(drawing, one) for one in found.queries],
            "more": found.more,
            "me": str(visit.actor.id),
            "plain": part is Part.ASKED and standing is None and not search,
        }
        return await visit.page(uow, "steps/queries.html", "Queries", page=page)


async def query_page(visit: Visit) -> Response:
    """One query. 404 for one that is out of scope."""
    return await _show(visit, _id(visit))


async def new_page(visit: Visit) -> Response:
    """The form that asks about a record: `?entity= &id=`; sent, it asks."""
    if visit.request.method == "GET":
        given = visit.request.query_params
        return await _form(visit, _record(visit, given.get("entity", ""), given.get("id", "")))
    form = await visit.form()
    record = _record(visit, _text(form, "entity"), _text(form, "id"))
    names = ("subject", "text", "asked", "priority", "due", "due_at")
    typed = {name: _text(form, name) for name in names}
    typed["blocking"] = "on" if "blocking" in form else ""
    try:
        async with visit.uow() as uow:
            new = NewQuery(
                typed["subject"],
                typed["text"],
                _asked(typed["asked"]) or Asked(),
                bool(typed["blocking"]),
                typed["priority"] or "normal",
                _due(visit, typed["due_at"]) or typed["due"] or None,
            )
            asked = await ask_query(uow, record=record, new=new)
            await _attach(uow, form, asked.id, 1)
    except NOT_BESIDE_THE_FIELD:
        raise
    except StepsError as error:
        return await _form(visit, record, Refused(error, typed))
    entity = visit.runtime.registry.entity(record[0])
    back = f"{record_path(entity, record[1])}#queries" if record[0] == PROCESS else f"/queries/{asked.id}"
    return visit.go(back, flash=f"{asked.reference} is asked.")


async def message_page(visit: Visit) -> Response:
    """Write in a query, or take a step of it; a file goes with the words."""
    id_, form = _id(visit), await visit.form()
    said, step = _text(form, "text"), _text(form, "step") or None
    try:
        async with visit.uow() as uow:
            upload = _upload(form)
            if upload is not None and not said:
                raise ValidationFailed([FieldProblem("text", "Say what the file is.", "required")])
            done = await say(uow, query_id=id_, said=said, step=step)
            if done.number is not None:
                await _attach(uow, form, id_, done.number)
    except NOT_BESIDE_THE_FIELD:
        raise
    except StepsError as error:
        return await _show(visit, id_, Refused(error, {"text": said}))
    return await _back(visit, form, id_)


async def correct_page(visit: Visit) -> Response:
    """Correct one's own words."""
    id_, form = _id(visit), await visit.form()
    message_id = record_id(visit.request, "message_id")
    if message_id is None:
        raise NotFound(GONE)
    try:
        async with visit.uow() as uow:
            await correct_message(uow, message_id=message_id, said=_text(form, "text"))
    except NOT_BESIDE_THE_FIELD:
        raise
    except StepsError as error:
        return await _show(visit, id_, Refused(error))
    return await _back(visit, form, id_)


async def change_page(visit: Visit) -> Response:
    """Change of whom it is asked, until when, how urgent it is, whether it blocks."""
    id_, form = _id(visit), await visit.form()
    version = _text(form, "version")
    if not version.isdecimal() or len(version) > 18:
        raise InvalidRequest("The form has lost the version of the query. Reload the page and repeat your change.")
    whole = "priority" in form
    wish = Wish(
        asked=_asked(_text(form, "asked")),
        due=(_due(visit, _text(form, "due_at")) or "") if whole else None,
        priority=_text(form, "priority") if whole else None,
        blocking="blocking" in form if whole else None,
    )
    try:
        async with visit.uow() as uow:
            await change_query(uow, query_id=id_, expected_version=int(version), wish=wish)
    except NOT_BESIDE_THE_FIELD:
        raise
    except StepsError as error:
        return await _show(visit, id_, Refused(error))
    return visit.go(f"/queries/{id_}", flash="The query is changed.")


async def watch_page(visit: Visit) -> Response:
    """Be told of what happens in it, or not any more."""
    id_, form = _id(visit), await visit.form()
    watching = _text(form, "watching") == "yes"
    async with visit.uow() as uow:
        await watch(uow, query_id=id_, watching=watching)
    return visit.go(f"/queries/{id_}", flash="You are told of it." if watching else "You are not told of it any more.")


async def read_page(visit: Visit) -> Response:
    """Note that it was read to its end."""
    async with visit.uow() as uow:
        await mark_read(uow, query_id=_id(visit))
    return json_answer({"read": True})


async def people_page(visit: Visit) -> Response:
    """Who can be named in a text about a record, for the completion of @."""
    async with visit.uow() as uow:
        place = await _place(visit, uow)
        people = await people_at(uow, place)
    return json_answer({"items": [{"handle": p.handle, "name": p.name, "id": str(p.id)} for p in people]})


async def choices_page(visit: Visit) -> Response:
    """Of whom a query about a record can be asked, as options."""
    async with visit.uow() as uow:
        authorize(uow, "update", QUERY)
        found = await choices_at(uow, await _place(visit, uow))
    groups = query_view.choices(found, visit.request.query_params.get("chosen", ""))
    return visit.fragment("steps/_query_choices.html", groups=groups)


# -- for other pages ---------------------------------------------------------------------------------------------------


async def on_process(visit: Visit, uow: UnitOfWork, process_run_id: UUID, *, some: bool) -> dict[str, Any] | None:
    """The queries about a process that was read, for its page; None for who reads none. `some`: there are any."""
    if visit.may("read", QUERY) is None:
        return None
    drawing = _drawing(visit, uow)
    threads = await threads_of(uow, record=(PROCESS, process_run_id), seen=True) if some else ()
    drawn = [query_view.thread(drawing, one) for one in threads]
    asks = visit.may("ask", QUERY) is not None
    return {
        "summary": query_view.summary(threads),
        "open": [one for one in drawn if not one["closed"]],
        "closed": [one for one in drawn if one["closed"]],
        "ask_href": f"/queries/new?entity={PROCESS}&id={process_run_id}" if asks else None,
    }


async def on_home(visit: Visit, uow: UnitOfWork) -> dict[str, Any]:
    """What waits for an answer of the visitor, for Home."""
    found, total = await asked_of_me(uow)
    drawing = _drawing(visit, uow)
    return {"rows": [query_view.head(drawing, one) for one in found], "total": total}


# -- drawing -----------------------------------------------------------------------------------------------------------


async def _show(visit: Visit, id_: UUID, refused: Refused | None = None) -> Response:
    async with visit.uow() as uow:
        found = await thread_of(uow, query_id=id_)
        drawn = query_view.thread(_drawing(visit, uow), found, refused)
        status = refused.error.status if refused is not None else 200
        title = f"{drawn['reference']} {drawn['subject']}"
        return await visit.page(
            uow, "steps/query.html", title, status=status, q=drawn, priorities=query_view.PRIORITIES
        )


async def _form(visit: Visit, record: tuple[str, UUID], refused: Refused | None = None) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "ask", QUERY)
        entity = visit.runtime.registry.entity(record[0])
        shown = await get_record(uow, record[0], record[1], lines=False)
        typed = dict(refused.typed) if refused is not None else {}
        place = await _place_of(visit, uow, record)
        names = ("subject", "text", "asked", "priority", "due", "blocking")
        page = {
            "entity": record[0],
            "id": str(record[1]),
            "about": str(shown.records[0].get(entity.title_field) or entity.label),
            "back": record_path(entity, record[1]),
            "groups": query_view.choices(await choices_at(uow, place), typed.get("asked", "")),
            "may_block": record[0] == PROCESS and visit.may("block", QUERY) is not None,
            "priorities": query_view.PRIORITIES,
            "typed": {"priority": "normal", **typed},
            "errors": {name: refused.of(name) if refused is not None else "" for name in names},
            "error": refused.above if refused is not None else "",
            "people_href": f"/queries/people?entity={record[0]}&id={record[1]}",
            "zone": visit.formats.zone_name(uow.now),
        }
        status = refused.error.status if refused is not None else 200
        return await visit.page(uow, "steps/query_new.html", "Ask a query", status=status, page=page)


def _drawing(visit: Visit, uow: UnitOfWork) -> Drawing:
    return Drawing(visit.runtime.registry, visit.formats, uow.now, visit.actor.id)


# -- reading what was sent ---------------------------------------------------------------------------------------------


async def _place(visit: Visit, uow: UnitOfWork) -> Place:
    given = visit.request.query_params
    record = _record(visit, given.get("entity", ""), given.get("id", ""))
    await require_in_scope(uow, "read", *record)
    return await _place_of(visit, uow, record)


async def _place_of(visit: Visit, uow: UnitOfWork, record: tuple[str, UUID]) -> Place:
    node_id, application_id = await place_of(uow, visit.runtime.registry.entity(record[0]), record[1])
    return Place(application_id, node_id, record[0])


def _record(visit: Visit, entity: str, id_: str) -> tuple[str, UUID]:
    if entity not in visit.runtime.registry.entities:
        raise NotFound(NO_RECORD)
    try:
        return entity, UUID(id_)
    except ValueError:
        raise NotFound(NO_RECORD) from None


async def _back(visit: Visit, form: FormData, id_: UUID) -> Response:
    """To the process, where it was done there; else to the query."""
    place = _text(form, "back")
    try:
        return visit.go(f"/processes/{UUID(place)}#queries")
    except ValueError:
        return visit.go(f"/queries/{id_}")


def _asked(value: str) -> Asked | None:
    """`user:<id>`, `role:<code>` or `group:<id>`; None for nobody."""
    kind, _, what = value.partition(":")
    try:
        match kind:
            case "user":
                return Asked(user_id=UUID(what))
            case "role" if what:
                return Asked(role=what)
            case "group":
                return Asked(group_id=UUID(what))
    except ValueError:
        return None
    return None


def _due(visit: Visit, wall: str) -> str:
    return visit.formats.from_wall(wall) if wall else ""


def _upload(form: FormData) -> UploadFile | None:
    upload = form.get("file")
    return upload if isinstance(upload, UploadFile) and upload.filename else None


async def _attach(uow: UnitOfWork, form: FormData, query_id: UUID, number: int) -> None:
    upload = _upload(form)
    if upload is None:
        return
    await attach_file(
        uow,
        record=(QUERY, query_id),
        name=upload.filename or "",
        content=_chunks(upload),
        purpose=f"message_{number}",
        media_type=upload.content_type,
    )


async def _chunks(upload: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await upload.read(CHUNK):
        yield chunk


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound(GONE)
    return id_


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""


ROUTES = (
    PageRoute("/queries", queries_page),
    PageRoute("/queries/new", new_page, ("GET", "POST")),
    PageRoute("/queries/people", people_page),
    PageRoute("/queries/choices", choices_page),
    PageRoute("/queries/{id}", query_page),
    PageRoute("/queries/{id}/messages", message_page, ("POST",)),
    PageRoute("/queries/{id}/messages/{message_id}", correct_page, ("POST",)),
    PageRoute("/queries/{id}/change", change_page, ("POST",)),
    PageRoute("/queries/{id}/watching", watch_page, ("POST",)),
    PageRoute("/queries/{id}/read", read_page, ("POST",)),
)
