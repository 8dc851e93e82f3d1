"""Why a process stands still, or what will hold it back, as its page says it."""

from typing import Any

from admin_views.process_view import Drawn, role_name, tone, with_zone
from app.domain.workflow.decisions import queries_in_words
from app.domain.workflow.edges import EdgeType, Hardness
from app.domain.workflow.neighbours import Neighbour
from app.domain.workflow.states import Guard, Name, ProcessState


def blocked(drawn: Drawn) -> dict[str, Any] | None:
    """Why it stands still, or what will hold it back; None where nothing does."""
    found = _blocked(drawn)
    why = drawn.detail.blocked
    soft = [_waiting(drawn, n) for n in why.soft]
    held = _held_by_queries(drawn)
    if held is not None and (found is None or not found["text"]):
        found = {"title": found["title"], "text": held, "waiting": found["waiting"]} if found else None
        found = found or {"title": "Cannot be completed yet.", "text": held, "waiting": []}
    if found is not None:
        return {**found, "waiting": found["waiting"] + soft}
    if drawn.detail.row.state is ProcessState.BLOCKED or not (soft or why.predecessors):
        return None
    waiting = [_waiting(drawn, n) for n in why.predecessors]
    title = "May be worked on, and completed later." if waiting else "Should wait."
    return {"title": title, "text": "", "waiting": waiting + soft}


def _waiting(drawn: Drawn, neighbour: Neighbour) -> dict[str, Any]:
    state = neighbour.state
    return {
        "label": neighbour.label,
        "href": f"/processes/{neighbour.id}" if neighbour.id else "",
        "tone": tone(state) if state else "planned",
        "state": state.label if state else "No run yet",
        "owner": "" if neighbour.workflow else neighbour.assignee or role_name(neighbour.owner_role),
        "due_at": neighbour.due_at,
        "due_text": f"due {drawn.clock(neighbour.due_at)}" if neighbour.due_at else "",
        "impossible": neighbour.impossible,
        "soft": neighbour.hardness is Hardness.SOFT,
        "text": _waiting_text(drawn, neighbour),
    }


def _waiting_text(drawn: Drawn, neighbour: Neighbour) -> str:
    """Only what the line does not say already: the type, a lag, another workflow."""
    plain = neighbour.type is EdgeType.FS and neighbour.lag is None and neighbour.workflow is None
    return "" if plain else neighbour.sentence(lambda instant: with_zone(drawn, instant) or "")


def _blocked(drawn: Drawn) -> dict[str, Any] | None:
    row, why = drawn.detail.row, drawn.detail.blocked
    waiting = [_waiting(drawn, n) for n in why.predecessors]
    match row.state:
        case ProcessState.BLOCKED if waiting:
            count = "1 process" if len(waiting) == 1 else f"{len(waiting)} processes"
            return {"title": f"Waits for {count}.", "text": _blocked_again(drawn), "waiting": waiting}
        case ProcessState.STALE:
            return {"title": "In doubt until this has ended again.", "text": "", "waiting": waiting}
        case ProcessState.WAITING_EXTERNAL if waiting:
            return {"title": "Done, and may not be completed yet.", "text": "", "waiting": waiting}
        case ProcessState.PLANNED:
            at = with_zone(drawn, why.earliest_start)
            return {"title": f"Begins at {at}." if at else "Begins later.", "text": "", "waiting": waiting}
        case ProcessState.ON_HOLD:
            until = f" Somebody looks again by {with_zone(drawn, why.review_by)}." if why.review_by else ""
            return {"title": "On hold.", "text": f"{why.reason or ''}{until}", "waiting": waiting}
        case ProcessState.FAILED:
            return {"title": "All attempts failed.", "text": why.reason or "", "waiting": []}
        case ProcessState.SKIPPED | ProcessState.CANCELLED:
            return {"title": f"{row.state.label}.", "text": why.reason or "", "waiting": []}
        case ProcessState.IN_PROGRESS | ProcessState.ASSIGNED if row.round > 1 and why.reason:
            title = "Opened again." if _opened_again(drawn) else f"Sent back in round {row.round - 1}."
            return {"title": title, "text": f"“{why.reason}”", "waiting": []}
    return None


def _held_by_queries(drawn: Drawn) -> str | None:
    """In words, where no refused action of the reader says so already."""
    row = drawn.detail.row
    if row.blocking_queries <= 0 or row.state.closed:
        return None
    told = any(action.guard == Guard.OPEN_QUERY for action in drawn.detail.actions)
    return None if told else queries_in_words(row)


def _blocked_again(drawn: Drawn) -> str:
    """Why it waits although it was free already, such as that its predecessor was opened again."""
    latest = next(iter(drawn.detail.history), None)
    return latest.reason or "" if latest is not None and latest.name is Name.BLOCK else ""


def _opened_again(drawn: Drawn) -> bool:
    """Whether its present round came about by opening it again, and not by a rejection."""
    rounds = (line.name for line in drawn.detail.history if line.name in (Name.REJECT, Name.REOPEN, Name.REDO))
    return next(rounds, None) in (Name.REOPEN, Name.REDO)
