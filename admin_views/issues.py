"""One issue with its thread and what stands around it, and the commands on it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from admin_views import issue_pages, issue_raising, issue_view
from admin_views.form_values import given_values, read_posted
from admin_views.issue_view import HREF
from admin_views.pages import PageRoute
from admin_views.process import _chunks
from admin_views.record_step_pages import said
from admin_views.record_steps import RefusedStep, follows_lifecycle, step_model, steps_log, steps_panel
from admin_views.visit import Visit, record_id
from app.core.errors import Conflict, FieldProblem, NotFound, StaleVersion, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import record_in_scope, scope
from app.domain.documents.files import StoredFile, attach_file, list_files
from app.domain.entities.queries import Page, get_record
from app.domain.entities.service import update_record
from app.domain.lifecycles.transitions import transition_record
from app.domain.sla.queries import clocks_of
from app.domain.support.issue_links import ISSUE, JOB, PROCESS, RUN, Record, link_records, linkable, unlink_record
from app.domain.support.issue_messages import MESSAGE, may_write_internally, post_message, thread
from app.domain.support.issue_queries import IssueLine, around, find_issue, lifecycles_of_lines
from app.domain.support.issue_similar import similar_issues
from app.domain.support.issues import merge_issue, take_issue, watch

OWN = frozenset({"csrf_token", "row_version", "comment"})
# Refusals by permission are answered by a page of their own, which puts them on record.
SHOWN = (StaleVersion, ValidationFailed, Conflict)
# The pages whose addresses can be pasted as links; every other record is at /data/<slug>/<id>.
PAGES = {"processes": PROCESS, "runs": RUN, "jobs": JOB}

Change = Callable[[UnitOfWork], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that was refused: `place` on the page, and what was typed there."""

    place: str
    error: StepsError
    typed: Mapping[str, str]


async def issue_page(visit: Visit) -> Response:
    """One issue. 404 for one that is out of scope."""
    return await _show(visit, _id(visit))


async def _show(
    visit: Visit, id_: UUID, *, step: RefusedStep | None = None, refused: Refused | None = None
) -> Response:
    view = visit.site.views_by_slug["issues"]
    async with visit.uow() as uow:
        found = await get_record(uow, ISSUE, id_, titles=True)
        record, titles = found.records[0], found.titles[0]
        near = await around(uow, issue_id=id_)
        messages = await thread(uow, issue_id=id_)
        files = await _files(uow, [message.id for message in messages])
        lifecycles = await lifecycles_of_lines(uow, (*near.parts, *near.merged))
        clocks = []
        if visit.may("read", "sla_clock") is not None:
            clocks = await clocks_of(uow, record_entity=ISSUE, record_ids=[id_])
        steps, problem = None, None
        if follows_lifecycle(view.entity, record):
            try:
                steps = await steps_panel(visit, view, uow, found, refused=step)
            except Conflict as error:  # its lifecycle does not fit any more; the issue is still there to be read
                problem = error.detail
        if steps is not None:
            # Merging has a dialog of its own, in which the number of the other issue is enough.
            merging = next((action for action in steps["actions"] if action["name"] == "merge"), None)
            steps["actions"] = [action for action in steps["actions"] if action["name"] != "merge"]
            for action in steps["actions"]:
                action["href"] = f"{HREF}/{id_}/steps/{action['name']}"
            # One of the buttons stands out: the first that leads on.
            for action in [a for a in steps["actions"] if a["allowed"] and a["primary"]][1:]:
                action["primary"] = False
        else:
            merging = None
        may_update = await record_in_scope(uow, "update", ISSUE, id_)
        is_open = record["resolved_at"] is None and record["closed_at"] is None
        page = {
            "id": str(id_),
            "href": f"{HREF}/{id_}",
            "reference": record["reference"],
            "title": record["title"],
            "description": record.get("description") or "",
            "state": steps["state"] if steps else None,
            "priority": issue_view.priority_chip(record.get("priority")),
            "reason": record.get("impact_reason") or "",
            "blocking": record["blocking"],
            "is_open": is_open,
            "version": record["row_version"],
            "merged_into": _merged_into(found),
            "parent": _reference(found, "parent"),
            "steps": steps,
            "problem": problem,
            "merge": merging if merging and merging["allowed"] else None,
            "facts": issue_view.facts(visit, uow, record, titles, view.entity),
            "clocks": issue_view.clocks(visit, uow, clocks),
            "solution": issue_view.solution(record, view.entity),
            "thread": issue_view.thread(visit, uow, messages, files, record.get("requester")),
            "links": await issue_view.links(visit, uow, id_, near.links),
            "parts": [_card(visit, uow, line, lifecycles) for line in near.parts],
            "merged": [_card(visit, uow, line, lifecycles) for line in near.merged],
            "similar": issue_view.similar(
                await similar_issues(uow, title=record["title"], besides=[id_, *(line.id for line in near.merged)])
            )
            if is_open
            else [],
            "watching": issue_view.watching(visit, near),
            "log": await steps_log(visit, uow, view.entity, id_),
            "may_write": may_update and record.get("merged_into") is None,
            "may_internal": await may_write_internally(uow, id_),
            "may_update": may_update and is_open,
            "may_hold": may_update and is_open and visit.may("transition:hold", PROCESS) is not None,
            "mine": record.get("assignee") == visit.actor.id,
            "edit_href": f"/data/issues/{id_}/edit" if may_update and is_open else None,
            "history_href": f"/data/issues/{id_}?tab=history",
            "topic": f"{ISSUE}:{id_}",
            "refused": {"place": refused.place, "text": refused.error.detail, **refused.typed} if refused else None,
        }
        wrong = step.error if step is not None else refused.error if refused is not None else None
        title = f"{record['reference']} {record['title']}"
        return await visit.page(uow, "steps/issue.html", title, page=page, status=wrong.status if wrong else 200)


