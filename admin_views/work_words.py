"""How runs, processes and transitions are called and drawn, the same on every page."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from admin_views.formats import Formats
from app.domain.workflow.queries import ProcessLine, Progress
from app.domain.workflow.states import Name, ProcessKind, ProcessState, RunState

KIND_ICONS = {
    ProcessKind.MANUAL: ("pencil", "Manual"),
    ProcessKind.APPROVAL: ("rubber-stamp", "Approval"),
    ProcessKind.AUTOMATIC: ("robot", "Automatic"),
    ProcessKind.CHECKLIST: ("list-check", "Checklist"),
    ProcessKind.SIGN_OFF: ("signature", "Sign-off"),
    ProcessKind.WAIT_FOR: ("hourglass", "Wait"),
}
# Run state -> (state class, word); a run that is active is shown by how it stands.
RUN_STATES = {
    RunState.ACTIVE: ("in_progress", "In progress"),
    RunState.ON_HOLD: ("on_hold", "On hold"),
    RunState.DONE: ("done", "Done"),
    RunState.CANCELLED: ("cancelled", "Cancelled"),
}
TRANSITION_WORDS: Mapping[Name, tuple[str, str]] = {
    Name.CLAIM: ("user-check", "took"),
    Name.UNCLAIM: ("user-minus", "gave back"),
    Name.ASSIGN: ("user-plus", "assigned"),
    Name.START: ("player-play", "started"),
    Name.SUBMIT: ("send", "submitted"),
    Name.APPROVE: ("checks", "approved"),
    Name.REJECT: ("arrow-back-up", "rejected"),
    Name.HOLD: ("player-pause", "put on hold"),
    Name.RESUME: ("player-play", "resumed"),
    Name.REQUEST_SKIP: ("player-track-next", "asked to skip"),
    Name.DECLINE_SKIP: ("x", "declined to skip"),
    Name.SKIP: ("player-track-next", "skipped"),
    Name.BLOCK: ("lock", "blocked"),
    Name.CANCEL: ("ban", "cancelled"),
    Name.RETRY: ("refresh", "retried"),
    Name.FINISH: ("check", "finished"),
    Name.ARRIVED: ("package-import", "said has arrived"),
    Name.FAIL: ("alert-triangle", "failed"),
    Name.RELEASE: ("lock-open", "released"),
    Name.BEGIN: ("player-play", "began"),
    Name.MIGRATE: ("transform", "migrated"),
    Name.REOPEN: ("rotate-2", "opened again"),
    Name.STALE: ("clock-pause", "put in doubt"),
    Name.REVALIDATE: ("checks", "found still valid"),
    Name.REDO: ("rotate-2", "began anew"),
}
# From what is closed to what has not begun: the order of the parts of a progress bar.
BAR_ORDER = (
    ProcessState.DONE, ProcessState.SKIPPED, ProcessState.IN_REVIEW, ProcessState.SUBMITTED, ProcessState.IN_PROGRESS,
    ProcessState.ASSIGNED, ProcessState.READY, ProcessState.WAITING_EXTERNAL, ProcessState.ON_HOLD, ProcessState.FAILED,
    ProcessState.REJECTED, ProcessState.STALE, ProcessState.BLOCKED, ProcessState.PLANNED, ProcessState.CANCELLED,
)  # fmt: skip


def css_state(state: ProcessState) -> str:
    """The class of the styles and icons for a process state."""
    return "waiting" if state is ProcessState.WAITING_EXTERNAL else state.value


def segments(progress: Progress) -> list[dict[str, Any]]:
    """The counts by state in the order of a progress bar."""
    return [
        {"state": css_state(state), "label": state.label, "count": progress.counts[state]}
        for state in BAR_ORDER
        if progress.counts.get(state)
    ]


def in_words(progress: Progress, *, closed: bool = False) -> str:
    """Counts in a sentence: "1 failed, 4 blocked"."""
    parts = [
        f"{segment['count']} {segment['label'].lower()}"
        for segment, state in zip(segments(progress), [s for s in BAR_ORDER if progress.counts.get(s)], strict=True)
        if closed or not state.closed
    ]
    return ", ".join(parts[:3]) or "all closed"


def due_view(
    due_at: datetime | None,
    *,
    finished_at: datetime | None,
    closed: bool,
    formats: Formats,
    warn_minutes: int = 30,
    now: datetime | None = None,
) -> dict[str, Any]:
    """What the macro `due` takes: open clocks tick, finished ones say whether the deadline was met.

    With `now` a deadline of another day is said with its date.
    """
    if due_at is None:
        return {"at": None, "state": "none", "text": "", "warn_at": None, "clock": ""}
    here = formats.local(due_at)
    is_today = now is None or here.date() == formats.local(finished_at if closed and finished_at else now).date()
    clock = f"due {here:%H:%M}" if is_today else f"due {here.day} {here:%b %H:%M}"
    if not closed:
        return {
            "at": due_at,
            "state": "open",
            "text": "",
            "warn_at": due_at - timedelta(minutes=warn_minutes),
            "clock": clock,
        }
    if finished_at is None:
        return {"at": due_at, "state": "none", "text": "", "warn_at": None, "clock": clock}
    met = finished_at <= due_at
    text = f"{'met' if met else 'missed'} {formats.local(finished_at):%H:%M}"
    return {"at": due_at, "state": "met" if met else "missed", "text": text, "warn_at": None, "clock": clock}


def took(started_at: datetime | None, finished_at: datetime | None, now: datetime) -> str:
    """How long something took or has been taking: "7m 40s"."""
    if started_at is None:
        return ""
    seconds = max(0, int(((finished_at or now) - started_at).total_seconds()))
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {seconds:02d}s" if minutes < 20 else f"{minutes}m"


def state_words(line: ProcessLine) -> str:
    """The state as a chip says it; a review says at which level it stands."""
    if line.state is ProcessState.IN_REVIEW and line.levels > 1:
        return f"Review {line.level}/{line.levels}"
    return line.state.label
