"""What steps/process.html shows of what has happened: signatures, dependencies both ways, history."""

from typing import Any

from admin_views.process_view import PART_IN_IT, Drawn, role_name, short_hash, tone
from app.domain.workflow.content import digest
from app.domain.workflow.edges import EdgeType
from app.domain.workflow.neighbours import Neighbour
from app.domain.workflow.process_page import Approval, HistoryLine
from app.domain.workflow.process_record import Entry, Stamp
from app.domain.workflow.process_row import LevelRule
from app.domain.workflow.states import Guard, Name, ProcessState

SHOWN_ENTRIES = 12

SAID = {
    Name.RELEASE: "Released", Name.CLAIM: "Took it", Name.ASSIGN: "Assigned it", Name.START: "Started",
    Name.SUBMIT: "Submitted", Name.REJECT: "Rejected", Name.HOLD: "Put it on hold",
    Name.RESUME: "Resumed", Name.SKIP: "Skipped", Name.CANCEL: "Cancelled", Name.RETRY: "Tried again",
    Name.BEGIN: "Began", Name.FINISH: "Finished", Name.FAIL: "Failed",
    Name.UNCLAIM: "Gave it back", Name.REQUEST_SKIP: "Asked to skip it", Name.DECLINE_SKIP: "Declined to skip it",
    Name.BLOCK: "Waits again", Name.REOPEN: "Opened it again", Name.STALE: "In doubt",
    Name.REVALIDATE: "Valid as it was: what it builds on has the same result",
    Name.REDO: "Begins again: what it builds on has another result",
}  # fmt: skip
ENTRIES = {
    "reopen": "Opened it again", "request_reopening": "Asked to open it again",
    "decline_reopening": "Declined to open it again",
}  # fmt: skip


def approvals(drawn: Drawn) -> dict[str, Any] | None:
    """Maker, levels and earlier rounds; None for work that nobody approves."""
    detail, row = drawn.detail, drawn.detail.row
    if not row.approval_levels:
        return None
    signed_now = digest(detail.content, row, row.comment)
    levels = [_level(drawn, rule, signed_now) for rule in row.approval_levels]
    done = sum(1 for level in levels if level["state"] == "done")
    return {
        "summary": f"{done} of {len(levels)} signed",
        "maker": _maker(drawn),
        "levels": levels,
        "earlier": [_earlier(drawn, a) for a in detail.approvals if a.voided or a.decision == "rejected"],
        "comment": row.comment if row.submitted_at or row.state.closed else None,
    }


def _maker(drawn: Drawn) -> dict[str, Any]:
    row, names = drawn.detail.row, drawn.detail.names
    if row.maker_id is None:
        waiting = "Decided on as it stands" if row.kind.decided else "Not submitted yet"
        return {"state": "planned", "icon": "pencil", "text": waiting, "at": "", "hash": None, "you": False}
    round_ = f", round {row.round}" if row.round > 1 else ""
    verb = "prepared it" if row.kind.decided else f"submitted{round_}"
    person = drawn.person(names.maker, row.maker_id)
    return {
        "state": "done",
        "icon": "pencil",
        "text": f"{person['name']} {verb}",
        "you": person["you"],
        "at": drawn.clock(row.submitted_at) if row.submitted_at else "",
        "hash": short_hash(row.snapshot_hash),
    }


def _level(drawn: Drawn, rule: LevelRule, signed_now: str) -> dict[str, Any]:
    """A level with its signatures: those that count, and while it is open how many are missing."""
    row, number = drawn.detail.row, rule.level
    signed = [a for a in drawn.detail.approvals if a.level == number and a.decision == "approved" and not a.voided]
    who = " in ".join(part for part in (role_name(rule.role).lower(), rule.group or "") if part)
    base = {
        "title": f"Level {number}, {who}",
        "at": drawn.clock(signed[-1].at) if signed else "",
        "due_at": None,
        "gates": [],
        "signatures": [_signature(drawn, a, signed_now) for a in signed],
        "count": f"{len(signed)} of {rule.needed}" if rule.needed > 1 else "",
    }
    if len(signed) >= rule.needed:
        return {**base, "state": "done", "text": ""}
    if row.state is ProcessState.IN_REVIEW and row.level == number:
        missing = rule.needed - len(signed)
        text = "Open" if rule.needed == 1 else f"Open, {missing} signature{'s' if missing > 1 else ''} missing"
        return {**base, "state": "in_review", "text": text, "due_at": row.due_now_at, "gates": _gates(drawn)}
    return {**base, "state": "planned", "text": "Not open yet" if not row.state.closed else "Not decided"}