def _card(visit: Visit, uow: UnitOfWork, line: IssueLine, lifecycles: Mapping[UUID, Any]) -> dict[str, Any]:
    lifecycle = lifecycles.get(line.version_id) if line.version_id is not None else None
    return issue_view.card(visit, line, lifecycle, now=uow.now)


def _merged_into(found: Page) -> dict[str, str] | None:
    return _reference(found, "merged_into")


def _reference(found: Page, name: str) -> dict[str, str] | None:
    id_ = found.records[0].get(name)
    title = found.titles[0].get(name) if found.titles else None
    return {"href": f"{HREF}/{id_}", "label": title or "another issue"} if id_ else None


async def _files(uow: UnitOfWork, message_ids: list[UUID]) -> dict[UUID, list[StoredFile]]:
    """The files of the messages that have some."""
    if not message_ids or not uow.registry.entities.get("file"):
        return {}
    f = uow.table("file")
    with_files = await uow.execute(
        select(f.c.record_id)
        .where(f.c.record_entity == MESSAGE, f.c.record_id.in_(message_ids), f.c.deleted_at.is_(None))
        .distinct()
    )
    return {id_: await list_files(uow, record=(MESSAGE, id_)) for id_ in with_files.scalars().all()}


# -- commands ----------------------------------------------------------------------------------------------------------


async def step_page(visit: Visit) -> Response:
    """Take a step of the lifecycle; `row_version` is the one on which the person decided."""
    id_, form = _id(visit), await visit.form()
    name, comment = visit.request.path_params["name"], _text(form, "comment")
    entity = visit.runtime.registry.entity(ISSUE)
    async with visit.uow() as uow:
        found = await get_record(uow, ISSUE, id_)
    names = [field.name for field in entity.fields if field.name in form and field.name not in OWN]
    model = step_model(visit.runtime.registry, entity, names)
    posted = read_posted(model, form)
    posted.extra.pop("comment", None)
    try:
        values = given_values(model, posted, visit.formats, record=found.records[0])
        if values.problems:
            raise ValidationFailed(values.problems)
        async with visit.uow() as uow:
            done = await transition_record(
                uow,
                entity=ISSUE,
                record_id=id_,
                name=name,
                expected_version=_version(form),
                comment=comment or None,
                values=values.values,
            )
    except SHOWN as error:
        return await _show(visit, id_, step=RefusedStep(name, _now_shown(error), comment, posted))
    return visit.go(f"{HREF}/{id_}", flash=said(done))


async def message_page(visit: Visit) -> Response:
    """Say something, with a file where one is chosen."""
    id_, form = _id(visit), await visit.form()
    text, internal, upload = _text(form, "text"), _text(form, "internal") == "yes", form.get("file")

    async def change(uow: UnitOfWork) -> None:
        message_id = await post_message(uow, issue_id=id_, text=text, internal=internal)
        if message_id is not None and isinstance(upload, UploadFile) and upload.filename:
            await attach_file(
                uow,
                record=(MESSAGE, message_id),
                name=upload.filename,
                content=_chunks(upload),
                media_type=upload.content_type,
            )

    return await _do(visit, id_, "message", change, "", typed={"said": text}, anchor="#reply")


async def link_page(visit: Visit) -> Response:
    """Link what a pasted address or a run's reference names."""
    id_, form = _id(visit), await visit.form()
    given = _text(form, "record")

    async def change(uow: UnitOfWork) -> None:
        await link_records(uow, issue_id=id_, records=[await _record_named(uow, given)])

    return await _do(visit, id_, "links", change, "Linked.", typed={"record": given}, anchor="#links")


async def unlink_page(visit: Visit) -> Response:
    id_, link_id = _id(visit), record_id(visit.request, "link_id")
    if link_id is None:
        raise NotFound("The issue has no such link.")

    async def change(uow: UnitOfWork) -> None:
        await unlink_record(uow, issue_id=id_, link_id=link_id)

    return await _do(visit, id_, "links", change, "The link is gone.", anchor="#links")


