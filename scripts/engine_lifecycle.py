"""Write the states and transitions of the workflow engine into the definition of `process_run` as its lifecycle.

    python scripts/engine_lifecycle.py           writes models/definitions/runs/process_run.yaml
    python scripts/engine_lifecycle.py --check   says whether it is up to date

The table in `app/domain/workflow/states.py` is what the engine does; the lifecycle is how administrators read it.
"""

import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from app.core.actor import Actor  # noqa: E402
from app.domain.workflow.acting import Acting, Command  # noqa: E402
from app.domain.workflow.outcomes import after  # noqa: E402
from app.domain.workflow.process_row import ProcessRow  # noqa: E402
from app.domain.workflow.states import CLOSED, TRANSITIONS, Input, Name, ProcessKind, ProcessState, Transition  # noqa: E402

DEFINITION = ROOT / "models" / "definitions" / "runs" / "process_run.yaml"
BEGIN = "# The lifecycle below is written by scripts/engine_lifecycle.py out of app/domain/workflow/states.py."
NOW = datetime(2026, 10, 30, 12, tzinfo=UTC)
SOMEBODY = UUID(int=1)
WAITING = frozenset({
    ProcessState.PLANNED, ProcessState.BLOCKED, ProcessState.SUBMITTED, ProcessState.IN_REVIEW, ProcessState.ON_HOLD,
    ProcessState.WAITING_EXTERNAL,
})  # fmt: skip
COLOURS = {ProcessState.WAITING_EXTERNAL: "waiting"}
# Where a transition usually leads, of the several states that it can lead to.
USUALLY = {
    Name.RELEASE: ProcessState.READY, Name.CLAIM: ProcessState.ASSIGNED, Name.UNCLAIM: ProcessState.READY,
    Name.ASSIGN: ProcessState.ASSIGNED, Name.SUBMIT: ProcessState.IN_REVIEW, Name.APPROVE: ProcessState.DONE,
    Name.REJECT: ProcessState.IN_PROGRESS, Name.FINISH: ProcessState.DONE,
}  # fmt: skip


def steps() -> list[Transition]:
    """What a process can be asked for; transitions without a source are written for many processes at once."""
    return [transition for transition in TRANSITIONS.values() if transition.sources]


def targets(transition: Transition) -> frozenset[ProcessState]:
    """Every state that it can lead to, found by trying it on processes of every sort."""
    if transition.to is not None:
        return frozenset({transition.to})
    acting = Acting(Actor(SOMEBODY, "Somebody"), ())
    return frozenset(
        after(transition, row, command, acting, now=NOW).state
        for source in transition.sources
        for row in _rows(source)
        for command in (_command(None), _command(1))
    )


def _command(to_level: int | None) -> Command:
    given: dict[str, Any] = {"name": Name.REJECT, "reason": "x", "assignee_id": SOMEBODY, "to_level": to_level}
    known = {field.name for field in fields(Command)}
    return Command(**{name: value for name, value in given.items() if name in known})


def _rows(state: ProcessState) -> Iterator[ProcessRow]:
    held = TRANSITIONS[Name.HOLD].sources if state is ProcessState.ON_HOLD else (None,)
    doubted = sorted(TRANSITIONS[Name.REOPEN].sources) if state is ProcessState.STALE else (None,)
    row: Any = ProcessRow
    for kind, waiting, finishing, levels, start, before, maker, stale in product(
        ProcessKind, (0, 1), (0, 1), (0, 1, 2), (None, NOW + timedelta(hours=1)), held, (None, SOMEBODY), doubted
    ):
        given: dict[str, Any] = {
            "kind": kind, "state": state, "waiting_on": waiting, "finish_waiting_on": finishing, "levels": levels,
            "level": min(levels, 1), "round": 1, "attempt": 0, "signatures": 0, "makers": (), "signers": (),
            "approval_levels": (), "earliest_start": start, "state_before_hold": before, "maker_id": maker,
            "state_before_stale": stale, "blocking_queries": 0, "blocking_subjects": (),
        }  # fmt: skip
        yield row(**{field.name: given.get(field.name) for field in fields(ProcessRow)})


def lifecycle() -> str:
    """The block of the definition."""
    lines = [
        BEGIN,
        "state_field: state",
        "lifecycles:",
        "  - code: process_run",
        "    label: Process of a run",
        "    description: How the workflow engine takes a process from its predecessors to its end.",
        "    protected: true",
        "    initial: blocked",
        "    states:",
    ]
    for state in ProcessState:
        colour = COLOURS.get(state, state)
        lines.append(
            f"      - {{name: {state.value}, label: {state.label}, category: {_category(state)}, colour: {colour}, "
            "editable_by: []}"
        )
    lines.append("    transitions:")
    for transition in steps():
        found = targets(transition)
        first = transition.to or USUALLY.get(transition.name) or next(s for s in ProcessState if s in found)
        rest = [state.value for state in ProcessState if state in found and state is not first]
        parts = [
            f"name: {transition.name.value}",
            f"label: {transition.label}",
            f"from: [{', '.join(state.value for state in ProcessState if state in transition.sources)}]",
            f"to: {first.value}",
            *([f"or_to: [{', '.join(rest)}]"] if rest else []),
            f"roles: [{transition.who.value}]",
            *(["require_comment: true"] if Input.REASON in transition.inputs else []),
        ]
        lines.append(f"      - {{{', '.join(parts)}}}")
    return "\n".join(lines) + "\n"


def _category(state: ProcessState) -> str:
    if state is ProcessState.DONE:
        return "final"
    return "void" if state in CLOSED else "waiting" if state in WAITING else "active"


def written() -> str:
    """The definition with the block as the code has it now."""
    return DEFINITION.read_text("utf-8").partition(BEGIN)[0] + lifecycle()


if __name__ == "__main__":
    if "--check" not in sys.argv:
        DEFINITION.write_text(written(), "utf-8")
    elif DEFINITION.read_text("utf-8") != written():
        sys.exit("models/definitions/runs/process_run.yaml does not say what the engine does: run this script.")
