"""The page of one process: what it is, what may be done with it, what was done; and every change that is made there.

A change that is refused shows the page again, with the reason where it belongs and nothing of what was typed lost.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response, StreamingResponse

from admin_views import (
    escalations,
    forecast_view,
    process_kinds,
    process_parts,
    process_trail,
    process_view,
    process_waiting,
    queries,
    reopening_view,
)
from admin_views.pages import PageRoute
from admin_views.process_view import PATHS, Drawn, Refused
from admin_views.visit import Visit, record_id
from app.core.errors import Forbidden, InvalidRequest, NotFound, StepsError, Unauthenticated
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.documents.files import attach_file, open_file
from app.domain.finance.breaches import comment_breach
from app.domain.finance.node_figures import NodeFigures, node_figures
from app.domain.jobs import runs as job_runs
from app.domain.workflow.decisions import Refusal, check_preparing
from app.domain.workflow.people import holders
from app.domain.workflow.preparation import answer_item, answer_question, save_comment
from app.domain.workflow.process_page import ProcessDetail, process_detail
from app.domain.workflow.process_record import ProcessRecord, process_record
from app.domain.workflow.process_row import read_process
from app.domain.workflow.states import Guard, Name, ProcessKind, ProcessState
from app.domain.workflow.transitions import TransitionResult, transition
from app.domain.workflow.ways import seeing_for_others, ways_to_act

CHUNK = 1 << 16
GONE = "There is no such process, or you may not see it."

# These are not about what was typed: they are answered by a page of their own, and refusals by permission are recorded.
NOT_BESIDE_THE_FIELD = (Unauthenticated, NotFound, Forbidden)

Change = Callable[[UnitOfWork], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class PageParts:
    """What the page reads, in one transaction."""

    detail: ProcessDetail
    record: ProcessRecord
    figures: NodeFigures | None
    unprepared: Refusal | None


async def process_page(visit: Visit) -> Response:
    """Show the process. 404 for one that is out of scope."""
    return await _show(visit, _process_id(visit))


async def transition_page(visit: Visit) -> Response:
    """Do a transition; `version` is the one on which the person decided."""
    id_, form = _process_id(visit), await visit.form()
    name = visit.request.path_params["name"]
    typed = {key: _text(form, key) for key in PATHS}
    version = _version(form)

    async def change(uow: UnitOfWork) -> TransitionResult:
        return await transition(
            uow,
            process_run_id=id_,
            name=name,
            expected_version=version,
            reason=typed["reason"] or None,
            comment=typed["comment"] if "comment" in form else None,
            data={
                "review_by": _instant(visit, typed["review_by"]),
                "assignee_id": _uuid(typed["assignee_id"]),
                "reason_code": typed["reason_code"] or None,
                "to_level": int(typed["to_level"]) if typed["to_level"].isdecimal() else None,
            },
        )

    done = await _change(visit, id_, place=name, typed=typed, change=change)
    return done if isinstance(done, Response) else _back(visit, id_, said(done))


async def checklist_page(visit: Visit) -> Response:
    """Tick or untick an item."""
    id_, form = _process_id(visit), await visit.form()
    item, is_done = _text(form, "item"), _text(form, "done") == "yes"

    async def change(uow: UnitOfWork) -> None:
        await answer_item(uow, process_run_id=id_, item=item, done=is_done)

    done = await _change(visit, id_, place="checklist", typed={}, change=change)
    return done if isinstance(done, Response) else visit.go(f"/processes/{id_}#checklist")


async def question_page(visit: Visit) -> Response:
    """Answer a question, or take the answer back."""
    id_, form = _process_id(visit), await visit.form()
    question, answer, comment = (_text(form, name) for name in ("question", "answer", "comment"))

    async def change(uow: UnitOfWork) -> None:
        await answer_question(uow, process_run_id=id_, question=question, answer=answer, comment=comment)

    typed = {"answer": answer, "comment": comment}
    done = await _change(visit, id_, place=f"question-{question}", typed=typed, change=change)
    return done if isinstance(done, Response) else visit.go(f"/processes/{id_}#questions")


async def comment_page(visit: Visit) -> Response:
    """Keep a draft of the comment that goes with the submission."""
    id_, form = _process_id(visit), await visit.form()
    comment, version = _text(form, "comment"), _version(form)

    async def change(uow: UnitOfWork) -> int:
        return await save_comment(uow, process_run_id=id_, comment=comment, expected_version=version)

    done = await _change(visit, id_, place=Name.SUBMIT.value, typed={"comment": comment}, change=change)
    return done if isinstance(done, Response) else _back(visit, id_, "The draft of your comment is saved.")


async def breach_page(visit: Visit) -> Response:
    """Explain a breach of the process's node."""
    id_, form = _process_id(visit), await visit.form()
    breach_id = record_id(visit.request, "breach_id")
    if breach_id is None:
        raise NotFound("There is no such breach.")
    typed = {key: _text(form, key) for key in ("root_cause", "commentary")}
    version = _version(form)

    async def change(uow: UnitOfWork) -> None:
        await comment_breach(uow, breach_id, expected_version=version, **typed)
        uow.touch(f"process_run:{id_}")

    place = f"breach-{breach_id}"
    done = await _change(visit, id_, place=place, typed=typed, change=change)
    if isinstance(done, Response):
        return done
    return visit.go(f"/processes/{id_}#figures", flash="The commentary is saved.")