async def merge_page(visit: Visit) -> Response:
    """Merge the issue into the one that a number or an address names."""
    id_, form = _id(visit), await visit.form()
    into, version, comment = _text(form, "into"), _version(form), _text(form, "comment")

    async def change(uow: UnitOfWork) -> None:
        target = await find_issue(uow, into)
        if target is None:
            raise ValidationFailed([FieldProblem("into", f"There is no issue {into!r} that you may see.")])
        await merge_issue(uow, issue_id=id_, into_id=target, expected_version=version, comment=comment or None)

    return await _do(visit, id_, "merge", change, "Merged.", typed={"into": into})


async def command_page(visit: Visit) -> Response:
    """Take it, watch it or not, hold the linked processes or let them go."""
    id_, form, command = _id(visit), await visit.form(), visit.request.path_params["command"]
    version = _version(form)

    async def change(uow: UnitOfWork) -> None:
        match command:
            case "take":
                await take_issue(uow, issue_id=id_, expected_version=version)
            case "watch" | "unwatch":
                await watch(uow, issue_id=id_, watching=command == "watch")
            case "block" | "unblock":
                values = {"blocking": command == "block"}
                await update_record(uow, ISSUE, id_, values, expected_version=version)
            case _:
                raise NotFound("There is no such command.")

    words = {
        "take": "It is yours now.",
        "watch": "You are told of what happens here.",
        "unwatch": "You are not told any more.",
        "block": "The linked processes are on hold while the issue is open.",
        "unblock": "The linked processes go on.",
    }
    return await _do(visit, id_, "command", change, words.get(command, ""))


async def _do(
    visit: Visit,
    id_: UUID,
    place: str,
    change: Change,
    words: str,
    *,
    typed: Mapping[str, str] | None = None,
    anchor: str = "",
) -> Response:
    try:
        async with visit.uow() as uow:
            await change(uow)
    except SHOWN as error:
        return await _show(visit, id_, refused=Refused(place, _in_words(_now_shown(error)), typed or {}))
    return visit.go(f"{HREF}/{id_}{anchor}", flash=words)


def _in_words(error: StepsError) -> StepsError:
    """What is wrong with a single field needs no name of it: the message stands beside it."""
    if isinstance(error, ValidationFailed) and error.problems:
        text = "; ".join(problem.message for problem in error.problems)
        return ValidationFailed(error.problems, text[:1].upper() + text[1:])
    return error


def _now_shown(error: StepsError) -> StepsError:
    if isinstance(error, StaleVersion):
        return StaleVersion("Somebody changed this issue meanwhile. Here it is as it is now; decide anew.")
    return error


async def _record_named(uow: UnitOfWork, text: str) -> Record:
    """What an address of the site, or a run's reference number, names. Raises ValidationFailed."""
    parts = [
        part for part in text.split("?", maxsplit=1)[0].split("#", maxsplit=1)[0].strip().rstrip("/").split("/") if part
    ]
    by_slug = {entity.slug: entity.name for entity in uow.registry.entities.values()}
    if len(parts) >= 2:
        entity = PAGES.get(parts[-2]) or by_slug.get(parts[-2])
        try:
            id_ = UUID(parts[-1])
        except ValueError:
            entity = None
        if entity is not None:
            linkable(uow, entity)
            return entity, id_
    elif parts:
        r = uow.table(RUN)
        found = await uow.scalar(scope(select(r.c.id).where(r.c.reference == parts[0]), uow, "read", RUN))
        if found is not None:
            return RUN, found
    said_ = "paste the address of a process, a run, a job or a record, or write a run's reference"
    raise ValidationFailed([FieldProblem("record", said_)])


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such issue, or you may not see it.")
    return id_


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def _version(form: FormData) -> int:
    given = _text(form, "row_version")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0


POST = ("POST",)
ROUTES: tuple[PageRoute, ...] = (
    *issue_pages.ROUTES,
    PageRoute(f"{HREF}/new", issue_raising.new_page, ("GET", "POST")),
    PageRoute(f"{HREF}/similar", issue_raising.similar_page),
    PageRoute(f"{HREF}/about", issue_raising.about_page),
    PageRoute(f"{HREF}/{{id}}", issue_page),
    PageRoute(f"{HREF}/{{id}}/steps/{{name}}", step_page, POST),
    PageRoute(f"{HREF}/{{id}}/messages", message_page, POST),
    PageRoute(f"{HREF}/{{id}}/links", link_page, POST),
    PageRoute(f"{HREF}/{{id}}/links/{{link_id}}/remove", unlink_page, POST),
    PageRoute(f"{HREF}/{{id}}/merge", merge_page, POST),
    PageRoute(f"{HREF}/{{id}}/do/{{command}}", command_page, POST),
)
