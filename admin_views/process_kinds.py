"""What steps/process.html shows of questions, of what a sign-off signs, and of what a wait waits for."""

from typing import Any

from admin_views.process_view import Drawn, short_hash, tone
from app.domain.workflow.answers import as_expected, options_of
from app.domain.workflow.content import QuestionItem
from app.domain.workflow.signed_content import SignedLine
from app.domain.workflow.states import ProcessState


def questions(drawn: Drawn) -> dict[str, Any] | None:
    """The questions with their answers, and the forms to answer."""
    items = drawn.detail.content.questions
    if not items:
        return None
    answered = sum(1 for item in items if item["answer"] is not None)
    return {
        "items": [_question(drawn, item) for item in items],
        "summary": f"{answered} of {len(items)} answered",
        "href": f"/processes/{drawn.detail.row.id}/questions",
        "may": drawn.may_prepare,
    }


def _question(drawn: Drawn, item: QuestionItem) -> dict[str, Any]:
    place = f"question-{item['code']}"
    tried, typed = drawn.error_of(place), drawn.values_of(place)
    answer = typed.get("answer", item["answer"] or "")
    asked = {"answer_type": item["type"], "options": item["options"], "expected": item["expected"]}
    options = options_of(asked)
    return {
        "code": item["code"],
        "label": item["label"],
        "mandatory": item["mandatory"],
        "options": [
            {"value": o, "label": o.capitalize(), "chosen": o.casefold() == answer.casefold()} for o in options
        ],
        "number": item["type"] == "number",
        "answer": answer,
        "shown": (item["answer"] or "Not answered").capitalize() if options else item["answer"] or "Not answered",
        "comment": typed.get("comment", item["comment"] or ""),
        "hint": f"Needed where the answer is not {item['expected']}." if item["expected"] else "",
        "unexpected": item["answer"] is not None and not as_expected(asked, item["answer"]),
        "error": tried.error.detail if tried and not tried.error.problems else "",
        "errors": {path: tried.problem(path) if tried else "" for path in ("answer", "comment")},
    }


def signed(drawn: Drawn) -> dict[str, Any] | None:
    """What a sign-off signs, or has signed and whether that has changed since."""
    found = drawn.detail.signed
    if found is None:
        return None
    last = next((a for a in reversed(drawn.detail.approvals) if a.decision == "approved" and not a.voided), None)
    by = f"Signed by {last.actor or 'STEPS'} {drawn.clock(last.at)}." if last is not None and not found.open else ""
    changed = [line.label for line in found.lines if line.changed]
    what = [*changed, *(["its figures"] if found.figures_changed else [])]
    count = len(found.lines)
    return {
        "title": "Signs" if found.open else "Signed",
        "summary": f"{count} process{'' if count == 1 else 'es'}" + (f". {by}" if by else ""),
        "by": by,
        "warning": f"Data has changed since: {', '.join(what) or 'what it was signed on'}." if found.changed else "",
        "lines": [_line(line) for line in found.lines],
    }


def _line(line: SignedLine) -> dict[str, Any]:
    state = ProcessState(line.now) if line.now else ProcessState.CANCELLED
    was = f"signed as {ProcessState(line.signed).label.lower()}" if line.signed else "not signed"
    return {
        "label": line.label,
        "href": f"/processes/{line.id}",
        "tone": tone(state),
        "state": state.label,
        "sub": f"{state.label}; {was}, changed since" if line.changed else state.label,
    }


def wait(drawn: Drawn) -> dict[str, Any] | None:
    """What it waits for, until when it is expected, and what has come."""
    row, names = drawn.detail.row, drawn.detail.names
    if names.wait_kind is None:
        return None
    until = f"{drawn.clock(names.wait_until_at)}, {names.wait_until}" if names.wait_until_at else names.wait_until
    lines = [
        ("File", names.wait_pattern, True),
        ("Event", names.wait_event, True),
        ("Until", until, False),
        ("Expected by", drawn.clock(row.due_at) if row.due_at else None, False),
        ("Came", drawn.clock(row.arrived_at) if row.arrived_at else None, False),
        ("What", row.arrival.get("name") or row.arrival.get("event"), True),
        ("Hash", short_hash(row.arrival.get("sha256")), True),
        ("Before its turn", "counts" if row.accept_early else "does not count", False),
    ]
    return {
        "summary": "has come" if row.arrived_at else "not yet",
        "lines": [{"label": label, "value": value, "mono": mono} for label, value, mono in lines if value],
    }
