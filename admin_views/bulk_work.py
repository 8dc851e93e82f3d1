"""One command on many processes, chosen on Home: what it would do to each, and what it has done."""

from typing import Any
from uuid import UUID

from starlette.responses import Response

from admin_views.pages import PageRoute
from admin_views.process_parts import JOB_TONES
from admin_views.visit import Visit, record_id
from app.core.errors import InvalidRequest, NotFound
from app.domain.workflow.bulk import BulkLine, BulkResult, BulkTarget, Verdict, begin_bulk, bulk_result, try_bulk
from app.domain.workflow.states import TRANSITIONS, Name, ProcessState

DONE = {
    Name.APPROVE: "approved",
    Name.CLAIM: "taken",
    Name.UNCLAIM: "given back",
    Name.SUBMIT: "submitted",
}
COMMENTED = (Name.APPROVE, Name.SUBMIT)


async def trial_page(visit: Visit) -> Response:
    """The verdict on each process that was chosen; nothing is done yet."""
    form = await visit.form()
    name, targets = _name(form.get("transition")), [_target(value) for value in form.getlist("item")]
    if not targets:
        return visit.go("/", flash="Choose at least one piece of work first.", kind="warn")
    async with visit.uow() as uow:
        verdicts = await try_bulk(uow, name=name, targets=targets)
        allowed = [verdict for verdict in verdicts if verdict.allowed]
        page = {
            "label": TRANSITIONS[name].label,
            "name": name.value,
            "sub": f"{len(allowed)} of {len(verdicts)} can be {DONE[name]}",
            "rows": [_verdict(verdict) for verdict in verdicts],
            "items": [f"{verdict.id}:{verdict.row_version}" for verdict in allowed],
            "button": f"{TRANSITIONS[name].label} {len(allowed)}",
            "comment": name in COMMENTED,
        }
        return await visit.page(uow, "steps/bulk_trial.html", f"{TRANSITIONS[name].label} together", page=page)


async def begin_page(visit: Visit) -> Response:
    """Give the command to a worker."""
    form = await visit.form()
    name, targets = _name(form.get("transition")), [_target(value) for value in form.getlist("item")]
    comment = str(form.get("comment") or "").replace("\r\n", "\n").strip() or None
    async with visit.uow() as uow:
        job_run_id = await begin_bulk(uow, name=name, targets=targets, comment=comment)
    return visit.go(f"/bulk-work/{job_run_id}")


async def result_page(visit: Visit) -> Response:
    """How far it is, and the result of each."""
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such command, or you may not see it.")
    async with visit.uow() as uow:
        found = await bulk_result(uow, id_)
        return await visit.page(uow, "steps/bulk_result.html", "Command on many", page=_result(visit, found))


def _result(visit: Visit, found: BulkResult) -> dict[str, Any]:
    name = found.lines[0].transition if found.lines else Name.APPROVE
    done, refused, waiting = (found.count(state) for state in ("done", "refused", "waiting"))
    parts = [f"{done} {DONE.get(name, 'done')}", f"{refused} refused" if refused else ""]
    parts.append(f"{waiting} still to do" if waiting else "")
    return {
        "topics": [f"job_run:{found.job_run_id}", f"user:{visit.actor.id}"],
        "href": f"/bulk-work/{found.job_run_id}",
        "job_href": f"/jobs/{found.job_run_id}" if visit.may("read", "job_run") else None,
        "label": TRANSITIONS[name].label,
        "tone": JOB_TONES[found.state],
        "state": found.state.value.capitalize(),
        "sub": ", ".join(part for part in parts if part),
        "error": found.error if found.ended else None,
        "rows": [_line(visit, line) for line in found.lines],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "href": f"/processes/{verdict.id}" if verdict.label else None,
        "label": verdict.label or "Not in sight",
        "run": verdict.reference,
        "tone": "ok" if verdict.allowed else "warn",
        "icon": "check" if verdict.allowed else "ban",
        "word": "Ready" if verdict.allowed else "Refused",
        "detail": verdict.detail or "",
    }


def _line(visit: Visit, line: BulkLine) -> dict[str, Any]:
    tone, icon, word = {
        "done": ("ok", "check", DONE.get(line.transition, "done").capitalize()),
        "refused": ("warn", "ban", "Refused"),
    }.get(line.state, ("planned", "clock", "Waiting"))
    state = ProcessState(line.to_state).label if line.to_state else ""
    return {
        "href": f"/processes/{line.process_run_id}",
        "label": line.label,
        "run": " · ".join(part for part in (line.node_label, line.reference) if part),
        "tone": tone,
        "icon": icon,
        "word": word,
        "detail": line.detail or (f"It is {state.lower()} now." if state else ""),
        "at": visit.formats.instant(line.finished_at, zone=False) if line.finished_at else "",
    }


def _name(given: Any) -> Name:
    if given not in DONE:
        raise InvalidRequest(f"transition: one of {', '.join(DONE)}.")
    return Name(given)


def _target(given: Any) -> BulkTarget:
    """`<id>:<row version>`, as the boxes and the trial's form carry it."""
    id_, _, version = str(given).partition(":")
    try:
        return BulkTarget(UUID(id_), int(version))
    except ValueError:
        raise InvalidRequest("The form has lost what was chosen. Go back and choose again.") from None


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/bulk-work", trial_page, ("POST",)),
    PageRoute("/bulk-work/begin", begin_page, ("POST",)),
    PageRoute("/bulk-work/{id}", result_page),
)