async def attach_page(visit: Visit) -> Response:
    """Attach a file, or a new version of one, as the evidence it serves as."""
    id_, form = _process_id(visit), await visit.form()
    purpose, upload = _text(form, "purpose"), form.get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        refused = Refused("files", InvalidRequest("Choose a file first."), {"purpose": purpose})
        return await _show(visit, id_, refused)
    name = upload.filename

    async def change(uow: UnitOfWork) -> Any:
        given = {"purpose": purpose} if purpose else {}
        return await attach_file(
            uow,
            record=("process_run", id_),
            name=name,
            content=_chunks(upload),
            media_type=upload.content_type,
            **given,
        )

    done = await _change(visit, id_, place="files", typed={"purpose": purpose}, change=change)
    if isinstance(done, Response):
        return done
    version = f" as version {done.version}" if done.version > 1 else ""
    return visit.go(f"/processes/{id_}#evidence", flash=f"“{done.name}” is attached{version}.")


async def job_page(visit: Visit) -> Response:
    """Retry or abort a job of the process."""
    id_, form = _process_id(visit), await visit.form()
    job_run_id, command = record_id(visit.request, "job_id"), visit.request.path_params["command"]
    if job_run_id is None or command not in ("retry", "abort"):
        raise NotFound("There is no such job.")
    reason = _text(form, "reason")

    async def change(uow: UnitOfWork) -> None:
        await require_in_scope(uow, "read", "process_run", id_)
        if command == "retry":
            await job_runs.retry(uow, job_run_id)
        else:
            await job_runs.abort(uow, job_run_id, reason=reason)

    done = await _change(visit, id_, place="jobs", typed={"reason": reason}, change=change)
    words = "The job is queued again." if command == "retry" else "The job is called off."
    return done if isinstance(done, Response) else _back(visit, id_, words)


async def assignees_page(visit: Visit) -> Response:
    """The people who may be given the process, as options of the dialog's list."""
    id_ = _process_id(visit)
    async with visit.uow() as uow:
        await require_in_scope(uow, "read", "process_run", id_)
        row = await read_process(uow, id_)
        people = await holders(uow, row, row.owner_role) if visit.may("transition:assign", "process_run") else []
    chosen = visit.request.query_params.get("chosen", "")
    options = [{"id": str(p.id), "name": p.name, "chosen": str(p.id) == chosen} for p in people]
    return visit.fragment("steps/_people.html", people=options, role=process_view.role_name(row.owner_role))


async def file_page(visit: Visit) -> Response:
    """The bytes of a file, for whoever may see its record. Always as a download: it is somebody else's content."""
    file_id = record_id(visit.request)
    if file_id is None:
        raise NotFound("There is no such file, or you may not see it.")
    given = visit.request.query_params.get("version", "")
    if given and not given.isdecimal():
        raise InvalidRequest("version: give the number of a version.")
    async with visit.uow() as uow:
        file = await open_file(uow, file_id, version=int(given) if given else None)
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
        "content-length": str(file.size),
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(file.stream, media_type=file.media_type, headers=headers)


