"""Escalations: which are under way, who is told next, taking care of one; and what a ladder would do."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.responses import Response

from admin_views.formats import duration
from admin_views.navigation import record_path
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import Forbidden, InvalidRequest, NotFound, StepsError, Unauthenticated
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.entities.queries import get_record
from app.domain.escalation.acknowledging import acknowledge, end
from app.domain.escalation.ladders import EscalationState
from app.domain.escalation.queries import (
    ENTITY,
    LADDER,
    MOST,
    EscalationLine,
    EventLine,
    Preview,
    escalation_detail,
    escalations_of,
    list_escalations,
    preview_ladder,
)

HREF, LADDER_HREF = "/escalations", "/escalation-ladders"
TONES = {
    EscalationState.RUNNING: "warn",
    EscalationState.ACKNOWLEDGED: "in_progress",
    EscalationState.ENDED: "done",
}
CAUSES = {"threshold": "Deadline", "job_failed": "Failed job", "delivery_failed": "Failed delivery"}
KINDS = {
    "told": ("send", "Told"),
    "fallback": ("arrow-fork", "Fallback told"),
    "nobody": ("user-off", "Reached nobody"),
    "acknowledged": ("user-check", "Acknowledged"),
    "rearmed": ("repeat", "Goes on"),
    "ended": ("check", "Ended"),
}
SHOWN = {
    "open": ("Under way", (EscalationState.RUNNING, EscalationState.ACKNOWLEDGED)),
    "ended": ("Ended", (EscalationState.ENDED,)),
    "": ("All", ()),
}


async def escalations_page(visit: Visit) -> Response:
    """The list; what is told next comes first."""
    chosen = visit.request.query_params.get("state", "open")
    if chosen not in SHOWN:
        raise InvalidRequest(f"state: one of {', '.join(name for name in SHOWN if name)}.")
    async with visit.uow() as uow:
        lines = await list_escalations(uow, states=SHOWN[chosen][1])
        page = {
            "tabs": [
                {"label": label, "href": f"{HREF}?state={name}", "current": name == chosen, "count": None}
                for name, (label, _) in SHOWN.items()
            ],
            "href": f"{HREF}?state={chosen}",
            "rows": [_line(visit, line, uow.now) for line in lines],
            "all_shown": len(lines) < MOST,
            "most": MOST,
            "zone": visit.formats.zone_name(uow.now),
            "ladders_href": "/data/escalation-ladders" if visit.may("read", LADDER) else None,
        }
        return await visit.page(uow, "steps/escalations.html", "Escalations", page=page)


def _line(visit: Visit, line: EscalationLine, now: datetime) -> dict[str, Any]:
    entity = visit.runtime.registry.entities.get(line.record_entity)
    return {
        "href": f"{HREF}/{line.id}",
        "label": line.label,
        "record_href": record_path(entity, line.record_id) if entity is not None else None,
        "ladder": line.ladder,
        "ladder_href": f"{LADDER_HREF}/{line.ladder_id}",
        "cause": CAUSES[line.cause],
        "tone": TONES[line.state],
        "state": line.state.value.capitalize(),
        "step": _step_words(line),
        "next": _next_words(visit, line),
        "due_at": line.due_at if line.state is not EscalationState.ENDED else None,
        "started": visit.formats.moment(line.started_at, now),
        "by": _by_words(visit, line, now),
    }


def _step_words(line: EscalationLine) -> str:
    round_ = f", round {line.round}" if line.round > 1 else ""
    if line.step >= line.steps:
        return f"all {line.steps} told{round_}"
    if line.told:
        return f"{line.step + 1} of {line.steps} told, {line.told} {'time' if line.told == 1 else 'times'}{round_}"
    return f"{line.step} of {line.steps} told{round_}"


def _next_words(visit: Visit, line: EscalationLine) -> str:
    if line.state is EscalationState.ENDED:
        return ""
    if line.next_at is None:
        return "nobody else" if line.state is EscalationState.RUNNING else "stays with them"
    at = visit.formats.instant(line.next_at, zone=False)
    return f"{at} goes on" if line.state is EscalationState.ACKNOWLEDGED else f"{at} {line.next_target}"


def _by_words(visit: Visit, line: EscalationLine, now: datetime) -> str:
    if line.state is EscalationState.ENDED:
        return line.end_reason or ""
    if line.state is EscalationState.ACKNOWLEDGED and line.acknowledged_at is not None:
        return f"{line.acknowledged_by or 'Somebody'}, {visit.formats.moment(line.acknowledged_at, now)}"
    return ""


async def on_process(visit: Visit, uow: UnitOfWork, process_run_id: UUID) -> list[dict[str, Any]]:
    """The open escalations about a process, for its page."""
    if visit.may("read", ENTITY) is None:
        return []
    found = await escalations_of(uow, entity="process_run", record_id=process_run_id)
    return [_line(visit, line, uow.now) for line in found]


async def escalation_page(visit: Visit) -> Response:
    """One escalation with what happened."""
    return await _show(visit, _id(visit))


async def _show(visit: Visit, id_: UUID, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        line, happened, preview = await escalation_detail(uow, id_)
        may = visit.may("acknowledge", ENTITY) is not None
        page = {
            **_line(visit, line, uow.now),
            "topics": f"entity:{ENTITY} {line.record_entity}:{line.record_id}",
            "error": "; ".join(p.message for p in error.problems) or error.detail if error else "",
            "events": [_event(visit, event) for event in happened],
            "steps": _steps(visit, preview, line),
            "acknowledge_href": f"{HREF}/{id_}/acknowledge" if may and line.state is EscalationState.RUNNING else None,
            "end_href": f"{HREF}/{id_}/end" if may and line.state is not EscalationState.ENDED else None,
        }
        status = error.status if error else 200
        return await visit.page(uow, "steps/escalation.html", line.label, status=status, page=page)


def _event(visit: Visit, event: EventLine) -> dict[str, Any]:
    icon, label = KINDS[event.kind]
    return {
        "icon": icon,
        "label": label,
        "bad": event.kind == "nobody",
        "at": visit.formats.instant(event.at),
        "text": event.text,
        "by": event.by or "",
        "people": ", ".join(event.people),
    }


def _steps(visit: Visit, preview: Preview, line: EscalationLine | None = None) -> list[dict[str, Any]]:
    """The steps with when each is told, if nobody acknowledges."""
    times: dict[int, list[str]] = {}
    for telling in preview.tellings:
        times.setdefault(telling.step, []).append(visit.formats.instant(telling.at, zone=False))
    return [
        {
            "number": step.number + 1,
            "target": step.target,
            "wait": "at once" if not step.wait_minutes else f"after {duration(timedelta(minutes=step.wait_minutes))}",
            "hours": f"within the hours of {step.calendar}" if step.calendar else "around the clock",
            "repeat": _repeat_words(step.repeat_times, step.repeat_minutes),
            "at": times.get(step.number, []),
            "current": line is not None and line.state is EscalationState.RUNNING and step.number == line.step,
            "told": line is not None and step.number < line.step,
        }
        for step in preview.steps
    ]


def _repeat_words(times: int, minutes: int) -> str:
    if times == 1:
        return f"once again after {minutes} min"
    return f"{times} times again, every {minutes} min" if times else ""


async def command_page(visit: Visit) -> Response:
    """Acknowledge or end."""
    id_, command, form = _id(visit), visit.request.path_params["command"], await visit.form()
    said = str(form.get("reason") or "")
    try:
        async with visit.uow() as uow:
            if command == "acknowledge":
                await acknowledge(uow, id_, said=said)
            elif command == "end":
                await end(uow, id_, reason=said)
            else:
                raise NotFound("There is no such page.")
    except (Unauthenticated, NotFound, Forbidden):
        raise
    except StepsError as error:
        return await _show(visit, id_, error)
    flash = "It is yours: nobody else is told." if command == "acknowledge" else "It has ended."
    return visit.go(f"{HREF}/{id_}", flash=flash)


async def ladder_page(visit: Visit) -> Response:
    """One ladder: its steps, what it would do from a moment on, and what it does now."""
    id_ = _id(visit)
    async with visit.uow() as uow:
        await require_in_scope(uow, "read", LADDER, id_)
        row = (await get_record(uow, LADDER, id_, lines=False)).records[0]
        since, wrong = _since(visit, uow.now)
        preview = await preview_ladder(uow, id_, since=since)
        may_see = visit.may("read", ENTITY) is not None
        open_states = SHOWN["open"][1]
        lines = await list_escalations(uow, ladder=id_, states=open_states, limit=20) if may_see else []
        rearm = row.get("rearm_minutes")
        page = {
            "title": row["label"],
            "code": row["code"],
            "active": row["active"],
            "description": row.get("description") or "",
            "href": f"{LADDER_HREF}/{id_}",
            "edit_href": f"/data/escalation-ladders/{id_}/edit" if visit.may("update", LADDER) else None,
            "history_href": f"/data/escalation-ladders/{id_}?tab=history",
            "facts": [
                {"label": "Starts", "value": "; ".join(_causes(row))},
                {"label": "After an acknowledgement", "value": f"goes on after {rearm} min" if rearm else "stops"},
            ],
            "since": visit.formats.wall(since),
            "wrong": wrong,
            "zone": visit.formats.zone_name(since),
            "steps": _steps(visit, preview),
            "rows": [_line(visit, line, uow.now) for line in lines],
        }
        return await visit.page(uow, "steps/escalation_ladder.html", row["label"], page=page)


def _causes(row: Any) -> list[str]:
    causes = [f"at the threshold {row['threshold']} of a clock whose policy names it"]
    if row["job_failures"]:
        causes.append(f"when a job {row['job_function']} fails" if row.get("job_function") else "when a job fails")
    if row["delivery_failures"]:
        causes.append("when a message cannot be delivered")
    return causes


def _since(visit: Visit, now: datetime) -> tuple[datetime, str]:
    """The moment that was asked for, else now; and what is wrong with it."""
    given = visit.request.query_params.get("since", "")
    moment = now.replace(second=0, microsecond=0)
    if not given:
        return moment, ""
    try:
        return datetime.fromisoformat(visit.formats.from_wall(given)), ""
    except ValueError:
        return moment, "Enter a date and a time."


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such escalation, or you may not see it.")
    return id_


ROUTES: tuple[PageRoute, ...] = (
    PageRoute(HREF, escalations_page),
    PageRoute(f"{HREF}/{{id}}", escalation_page),
    PageRoute(f"{HREF}/{{id}}/{{command}}", command_page, ("POST",)),
    PageRoute(f"{LADDER_HREF}/{{id}}", ladder_page),
)