def _signature(drawn: Drawn, found: Approval, signed_now: str) -> dict[str, Any]:
    person = drawn.person(found.actor, found.actor_id)
    return {
        "name": person["name"],
        "you": person["you"],
        "on_behalf_of": found.on_behalf_of,
        "at": drawn.clock(found.at),
        "hash": short_hash(found.snapshot_hash),
        "same": found.snapshot_hash == signed_now if found.snapshot_hash and drawn.comparable else None,
        "reason": found.reason,
    }


def _gates(drawn: Drawn) -> list[dict[str, Any]]:
    """What an approval needs, each met or not."""
    detail = drawn.detail
    approve = next((a for a in detail.actions if a.name is Name.APPROVE), None)
    own = approve is not None and approve.guard in PART_IN_IT
    changed = approve is not None and approve.guard == Guard.CONTENT_UNCHANGED
    return [
        {"label": "You had no part in it" if not own else "Approver had no part in it", "met": not own},
        {"label": "Nothing has changed since it was submitted", "met": not changed},
        *({"label": item.label, "met": item.met} for item in detail.requirements),
    ]


def _earlier(drawn: Drawn, found: Approval) -> dict[str, Any]:
    person = drawn.person(found.actor, found.actor_id)
    behalf = f" for {found.on_behalf_of}" if found.on_behalf_of else ""
    back = f", back to level {found.to_level}" if found.to_level else ""
    taken = ", taken back since" if found.voided else ""
    words = ": ".join(part for part in (found.reason_label, found.reason) if part)
    return {
        "text": f"Round {found.round}, level {found.level}: {found.decision} by {person['name']}{behalf}{back}{taken}",
        "at": drawn.clock(found.at),
        "reason": words,
        "hash": short_hash(found.snapshot_hash),
    }


def dependencies(drawn: Drawn) -> dict[str, Any]:
    """Both ways."""
    before, after = drawn.detail.predecessors, drawn.detail.successors
    return {
        "before": [_neighbour(drawn, n, before=True) for n in before],
        "before_met": sum(1 for n in before if n.satisfied),
        "after": [_neighbour(drawn, n, before=False) for n in after],
    }


def _neighbour(drawn: Drawn, neighbour: Neighbour, *, before: bool) -> dict[str, Any]:
    state = neighbour.state
    if neighbour.finished_at is not None:
        when = drawn.clock(neighbour.finished_at)
    else:
        when = f"due {drawn.clock(neighbour.due_at)}" if neighbour.due_at else ""
    waits = f"waits for {neighbour.waiting_on}" if not before and neighbour.waiting_on else ""
    parts = (state.label if state else _no_run(neighbour), _edge_words(drawn, neighbour), waits)
    return {
        "label": neighbour.label,
        "href": f"/processes/{neighbour.id}" if neighbour.id else "",
        "tone": tone(state) if state else "planned",
        "state": state.label if state else "No run yet",
        "sub": ", ".join(part for part in parts if part),
        "when": when,
        "over": f"Went on before it: {neighbour.override_reason}" if neighbour.overridden_at else "",
    }


def _no_run(neighbour: Neighbour) -> str:
    if neighbour.bound_run_id is not None:
        return f"No such process in {neighbour.run}"
    return f"No run of {neighbour.workflow} for {neighbour.awaited_date} yet"


