"""A run as its pages draw it: rows, the stage tree, the process table, the deadline rail; plain values only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from admin_views.visit import Visit
from admin_views.work_words import (
    KIND_ICONS,
    RUN_STATES,
    TRANSITION_WORDS,
    css_state,
    due_view,
    in_words,
    segments,
    state_words,
    took,
)
from app.domain.workflow.overview import Activity
from app.domain.workflow.queries import ProcessLine, RunSummary, RunTree, StageNode
from app.domain.workflow.states import ProcessState, RunState

VIEWS = ("all", "open", "late", "mine")
NO_FORECAST: Mapping[str, Any] = {"critical_path": False, "expected": "", "miss": None}


def run_row(run: RunSummary, visit: Visit) -> dict[str, Any]:
    """A run as one row of a list."""
    closed = run.state in (RunState.DONE, RunState.CANCELLED)
    state, word = RUN_STATES[run.state]
    standing = standing_of(run)
    return {
        "id": str(run.id),
        "href": f"/runs/{run.id}",
        "label": run.label,
        "reference": run.reference,
        "node": run.node_label or "",
        "business_date": visit.formats.date(run.business_date),
        "state": state,
        "word": word,
        "standing": standing,
        "segments": segments(run.progress),
        "words": in_words(run.progress),
        "closed": run.progress.closed,
        "total": run.progress.total,
        "due": due_view(run.due_at, finished_at=run.finished_at, closed=closed, formats=visit.formats),
        "started": f"{visit.formats.local(run.started_at):%H:%M}",
        "finished": f"{visit.formats.local(run.finished_at):%H:%M}" if run.finished_at else "",
    }


def standing_of(run: RunSummary) -> dict[str, str]:
    """How it stands against its deadlines: icon, tone and word."""
    finished_late = bool(run.finished_at and run.due_at and run.finished_at > run.due_at)
    if run.progress.late or finished_late:
        return {"icon": "alert-octagon", "tone": "late", "word": "Late"}
    if run.progress.counts.get(ProcessState.FAILED):
        return {"icon": "alert-triangle", "tone": "late", "word": "Failed work"}
    return {"icon": "circle-check", "tone": "ok", "word": "On time"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the run is looked at, from the URL."""

    stage: str
    view: str
    tab: str

    def url(self, run_id: UUID, **changes: str) -> str:
        values = {"stage": self.stage, "view": self.view, "tab": self.tab, **changes}
        defaults = {"stage": "", "view": "all", "tab": "tree"}
        query = {name: value for name, value in values.items() if value != defaults[name]}
        return f"/runs/{run_id}" + (f"?{urlencode(query)}" if query else "")


def find_stage(stages: Sequence[StageNode], wanted: str) -> StageNode | None:
    """A stage by its code or its id."""
    for stage in stages:
        if wanted in (stage.code, str(stage.id)):
            return stage
        below = find_stage(stage.stages, wanted)
        if below is not None:
            return below
    return None


def stage_count(stages: Sequence[StageNode]) -> int:
    return sum(1 + stage_count(stage.stages) for stage in stages)


def groups_below(tree: RunTree, chosen: StageNode | None) -> Iterable[tuple[str, Sequence[ProcessLine]]]:
    """The processes below the chosen stage, or of the whole run, by the stage they stand in."""
    pending = [(stage, stage.label) for stage in reversed((chosen,) if chosen else tree.stages)]
    while pending:
        stage, name = pending.pop()
        if stage.processes:
            yield name, stage.processes
        pending.extend((child, f"{name}, {child.label}") for child in reversed(stage.stages))


def in_view(name: str, line: ProcessLine, visit: Visit, now: datetime) -> bool:
    match name:
        case "open":
            return not line.state.closed
        case "late":
            return line.due_at is not None and (line.finished_at or now) > line.due_at
        case "mine":
            return line.assignee_id == visit.actor.id or (
                line.owner_role in visit.actor.roles and line.assignee_id is None and not line.state.closed
            )
    return True


