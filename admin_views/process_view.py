"""What steps/process.html shows of the process itself: head, deadline, actions, approvals, dependencies, history.

Everything is worded, formatted and linked here; the template only lays it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from admin_views.cells import markdown
from admin_views.formats import Formats, duration
from app.core.errors import StepsError
from app.domain.workflow.actions import ActionState
from app.domain.workflow.content import Requirement, unmet_controls
from app.domain.workflow.decisions import Refusal
from app.domain.workflow.process_page import ProcessDetail
from app.domain.workflow.process_record import ProcessRecord
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import Guard, Input, Name, ProcessKind, ProcessState

NOTHING = "\u2013"
WARN_WITHOUT_DEFINITION = timedelta(minutes=30)

ICONS = {
    Name.CLAIM: "hand-grab", Name.UNCLAIM: "user-minus", Name.ASSIGN: "user-share", Name.START: "player-play",
    Name.SUBMIT: "send", Name.APPROVE: "check", Name.REJECT: "arrow-back-up", Name.HOLD: "player-pause",
    Name.RESUME: "player-play", Name.SKIP: "player-track-next", Name.REQUEST_SKIP: "player-track-next",
    Name.DECLINE_SKIP: "x", Name.CANCEL: "ban", Name.RETRY: "repeat", Name.ARRIVED: "package-import",
}  # fmt: skip
# In the order in which a person looks for them; the first one that is allowed is the primary button.
ORDER = (
    Name.APPROVE, Name.SUBMIT, Name.START, Name.CLAIM, Name.RETRY, Name.RESUME, Name.ARRIVED, Name.REJECT,
    Name.UNCLAIM, Name.HOLD, Name.ASSIGN, Name.REQUEST_SKIP, Name.SKIP, Name.DECLINE_SKIP, Name.CANCEL,
)  # fmt: skip
PRIMARY = (Name.APPROVE, Name.SUBMIT, Name.START, Name.CLAIM, Name.RETRY, Name.RESUME)
# Refusals that say that it is not this person's task at all, rather than what stands in the way.
NOT_THEIRS = frozenset({Guard.PERMISSION, Guard.LEAD_SCOPE})
PART_IN_IT = (
    Guard.MAKER_IS_NOT_CHECKER, Guard.NOT_THE_MAKERS_DELEGATE, Guard.ONE_LEVEL_EACH, Guard.DUTY_RULE,
    Guard.SECOND_PERSON,
)  # fmt: skip
PATHS = ("reason", "review_by", "assignee_id", "comment", "reason_code", "to_level")
WHAT_IT_DOES = {
    Name.SUBMIT: "It is handed in with what stands here now: comment, checklist, evidence and figures.",
    Name.APPROVE: "You sign what was submitted, with your name and the time.",
    Name.REJECT: "It goes back, and the next round begins.",
    Name.REQUEST_SKIP: "Somebody else confirms it or declines it; until then nothing changes, and its clock runs on.",
    Name.DECLINE_SKIP: "It is to be done after all.",
    Name.HOLD: "Nobody can go on with it until somebody resumes it. Its clock keeps its deadline.",
    Name.ASSIGN: "It becomes this person's work.",
    Name.ARRIVED: "What it waits for has come another way. It is done, and what waits for it may begin.",
    Name.SKIP: "It is closed without being done. What accepts that may begin.",
    Name.CANCEL: "It is closed for good. What depends on it may never begin.",
}
KINDS = {
    ProcessKind.MANUAL: "Manual",
    ProcessKind.APPROVAL: "Approval",
    ProcessKind.AUTOMATIC: "Automatic",
    ProcessKind.CHECKLIST: "Checklist",
    ProcessKind.SIGN_OFF: "Sign-off",
    ProcessKind.WAIT_FOR: "Wait",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that was not accepted: where on the page it was made, what was typed, what to mend."""

    place: str
    error: StepsError
    values: Mapping[str, str] = field(default_factory=dict)

    def problem(self, path: str) -> str:
        return next((p.message for p in self.error.problems if p.path == path), "")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What every part of the page needs to word itself."""

    detail: ProcessDetail
    record: ProcessRecord
    formats: Formats
    now: datetime
    me: UUID | None
    unprepared: Refusal | None  # why the reader may not change what is prepared; None: they may
    comparable: bool  # what is signed here is on this page, so that it can be told from what stands there now
    refused: Refused | None = None
    predicted: str | None = None  # when it will probably be finished

    @property
    def may_prepare(self) -> bool:
        return self.unprepared is None

    def clock(self, at: datetime) -> str:
        """An instant in few words: the time, with its date where that is not today."""
        here = self.formats.local(at)
        if here.date() == self.formats.local(self.now).date():
            return f"{here:%H:%M}"
        return f"{here.day} {here:%b} {here:%H:%M}"

    def person(self, name: str | None, id_: UUID | None) -> dict[str, Any]:
        return {"name": name or "STEPS", "you": id_ is not None and id_ == self.me}

    def values_of(self, place: str) -> Mapping[str, str]:
        return self.refused.values if self.refused is not None and self.refused.place == place else {}

    def error_of(self, place: str) -> Refused | None:
        return self.refused if self.refused is not None and self.refused.place == place else None


def short_hash(value: str | None) -> str | None:
    """The beginning of a fingerprint, as a person compares it: 7c1e·9a40."""
    return f"{value[:4]}·{value[4:8]}" if value else None


def role_name(code: str | None) -> str:
    return (code or "").replace("_", " ").capitalize()


def tone(state: ProcessState) -> str:
    return "waiting" if state is ProcessState.WAITING_EXTERNAL else state.value


def head(drawn: Drawn) -> dict[str, Any]:
    """The title, the state and the line of facts."""
    row, names = drawn.detail.row, drawn.detail.names
    level = f" {row.level} of {row.levels}" if row.state is ProcessState.IN_REVIEW and row.levels > 1 else ""
    rule = row.level_rule
    if row.state is ProcessState.IN_REVIEW and rule is not None and rule.needed > 1:
        level += f", {row.signatures} of {rule.needed} signed"
    day = f"{row.business_date:%a} {row.business_date.day} {row.business_date:%b %Y}"
    levels = f", {row.levels} level{'s' if row.levels > 1 else ''}" if row.levels else ""
    owner = names.assignee or role_name(row.owner_role)
    you = " (you)" if row.assignee_id is not None and row.assignee_id == drawn.me else ""
    maker = f"{names.maker}{' (you)' if row.maker_id == drawn.me else ''}" if names.maker else None
    run = f"/runs/{row.run_id}"
    return {
        "title": row.label,
        "crumbs": [
            {"label": "Workflow runs", "href": "/runs"},
            {"label": f"{names.run_label}, {row.business_date.day} {row.business_date:%b}", "href": run},
            {"label": names.stage, "href": f"{run}?stage={names.stage_run_id}"},
            {"label": row.label, "href": None},
        ],
        "state": {"tone": tone(row.state), "label": f"{row.state.label}{level}"},
        "round": row.round if row.round > 1 else None,
        "critical": names.critical,
        "held_by": row.blocking_queries if not row.state.closed else 0,
        "facts": [
            {"label": "Node", "value": names.node_label},
            {"label": "Business date", "value": day},
            {"label": "Run", "value": row.run_reference, "href": run},
            {"label": "Assignee" if names.assignee else "Owner", "value": f"{owner}{you}"},
            {"label": "Maker", "value": maker},
            {"label": "Candidates", "value": ", ".join(row.candidates.names) or None},
            {"label": "Added", "value": "while the run was under way" if row.ad_hoc else None},
            {"label": "Kind", "value": f"{KINDS[row.kind]}{levels}"},
            {"label": "Action", "value": row.action},
            {"label": "Rule", "value": f"{row.rule}: {names.routed}" if row.rule and names.routed else row.rule},
            {"label": "Version", "value": f"v{names.version_number}"},
        ],
        "previous_href": _process(drawn.record.previous_id),
        "next_href": _process(drawn.record.next_id),
        "instructions": markdown(names.instructions) if names.instructions else None,
    }


def _process(id_: UUID | None) -> str | None:
    return f"/processes/{id_}" if id_ is not None else None


def deadline(drawn: Drawn) -> dict[str, Any]:
    """The ring and the lines beside it. A closed process shows how it ended against its deadline."""
    row, names = drawn.detail.row, drawn.detail.names
    usual = timedelta(minutes=names.expected_minutes) if names.expected_minutes else None
    lines = [
        ("Due", with_zone(drawn, row.due_at) if row.due_at else "No deadline"),
        ("Not before", with_zone(drawn, row.earliest_start) if row.state is ProcessState.PLANNED else None),
        ("Started", drawn.clock(row.started_at) if row.started_at else None),
        ("Finished", _finished(drawn)),
        ("Predicted", drawn.predicted),
        ("Usually", f"takes {duration(usual)}" if usual and row.finished_at is None else None),
        ("Look again", with_zone(drawn, row.review_by) if row.state is ProcessState.ON_HOLD else None),
    ]
    shown = [{"label": label, "value": value} for label, value in lines if value][:4]
    return {"lines": shown, "ring": _ring(drawn, usual)}


def with_zone(drawn: Drawn, at: datetime | None) -> str | None:
    return f"{drawn.clock(at)} {drawn.formats.zone_name(at)}" if at else None


def _finished(drawn: Drawn) -> str | None:
    row = drawn.detail.row
    if row.finished_at is None:
        return None
    took = f", took {duration(_minutes(row.finished_at - row.started_at))}" if row.started_at else ""
    return f"{drawn.clock(row.finished_at)}{took}"


def _minutes(span: timedelta) -> timedelta:
    """Whole minutes, and seconds only below one minute."""
    return timedelta(seconds=int(span.total_seconds() // 60) * 60 if span >= timedelta(minutes=1) else span.seconds)


def _ring(drawn: Drawn, usual: timedelta | None) -> dict[str, Any] | None:
    row = drawn.detail.row
    if row.due_at is None:
        return None
    begun = row.ready_at or row.earliest_start or row.due_at - (usual or timedelta(hours=1))
    if row.state.closed:
        at = row.finished_at or row.due_at
        late = row.state is ProcessState.DONE and at > row.due_at
        called_off = row.state is not ProcessState.DONE
        tone_, word = ("far", row.state.value) if called_off else (("breach", "late") if late else ("ok", "early"))
        big = NOTHING if called_off else _span(abs(row.due_at - at))
        return {"percent": 100.0, "big": big, "sub": word, "tone": tone_, "label": f"{big} {word}", "ticks": False}
    left = row.due_at - drawn.now
    window = row.due_at - begun
    warn_at = row.due_at - timedelta(minutes=drawn.detail.names.warn_minutes or 0)
    if not drawn.detail.names.warn_minutes:
        warn_at = row.due_at - WARN_WITHOUT_DEFINITION
    percent = 100.0 if left < timedelta(0) or window <= timedelta(0) else min(100.0, 100.0 * (left / window))
    over = left < timedelta(0)
    return {
        "percent": percent,
        "big": _span(abs(left)),
        "sub": "over" if over else "left",
        "tone": "breach" if over else ("warn" if drawn.now >= warn_at else "far"),
        "label": f"{_span(abs(left))} {'over the deadline' if over else 'left'}",
        "ticks": True,
        "due_at": row.due_at,
        "warn_at": warn_at,
        "from_at": begun,
    }


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes >= 24 * 60:
        return f"{minutes // 1440} d {minutes % 1440 // 60} h"
    return f"{minutes // 60:02}:{minutes % 60:02}"


def actions(drawn: Drawn) -> dict[str, Any]:
    """The buttons: those allowed, those refused with the reason, and apart from them what is not theirs at all."""
    states = sorted((_told(drawn, a) for a in drawn.detail.actions), key=lambda action: ORDER.index(action.name))
    primary = next((a.name for a in states if a.allowed and a.name in PRIMARY), None)
    shown = [a for a in states if a.allowed or a.guard not in NOT_THEIRS]
    others = [a for a in states if not a.allowed and a.guard in NOT_THEIRS]
    return {
        "buttons": [_action(drawn, a, primary) for a in shown],
        "refusals": _refusals(drawn, [a for a in shown if not a.allowed]),
        "others": [{"label": a.label, "reason": a.refusal} for a in others],
        "version": drawn.detail.row.row_version,
        "acting_for": sorted({a.acting_for for a in shown if a.acting_for}),
        "skip": _skip_request(drawn),
    }


def _skip_request(drawn: Drawn) -> dict[str, Any] | None:
    """That somebody has asked for it to be skipped; None where nobody has."""
    row = drawn.detail.row
    if row.skip_requested_by_id is None:
        return None
    person = drawn.person(drawn.detail.names.skip_requested_by, row.skip_requested_by_id)
    return {**person, "reason": row.skip_reason or "", "unmet": _unmet_controls(drawn)}


def _told(drawn: Drawn, action: ActionState) -> ActionState:
    """Whoever prepared it is told so first, rather than which role decides."""
    row = drawn.detail.row
    if (
        action.allowed
        or action.name is not Name.APPROVE
        or drawn.me not in row.makers
        or action.guard not in NOT_THEIRS
    ):
        return action
    reason = f"You prepared what “{row.label}” decides on in round {row.round}. Rule: maker is not checker."
    return replace(action, guard=Guard.MAKER_IS_NOT_CHECKER, refusal=reason)


def _action(drawn: Drawn, action: ActionState, primary: Name | None) -> dict[str, Any]:
    row, place = drawn.detail.row, action.name.value
    tried, typed = drawn.error_of(place), drawn.values_of(place)
    commented = action.name in (Name.SUBMIT, Name.APPROVE, Name.REJECT)
    saved = row.comment if action.name is Name.SUBMIT else ""
    asks = commented or bool(action.needs) or action.name in (Name.ASSIGN, Name.SKIP)
    return {
        "name": place,
        "label": "Call off" if row.ad_hoc and action.name is Name.CANCEL else action.label,
        "icon": ICONS[action.name],
        "href": f"/processes/{row.id}/transitions/{place}",
        "allowed": action.allowed,
        "reason": action.refusal,
        "dialog": asks and action.allowed,
        "primary": action.name is primary,
        "danger": action.name in (Name.REJECT, Name.CANCEL, Name.SKIP),
        "acting_for": action.acting_for,
        "reasons": _reasons(drawn, typed) if action.name is Name.REJECT else [],
        "levels": _levels_below(drawn, typed) if action.name is Name.REJECT else [],
        "unmet": _unmet_controls(drawn) if action.name in (Name.SKIP, Name.REQUEST_SKIP) else [],
        "text": " ".join(part for part in (_does(row, action.name), _soft(action)) if part),
        "reason_needed": Input.REASON in action.needs,
        "review_by_needed": Input.REVIEW_BY in action.needs,
        "assignee_needed": Input.ASSIGNEE in action.needs,
        "comment": {"value": typed.get("comment", saved or ""), "required": row.require_comment and not saved}
        if action.name in (Name.SUBMIT, Name.APPROVE)
        else None,
        "draft_href": f"/processes/{row.id}/comment" if action.name is Name.SUBMIT and drawn.may_prepare else None,
        "signs": short_hash(row.snapshot_hash) if action.name is Name.APPROVE else None,
        "typed": {
            "reason": typed.get("reason", ""),
            "review_by": typed.get("review_by", ""),
            "assignee_id": typed.get("assignee_id", ""),
        },
        "error": tried.error.detail if tried and not tried.error.problems else "",
        "errors": {path: tried.problem(path) for path in PATHS} if tried else {},
        "open": tried is not None,
    }


def _does(row: ProcessRow, name: Name) -> str:
    if row.ad_hoc and name is Name.CANCEL:
        return "It was added to this run, and is closed for good. What waits for it goes on without it."
    return WHAT_IT_DOES.get(name, "")


def _soft(action: ActionState) -> str:
    """What it goes over, where it does."""
    return f"It should wait: {action.warning} Say why you go on all the same." if action.warning else ""


def _reasons(drawn: Drawn, typed: Mapping[str, str]) -> list[dict[str, Any]]:
    chosen = typed.get("reason_code", "")
    return [{"value": code, "label": label, "chosen": code == chosen} for code, label in drawn.detail.names.reasons]


def _levels_below(drawn: Drawn, typed: Mapping[str, str]) -> list[dict[str, Any]]:
    """Where a rejection may go back to beside whoever prepared it."""
    row, chosen = drawn.detail.row, typed.get("to_level", "")
    below = row.approval_levels[: max(0, row.level - 1)]
    return [
        {
            "value": str(rule.level),
            "label": f"Level {rule.level}, {role_name(rule.role).lower() or rule.group}",
            "chosen": str(rule.level) == chosen,
        }
        for rule in below
    ]


def _unmet_controls(drawn: Drawn) -> list[str]:
    return list(unmet_controls(drawn.detail.requirements, (), drawn.detail.row))


def _refusals(drawn: Drawn, refused: Sequence[ActionState]) -> list[dict[str, Any]]:
    """One line for each reason, however many actions it stops; what is missing as a list of its own."""
    # The comment is asked for in the dialog, which opens once the rest is there.
    unmet = [item for item in drawn.detail.requirements if not item.met and item.guard != Guard.COMMENT]
    lines: dict[tuple[str | None, tuple[str, ...]], list[ActionState]] = {}
    for action in refused:
        lines.setdefault((action.refusal, tuple(p.name for p in action.who_can)), []).append(action)
    return [
        {
            "what": " or ".join(action.label[:1].lower() + action.label[1:] for action in stopped),
            "names": [action.name.value for action in stopped],
            "reason": reason or "",
            "missing": _missing(unmet) if stopped[0].guard in {item.guard for item in unmet} else [],
            "who": _who(people),
            "shield": stopped[0].guard in PART_IN_IT,
        }
        for (reason, people), stopped in lines.items()
    ]


def _missing(unmet: Sequence[Requirement]) -> list[dict[str, str]]:
    """What has to be there first, with the part of the page where it is done."""
    parts = {
        Guard.QUESTION.value: "#questions",
        Guard.CHECKLIST.value: "#checklist",
        Guard.EVIDENCE.value: "#evidence",
        Guard.OPEN_QUERY.value: "#queries",
    }
    return [{"text": item.satisfy, "href": parts.get(item.guard, "#figures")} for item in unmet]


def _who(people: Sequence[str]) -> dict[str, str] | None:
    if not people:
        return None
    more = f" and {len(people) - 4} more" if len(people) > 4 else ""
    return {"count": f"{len(people)} can do it:", "names": f"{', '.join(people[:4])}{more}."}