# -- drawing -----------------------------------------------------------------------------------------------------------


async def _show(visit: Visit, id_: UUID, refused: Refused | None = None) -> Response:
    async with visit.uow() as uow:
        parts = await _read(uow, id_)
        predicted = None
        if not parts.detail.row.state.closed:
            predicted = await forecast_view.predicted(visit, uow, id_)
        drawn = Drawn(
            parts.detail,
            parts.record,
            visit.formats,
            uow.now,
            visit.actor.id,
            parts.unprepared,
            parts.figures is not None or not parts.detail.content.figures,
            refused,
            predicted,
        )
        page = _page(visit, drawn, parts.figures)
        page["queries"] = await queries.on_process(visit, uow, id_, some=parts.detail.names.asked_about)
        page["escalations"] = await escalations.on_process(visit, uow, id_)
        status = refused.error.status if refused is not None else 200
        return await visit.page(uow, "steps/process.html", parts.detail.row.label, status=status, page=page)


async def _read(uow: UnitOfWork, id_: UUID) -> PageParts:
    detail = await process_detail(uow, id_)
    row = detail.row
    with seeing_for_others(uow, row):
        record = await process_record(uow, row, rank=detail.names.rank)
        figures = None
        if row.node_id is not None and row.kind is not ProcessKind.AUTOMATIC:
            figures = await node_figures(
                uow, node_id=row.node_id, business_date=row.business_date, process_run_id=row.id
            )
    refusals = [check_preparing(row, way.acting) for way in ways_to_act(uow, row, "transition:check")]
    unprepared = Refusal(Guard.PERMISSION, "Your roles do not prepare processes.")
    return PageParts(detail, record, figures, None if None in refusals else next(iter(refusals), unprepared))


def _page(visit: Visit, drawn: Drawn, figures: NodeFigures | None) -> dict[str, Any]:
    row = drawn.detail.row
    breach = visit.runtime.registry.entity("breach")
    may_retry, may_abort = (visit.may(action, "job") is not None for action in ("retry", "abort"))
    return {
        "id": str(row.id),
        "topics": f"process_run:{row.id} run:{row.run_id}",
        "head": process_view.head(drawn),
        "deadline": process_view.deadline(drawn),
        "actions": process_view.actions(drawn),
        "blocked": process_waiting.blocked(drawn),
        "approvals": process_trail.approvals(drawn),
        "comment": _comment(drawn),
        "dependencies": process_trail.dependencies(drawn),
        "history": process_trail.history(drawn),
        "figures": process_parts.figures(drawn, figures, breach) if figures is not None else None,
        "checklist": process_parts.checklist(drawn),
        "questions": process_kinds.questions(drawn),
        "signed": process_kinds.signed(drawn),
        "wait": process_kinds.wait(drawn),
        "evidence": process_parts.evidence(drawn),
        "results": process_parts.results(drawn) if row.kind is not ProcessKind.AUTOMATIC else [],
        "jobs": process_parts.jobs(drawn, may_retry=may_retry, may_abort=may_abort),
        "error": _error_above(drawn),
        "reopening": reopening_view.on_process(drawn),
        "assignees_href": f"/processes/{row.id}/assignees",
        "zone": visit.formats.zone_name(drawn.now),
        "state": row.state.value,
        "closed": row.state.closed,
    }


def _comment(drawn: Drawn) -> dict[str, Any] | None:
    """What the preparer says; a draft only to those who prepare it."""
    row = drawn.detail.row
    draft = row.state in (ProcessState.READY, ProcessState.ASSIGNED, ProcessState.IN_PROGRESS)
    if not row.comment or (draft and not drawn.may_prepare):
        return None
    return {"text": row.comment, "draft": draft, "by": None if draft else drawn.detail.names.maker}


def _error_above(drawn: Drawn) -> str:
    """A refusal whose place is not on the page any more, such as the button of a step that somebody else has taken."""
    refused = drawn.refused
    if (
        refused is None
        or refused.place in ("checklist", "files", "jobs")
        or refused.place.startswith(("breach-", "question-"))
    ):
        return ""
    shown = {action.name.value for action in drawn.detail.actions if action.allowed and asks(action.name)}
    return "" if refused.place in shown else refused.error.detail