def block_row(stage: StageNode, chosen: StageNode | None, choice: Choice, run_id: UUID) -> dict[str, Any]:
    lines = [line for _, found in lines_of(stage) for line in found]
    progress = stage.progress
    return {
        "label": stage.label,
        "href": choice.url(run_id, stage=stage.code, tab="tree"),
        "current": chosen is not None and (chosen is stage or find_stage(stage.stages, chosen.code) is not None),
        "states": [css_state(line.state) for line in lines],
        "aria": f"Stage {stage.label}: {progress.closed} of {progress.total} closed",
    }


def lines_of(stage: StageNode) -> Iterable[tuple[str, Sequence[ProcessLine]]]:
    yield stage.label, stage.processes
    for child in stage.stages:
        yield from lines_of(child)


def stage_state(stage: StageNode) -> ProcessState:
    """The state of a stage follows from its processes: what needs somebody first."""
    counts = stage.progress.counts
    if stage.progress.total and stage.progress.closed == stage.progress.total:
        return ProcessState.DONE
    order = (
        ProcessState.FAILED, ProcessState.STALE, ProcessState.IN_PROGRESS, ProcessState.IN_REVIEW,
        ProcessState.SUBMITTED, ProcessState.ASSIGNED, ProcessState.READY, ProcessState.WAITING_EXTERNAL,
        ProcessState.ON_HOLD, ProcessState.BLOCKED,
    )  # fmt: skip
    return next((state for state in order if counts.get(state)), ProcessState.PLANNED)


def stage_row(
    stage: StageNode,
    chosen: StageNode | None,
    choice: Choice,
    run_id: UUID,
    visit: Visit,
    *,
    risks: Mapping[UUID, dict[str, Any] | None],
) -> dict[str, Any]:
    """A stage as one row of the tree; `risks` of missing their deadlines by stage."""
    progress = stage.progress
    closed = bool(progress.total) and progress.closed == progress.total
    finished = [line.finished_at for _, found in lines_of(stage) for line in found if line.finished_at]
    due_at = stage.due_at if closed else (progress.worst_due or stage.due_at)
    return {
        "code": stage.code,
        "label": stage.label,
        "href": choice.url(run_id, stage=stage.code, tab="tree"),
        "state": css_state(stage_state(stage)),
        "segments": segments(progress),
        "closed": progress.closed,
        "total": progress.total,
        "selected": chosen is stage,
        "due": due_view(due_at, finished_at=max(finished, default=None), closed=closed, formats=visit.formats),
        "risk": risks.get(stage.id),
        "stages": [stage_row(child, chosen, choice, run_id, visit, risks=risks) for child in stage.stages],
    }


def worst_due(lines: Sequence[ProcessLine], visit: Visit) -> dict[str, Any]:
    dues = [line.due_at for line in lines if line.due_at and not line.state.closed]
    return due_view(min(dues, default=None), finished_at=None, closed=False, formats=visit.formats)


def process_line(
    line: ProcessLine, visit: Visit, now: datetime, ahead: Mapping[UUID, dict[str, Any]] | None = None
) -> dict[str, Any]:
    icon, kind = KIND_ICONS[line.kind]
    mine = line.assignee_id == visit.actor.id
    review = line.state is ProcessState.IN_REVIEW and visit.may("transition:approve", "process_run") is not None
    began = line.started_at or (line.finished_at if line.state.closed else None)  # a decision has no start of its own
    usual = f"usual {line.expected_minutes}m" if line.expected_minutes else ""
    forecast = (ahead or {}).get(line.id, NO_FORECAST)
    return {
        "href": f"/processes/{line.id}",
        "label": line.label,
        "icon": icon,
        "kind": kind,
        "critical": line.critical,
        "hint": line.hint,
        "queries": line.open_queries,
        "state": css_state(line.state),
        "word": state_words(line),
        "owner": line.assignee or (line.owner_role or "engine").replace("_", " ").capitalize(),
        "mine": mine,
        "unclaimed": line.assignee is None and line.state is ProcessState.READY and bool(line.owner_role),
        "due": due_view(
            line.due_at, finished_at=line.finished_at, closed=line.state.closed, formats=visit.formats, now=now
        ),
        "started": f"{visit.formats.local(began):%H:%M}" if began else "",
        "took": took(line.started_at, line.finished_at, now),
        "usual": usual,
        **forecast,
        "evidence_have": line.evidence_have,
        "evidence_need": line.evidence_need,
        "action": "Review" if review else ("Open" if line.state.closed else "Work"),
        "primary": review or (mine and not line.state.closed),
    }


