"""A trigger: what sets it off, how to call it from outside, and the log of what it did."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from starlette.responses import Response

from admin_views.pages import PageRoute
from admin_views.switching import problem_text, switch_action, switch_page
from admin_views.visit import Visit, record_id
from app.core.errors import NotFound, StepsError
from app.core.filters import describe, parse
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope, scope
from app.domain.schedules.wording import day_text
from app.domain.triggers.definitions import DateRule, TriggerKind, trigger_of
from app.domain.triggers.firing import FIRING
from app.domain.triggers.handlers import TRIGGER
from app.domain.triggers.inbox import inbox_of

HREF = "/triggers"
MOST_SHOWN = 100
OFF = "It starts no runs until it is switched on again. What would set it off meanwhile is not made up for."
ON = "What sets it off starts runs again, from now on."
TONES = {"pending": "waiting", "started": "ready", "existing": "skipped", "refused": "rejected", "failed": "failed"}
LABELS = {
    "pending": "Pending",
    "started": "Started a run",
    "existing": "Run was there",
    "refused": "Refused",
    "failed": "Failed",
}
CHANGES = {"created": "is created", "changed": "is changed", "saved": "is created or changed"}
STATES = {"active": "is created", "done": "is done", "on_hold": "is put on hold", "cancelled": "is cancelled"}
DATES = {
    DateRule.TODAY: "today",
    DateRule.WORKING_DAY: "today or the next working day",
    DateRule.PREVIOUS_WORKING_DAY: "the working day before today",
}


async def trigger_page(visit: Visit) -> Response:
    """One trigger."""
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such trigger, or you may not see it.")
    return await _show(visit, id_)


async def _show(visit: Visit, id_: UUID, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        await require_in_scope(uow, "read", TRIGGER, id_)
        row = await _trigger(uow, id_)
        page = {
            "switch": switch_action(visit, row, TRIGGER, HREF, off=OFF, on=ON),
            "error": problem_text(error),
            "title": row["label"],
            "state": {"tone": "ready", "label": "Active"}
            if row["active"]
            else {"tone": "on_hold", "label": "Switched off"},
            "facts": _facts(uow, row),
            "hook": _hook(visit, row),
            "firings": await _firings(visit, uow, id_),
            "edit_href": f"/data/triggers/{id_}/edit" if visit.may("update", TRIGGER) else None,
            "history_href": f"/data/triggers/{id_}?tab=history",
            "log_href": f'/data/trigger-firings?filter={{"trigger":"{id_}"}}',
            "href": f"{HREF}/{id_}",
            "live_topic": f"{TRIGGER}:{id_}" if visit.site.listener is not None else None,
        }
        status = error.status if error else 200
        return await visit.page(uow, "steps/trigger.html", row["label"], status=status, page=page)


async def _trigger(uow: UnitOfWork, id_: UUID) -> Mapping[Any, Any]:
    t, w, s, c = uow.table(TRIGGER), uow.table("workflow"), uow.table("workflow").alias(), uow.table("schedule")
    statement = (
        select(t, w.c.label.label("workflow_label"), s.c.label.label("source_label"), c.c.label.label("schedule_label"))
        .join(w, w.c.id == t.c.workflow_id)
        .outerjoin(s, s.c.id == t.c.source_workflow_id)
        .outerjoin(c, c.c.id == t.c.source_schedule_id)
        .where(t.c.id == id_)
    )
    return (await uow.execute(statement)).mappings().one()


def _facts(uow: UnitOfWork, row: Mapping[Any, Any]) -> list[dict[str, Any]]:
    trigger = trigger_of(dict(row))
    date = DATES.get(trigger.date_rule) or f"the date in {trigger.date_field}"
    facts: list[dict[str, Any]] = [
        {"label": "When", "value": _when(uow, row)},
        {"label": "Only if", "value": _condition(uow, row)},
        {"label": "Starts", "value": row["workflow_label"], "href": f"/workflows/{row['workflow_id']}"},
        {"label": "For", "value": date},
        {"label": "At most", "value": f"{row['most_per_hour']:,} an hour"},
    ]
    return facts


def _when(uow: UnitOfWork, row: Mapping[Any, Any]) -> str:
    match TriggerKind(row["kind"]):
        case TriggerKind.EVENT:
            entity = uow.registry.entities.get(row["entity"])
            return f"a {(entity.label if entity else row['entity']).lower()} {CHANGES.get(row['change'], '')}"
        case TriggerKind.WEBHOOK:
            return "it is called from outside"
        case TriggerKind.SCHEDULE:
            return f"the schedule {row['schedule_label']} has created its run"
        case TriggerKind.RUN_STATE:
            return f"a run of {row['source_label']} {STATES.get(row['run_state'], '')}"
        case TriggerKind.FILE if row["source"] == "folder":
            return f"{row['file_name']} arrives in the folder {row['folder'] or 'inbox'}"
        case _:
            return f"{row['file_name']} arrives as a document"


def _condition(uow: UnitOfWork, row: Mapping[Any, Any]) -> str:
    if not row["condition"]:
        return ""
    try:
        trigger = trigger_of(dict(row))
        subject = uow.registry.entity(trigger.subject) if trigger.subject else trigger.payload_entity
        return describe(parse(row["condition"], subject, uow.registry))
    except (StepsError, LookupError):
        return "the condition cannot be read any more"


def _hook(visit: Visit, row: Mapping[Any, Any]) -> dict[str, str] | None:
    """How to call it, or where to put the file, for whoever sets up the other side."""
    if row["kind"] == TriggerKind.WEBHOOK and row["token"]:
        address = f"{visit.runtime.settings.address.rstrip('/')}/api/v1/hooks/{row['token']}"
        return {"kind": "webhook", "address": address}
    if row["kind"] == TriggerKind.FILE and row["source"] == "folder":
        folder = inbox_of(visit.runtime.settings.data_dir) / (row["folder"] or "")
        return {"kind": "folder", "address": str(folder)}
    return None


async def _firings(visit: Visit, uow: UnitOfWork, id_: UUID) -> list[dict[str, Any]]:
    if visit.may("read", FIRING) is None:
        return []
    f, r = uow.table(FIRING), uow.table("workflow_run")
    statement = select(f, r.c.reference).outerjoin(r, r.c.id == f.c.run_id).where(f.c.trigger_id == id_)
    rows = await uow.execute(scope(statement, uow, "read", FIRING).order_by(f.c.id.desc()).limit(MOST_SHOWN))
    return [
        {
            "at": visit.formats.instant(row.at),
            "delivery": row.delivery,
            "digest": row.payload_digest or "",
            "tone": TONES[row.outcome],
            "outcome": LABELS[row.outcome],
            "reason": row.reason or "",
            "date": day_text(row.business_date) if row.business_date else "",
            "run": {"href": f"/runs/{row.run_id}", "label": row.reference or "Run"} if row.run_id else None,
        }
        for row in rows
    ]


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/triggers/{id}", trigger_page),
    PageRoute("/triggers/{id}/active", switch_page(TRIGGER, HREF, _show), ("POST",)),
)