def _edge_words(drawn: Drawn, neighbour: Neighbour) -> str:
    """How they depend on each other, leaving out what every plain dependency is."""
    parts = [neighbour.hardness.value]
    if neighbour.type is not EdgeType.FS:
        parts.append(neighbour.type.words)
    if neighbour.lag_ends_at is not None:
        parts.append(f"{neighbour.lag} after it, until {drawn.clock(neighbour.lag_ends_at)}")
    elif neighbour.lag is not None:
        parts.append(f"{neighbour.lag} after it")
    if neighbour.run is not None and neighbour.state is not None:
        parts.append(f"of {neighbour.run}")
    if neighbour.id is None and neighbour.expected_by is not None:
        parts.append(f"expected by {drawn.clock(neighbour.expected_by)}")
    if not neighbour.binds:
        parts.append("does not bind here")
    return ", ".join(parts)


def history(drawn: Drawn) -> dict[str, Any]:
    """Changes of state and of content in one list, the latest first; older ones are folded away."""
    lines = [(line.at, _transition_line(drawn, line)) for line in drawn.detail.history]
    lines += [(entry.done.at, _entry_line(drawn, entry)) for entry in drawn.record.entries]
    lines.sort(key=lambda pair: pair[0], reverse=True)
    entries = [line for _, line in lines]
    return {"entries": entries[:SHOWN_ENTRIES], "older": entries[SHOWN_ENTRIES:], "count": len(entries)}


def _transition_line(drawn: Drawn, line: HistoryLine) -> dict[str, Any]:
    what = f"Approved level {line.level}" if line.name is Name.APPROVE else SAID.get(line.name, line.name.capitalize())
    if line.name is Name.REJECT:
        what = f"Rejected round {line.round}"
    if line.name in (Name.BEGIN, Name.FINISH, Name.FAIL) and line.attempt > 1:
        what = f"{what}, attempt {line.attempt}"
    if line.name is Name.APPROVE and line.snapshot_hash:
        what = f"{what}, signed {short_hash(line.snapshot_hash)}"
    reason = line.reason
    if line.name in (Name.STALE, Name.BLOCK) and reason:  # a sentence of the platform, and not what somebody said
        what, reason = f"{what}: {reason}", None
    changes: list[dict[str, Any]] = []
    if line.from_state is not line.to_state:
        changes.append({"label": "State", "before": line.from_state.label, "after": line.to_state.label})
    if line.controls_not_met:
        changes.append({"label": "Controls not met", "before": None, "after": "; ".join(line.controls_not_met)})
    if line.comment:
        changes.append({"label": "Comment", "before": None, "after": line.comment})
    done = Stamp(line.actor, line.actor_id, line.at)
    return {**_line(drawn, done, what, reason=reason, changes=changes), "on_behalf_of": line.on_behalf_of}


def _entry_line(drawn: Drawn, entry: Entry) -> dict[str, Any]:
    label = entry.after.get("label")
    if entry.command in ("check", "uncheck"):
        what = f"{'Ticked' if entry.command == 'check' else 'Unticked'} “{label}”"
        changes: list[dict[str, Any]] = []
    elif entry.command == "comment":
        what = "Saved a draft of the comment"
        # Until it is handed in, a draft is for those who prepare it.
        changes = [{"label": "Comment", "before": None, "after": _plain(entry.after.get("comment"))}]
        changes = changes if drawn.may_prepare else []
    else:
        what = ENTRIES.get(entry.command) or entry.command.replace("_", " ").capitalize()
        changes = [
            {"label": name.replace("_", " ").capitalize(), "before": entry.before.get(name), "after": _plain(value)}
            for name, value in entry.after.items()
        ]
    return _line(drawn, entry.done, what, reason=entry.reason, changes=changes, sequence=entry.sequence)


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _line(
    drawn: Drawn,
    done: Stamp,
    what: str,
    *,
    reason: str | None,
    changes: list[dict[str, Any]],
    sequence: int | None = None,
) -> dict[str, Any]:
    person = drawn.person(done.by, done.by_id)
    return {
        "at_text": drawn.clock(done.at),
        "at_iso": done.at.isoformat(),
        "at_title": drawn.formats.instant(done.at),
        "who": person["name"],
        "you": person["you"],
        "on_behalf_of": None,
        "what": what,
        "reason": reason,
        "changes": changes,
        "sequence": f"{sequence:,}" if sequence else None,
        "href": None,
    }