def time_axis(run: RunSummary, now: datetime, visit: Visit, reach: datetime | None = None) -> dict[str, Any]:
    """Start, now (or the end) and the deadline on one rail, in percent of its length; it shows `reach` as well."""
    assert run.due_at is not None
    until = run.finished_at or now
    end = max(run.due_at, until, reach or until) + (run.due_at - run.started_at) * 0.12
    whole = max((end - run.started_at).total_seconds(), 1.0)

    def place(at: datetime) -> float:
        return max(0.0, min(100.0, 100.0 * (at - run.started_at).total_seconds() / whole))

    today = visit.formats.local(now).date()

    def clock(at: datetime) -> str:
        here = visit.formats.local(at)
        return f"{here:%H:%M}" if here.date() == today else f"{here.day} {here:%b %H:%M}"

    word = "finished" if run.finished_at else "now"
    return {
        "place": place,
        "predicted": None,
        "predicted_label": "",
        "start_label": f"{clock(run.started_at)} start",
        "now": place(until),
        "now_label": f"{word} {clock(until)}",
        "due": place(run.due_at),
        "due_label": f"{clock(run.due_at)} deadline",
        "label": f"Started {clock(run.started_at)}, {word} {clock(until)}, deadline {clock(run.due_at)}",
    }


def event_row(event: Activity, visit: Visit, now: datetime) -> dict[str, Any]:
    """A transition as a sentence: who did what with which process."""
    icon, verb = TRANSITION_WORDS[event.name]
    here = visit.formats.local(event.at)
    today = visit.formats.local(now).date()
    bad = event.name.value in ("reject", "fail", "cancel")
    return {
        "time": f"{here:%H:%M}" if here.date() == today else f"{here.day} {here:%b}",
        "day": visit.formats.instant(event.at),
        "iso": event.at.isoformat(),
        "icon": icon,
        "tone": "bad" if bad else ("good" if event.to_state is ProcessState.DONE else ""),
        "actor": event.actor or "Engine",
        "you": event.actor_id is not None and event.actor_id == visit.actor.id,
        "verb": verb,
        "label": event.label,
        "href": f"/processes/{event.process_run_id}",
        "node": event.node_label or "",
        "run": event.run_label,
        "round": event.round,
        "reason": event.reason if bad or event.name.value in ("hold", "skip") else "",
        "late": event.was_late and event.to_state is ProcessState.DONE,
    }


def run_actions(run: RunSummary, visit: Visit) -> list[dict[str, Any]]:
    """Hold, resume and cancel, as far as the run's state offers them; refused ones say why."""
    offered = {
        RunState.ACTIVE: (
            ("hold", "Hold run", "player-pause", "required"),
            ("cancel", "Cancel run", "ban", "required"),
        ),
        RunState.ON_HOLD: (
            ("resume", "Resume run", "player-play", "none"),
            ("cancel", "Cancel run", "ban", "required"),
        ),
    }.get(run.state, ())
    texts = {
        "hold": "Nobody can go on with its processes until the run is resumed. Deadlines go on.",
        "cancel": f"Its {run.progress.total - run.progress.closed} open processes are cancelled with it; "
        "closed ones stay as they are.",
    }
    return [
        {
            "name": name,
            "label": label,
            "icon": icon,
            "href": f"/runs/{run.id}/{name}",
            "allowed": visit.may(f"transition:{name}", "workflow_run") is not None,
            "reason": f"Your roles do not allow you to {name} runs; operations may.",
            "ask": ask,
            "confirm": texts.get(name),
            "danger": name == "cancel",
            "primary": name == "resume",
        }
        for name, label, icon, ask in offered
        if name != "cancel" or visit.may("transition:cancel", "workflow_run") is not None
    ]
