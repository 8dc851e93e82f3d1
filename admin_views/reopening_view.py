"""What the pages show of work that is opened again: plain values only."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from admin_views.process_view import KINDS, Drawn, role_name, short_hash, tone
from admin_views.visit import Visit
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.reopening import Affected, Effect, Impact
from app.domain.workflow.reopening_queries import OpenRequest, Statement, StatementHead
from app.domain.workflow.states import ProcessKind, ProcessState

MOST_SHOWN = 200
GROUPS = (
    (Effect.STALE, "In doubt", "Finished. It stands if the new result is the same, and is done again if it is not."),
    (Effect.TOLD, "Goes on, with a warning", "Under way. Whoever works on it is told."),
    (Effect.BLOCKED, "Waits", "Not begun. It waits until this has ended again."),
    (Effect.NONE, "Stays as it is", "Cancelled."),
)


def on_process(drawn: Drawn) -> dict[str, Any]:
    """Of the page of a process: the way to open it again, what is in doubt, and an open request."""
    row, request = drawn.detail.row, drawn.detail.request
    stale = None
    if drawn.detail.names.stale_reason and not row.state.closed:
        in_doubt = row.state is ProcessState.STALE
        title = "In doubt." if in_doubt else "What this builds on has changed."
        stale = {"title": title, "text": drawn.detail.names.stale_reason}
    return {
        "href": f"/processes/{row.id}/reopen" if drawn.detail.may_reopen else "",
        "stale": stale,
        "request": _request(drawn, request) if request is not None else None,
    }


def _request(drawn: Drawn, request: OpenRequest) -> dict[str, Any]:
    refused = request.refused
    doubted = sum(each["effect"] == Effect.STALE for each in request.impact)
    under_way = sum(each["effect"] == Effect.TOLD for each in request.impact)
    person = drawn.person(request.requested_by, request.requested_by_id)
    return {
        **person,
        "on_behalf_of": request.requested_for,
        "at": drawn.clock(request.requested_at),
        "reason": request.reason,
        "affects": f"It would put {doubted} finished {_processes(doubted)} in doubt"
        + (f" and concern {under_way} under way." if under_way else "."),
        "may": refused is None,
        "refusal": f"{refused.detail} {refused.satisfy}".strip() if refused is not None else "",
        "href": f"/processes/{drawn.detail.row.id}/reopenings/{request.id}",
    }


def _processes(count: int) -> str:
    return "process" if count == 1 else "processes"


def impact_page(row: ProcessRow, impact: Impact, statements: int) -> dict[str, Any]:
    """What opening it again means, by effect; processes of other runs are named with their run."""
    groups = []
    for effect, title, hint in GROUPS:
        found = [each for each in impact.affected if each.effect is effect]
        if found:
            shown = [_affected(each) for each in found[:MOST_SHOWN]]
            groups.append(
                {"title": title, "hint": hint, "count": len(found), "rows": shown, "more": len(found) - len(shown)}
            )
    rounds = f"It begins anew as round {row.round + 1}"
    again = {
        ProcessKind.APPROVAL: f"{rounds}; its approvers decide again.",
        ProcessKind.AUTOMATIC: f"{rounds}; a worker does it again.",
    }.get(row.kind, f"{rounds}; whoever did it has it again.")
    return {
        "id": str(row.id),
        "label": row.label,
        "reference": row.run_reference,
        "run_href": f"/runs/{row.run_id}",
        "href": f"/processes/{row.id}",
        "tone": tone(row.state),
        "state": row.state.label,
        "version": row.row_version,
        "digest": impact.digest,
        "groups": groups,
        "again": again,
        "voids": row.levels > 0 or row.kind is ProcessKind.APPROVAL,
        "restates": impact.restates,
        "statement": statements + 1,
        "second_person": impact.second_person,
        "others": sorted({each.run for each in impact.affected if each.run is not None}),
    }


def _affected(each: Affected) -> dict[str, Any]:
    return {
        "label": each.label,
        "href": f"/processes/{each.id}",
        "tone": tone(each.state),
        "state": each.state.label,
        "run": each.run,
        "run_href": f"/runs/{each.run_id}",
    }


def badges(statements: Sequence[StatementHead], run_id: UUID, visit: Visit) -> list[dict[str, str]]:
    """One for each time that the run was signed and restated since, the latest first."""
    return [
        {
            "label": f"Restated, statement {head.number} of {visit.formats.date(visit.formats.local(head.signed_at))}",
            "title": head.superseded_reason or "",
            "href": f"/runs/{run_id}/statements/{head.number}",
        }
        for head in statements
    ]


def statement_page(statement: Statement, run_id: UUID, label: str, visit: Visit) -> dict[str, Any]:
    """A run as it was signed."""
    head, content = statement.head, statement.content
    processes = [_signed(process, visit) for process in content["processes"] or ()]
    return {
        "number": head.number,
        "label": label,
        "run_href": f"/runs/{run_id}",
        "reference": content["reference"],
        "digest": head.digest,
        "superseded": head.superseded_reason or "",
        "facts": [
            {"label": "Signed", "value": visit.formats.instant(head.signed_at)},
            {
                "label": "Restated from",
                "value": visit.formats.instant(head.superseded_at) if head.superseded_at else "",
            },
            {"label": "Business date", "value": visit.formats.date(date.fromisoformat(content["business_date"]))},
            {"label": "Run", "value": content["reference"]},
        ],
        "processes": processes,
        "signatures": sum(len(process["signatures"]) for process in processes),
    }


def _signed(process: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    state = ProcessState(process["state"])
    return {
        "label": process["label"],
        "code": process["code"],
        "kind": KINDS.get(ProcessKind(process["kind"]), process["kind"].replace("_", " ").capitalize()),
        "tone": tone(state),
        "state": state.label,
        "round": process["round"],
        "maker": process["maker"] or "",
        "finished": _instant(process["finished_at"], visit),
        "comment": process["comment"] or "",
        "hash": process["hash"] or "",
        "short": short_hash(process["hash"]) or "",
        "signatures": [
            {
                "by": each["by"],
                "for": each["for"],
                "level": each["level"],
                "role": role_name(each["role"]),
                "at": _instant(each["at"], visit),
                "same": each["hash"] == process["hash"],
            }
            for each in process["signatures"]
        ],
    }


def _instant(value: str | None, visit: Visit) -> str:
    return visit.formats.instant(datetime.fromisoformat(value)) if value else ""