def asks(name: Name) -> bool:
    """Whether the action has a dialog, in which its refusal is shown."""
    return name not in (Name.CLAIM, Name.UNCLAIM, Name.START, Name.RESUME, Name.RETRY)


# -- changing ----------------------------------------------------------------------------------------------------------


async def _change(visit: Visit, id_: UUID, *, place: str, typed: dict[str, str], change: Change) -> Any:
    """Do it in one transaction; where it is refused, the page with the reason."""
    try:
        async with visit.uow() as uow:
            return await change(uow)
    except NOT_BESIDE_THE_FIELD:
        raise
    except StepsError as error:
        return await _show(visit, id_, Refused(place, error, typed))


def said(result: TransitionResult) -> str:
    """What a transition has done, in one sentence."""
    released = len(result.released)
    more = f" {released} more can begin." if released > 1 else (" The next one can begin." if released else "")
    match result.name:
        case Name.SUBMIT if result.to_state is ProcessState.IN_REVIEW:
            return "Submitted. It waits for approval now."
        case Name.SUBMIT:
            return f"Submitted and done.{more}"
        case Name.APPROVE if result.to_state is ProcessState.IN_REVIEW and result.signatures:
            return f"Signed. Level {result.level} needs more signatures."
        case Name.APPROVE if result.to_state is ProcessState.IN_REVIEW:
            return f"Signed. Level {result.level} decides next."
        case Name.APPROVE:
            return f"Approved and done.{more}"
        case Name.REJECT if result.to_state is ProcessState.IN_REVIEW:
            return f"Sent back to level {result.level}; round {result.round} begins."
        case Name.REJECT:
            return f"Sent back; round {result.round} begins."
        case Name.CLAIM:
            return "It is yours now."
        case Name.UNCLAIM:
            return "It is free for others to take."
        case Name.REQUEST_SKIP:
            return "Asked. Somebody else confirms it or declines it."
        case Name.DECLINE_SKIP:
            return "Declined. It is to be done."
        case Name.START:
            return "Started."
        case Name.ASSIGN:
            return "Assigned."
        case Name.HOLD:
            return "On hold."
        case Name.RESUME:
            return f"Resumed. It is {result.to_state.label.lower()}."
        case Name.SKIP:
            return f"Skipped.{more}"
        case Name.CANCEL:
            return "Cancelled."
        case Name.RETRY:
            return "A worker tries again."
    return f"It is {result.to_state.label.lower()} now."


def _back(visit: Visit, id_: UUID, words: str) -> Response:
    return visit.go(f"/processes/{id_}", flash=words)


def _process_id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound(GONE)
    return id_


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""


def _version(form: FormData) -> int:
    given = _text(form, "version")
    if not given.isdecimal() or len(given) > 18:
        raise InvalidRequest("The form has lost the version of the process. Reload the page and repeat your change.")
    return int(given)


def _instant(visit: Visit, text: str) -> datetime | None:
    """A wall time of the person's zone; None for what is none, which the service then asks for."""
    try:
        value = datetime.fromisoformat(visit.formats.from_wall(text)) if text else None
    except ValueError:
        return None
    return value if value is not None and value.tzinfo is not None else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


async def _chunks(upload: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await upload.read(CHUNK):
        yield chunk


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/processes/{id}", process_page),
    PageRoute("/processes/{id}/transitions/{name}", transition_page, ("POST",)),
    PageRoute("/processes/{id}/checklist", checklist_page, ("POST",)),
    PageRoute("/processes/{id}/questions", question_page, ("POST",)),
    PageRoute("/processes/{id}/comment", comment_page, ("POST",)),
    PageRoute("/processes/{id}/breaches/{breach_id}", breach_page, ("POST",)),
    PageRoute("/processes/{id}/files", attach_page, ("POST",)),
    PageRoute("/processes/{id}/jobs/{job_id}/{command}", job_page, ("POST",)),
    PageRoute("/processes/{id}/assignees", assignees_page),
    PageRoute("/files/{id}/content", file_page),
)
