"""What becomes of a process when its run goes over: a table of states, and laws over every mapping."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.migration_rules import (
    Fate,
    Mapped,
    ProcessNow,
    Rule,
    Way,
    mapping_of,
    mapping_problems,
    plan_run,
    suggested,
)
from app.domain.workflow.states import ProcessKind, ProcessState, RunState
from tests.unit.workflow.definitions import process, workflow

S = ProcessState


def now(code: str, state: ProcessState, *, begun: bool = False, kind: str = "manual", level: int = 0) -> ProcessNow:
    return ProcessNow(uuid4(), code, code.title(), ProcessKind(kind), state, begun, level)


def fate(before: WorkflowDefinition, after: WorkflowDefinition, here: ProcessNow, **mapping: Mapped) -> Fate:
    return plan_run(Way(before, after, mapping), [here], run_state=RunState.ACTIVE).lines[-1].fate


@pytest.mark.parametrize(
    ("state", "begun", "expected"),
    [
        (S.BLOCKED, False, Fate.CLOSED), (S.PLANNED, False, Fate.CLOSED), (S.READY, False, Fate.CLOSED),
        (S.ASSIGNED, False, Fate.CLOSED), (S.ON_HOLD, False, Fate.CLOSED), (S.IN_PROGRESS, True, Fate.REFUSED),
        (S.IN_REVIEW, True, Fate.REFUSED), (S.ON_HOLD, True, Fate.REFUSED), (S.FAILED, True, Fate.REFUSED),
        (S.WAITING_EXTERNAL, True, Fate.REFUSED), (S.DONE, True, Fate.HISTORY), (S.SKIPPED, False, Fate.HISTORY),
        (S.CANCELLED, True, Fate.HISTORY),
    ],
)  # fmt: skip
def test_what_becomes_of_work_that_is_gone(state: ProcessState, begun: bool, expected: Fate) -> None:
    before, after = workflow([process("a")]), workflow([process("b")])
    assert fate(before, after, now("a", state, begun=begun)) is expected


def test_another_kind_refuses_what_has_begun_only() -> None:
    before, after = workflow([process("a")]), workflow([process("a", kind="checklist")])
    assert fate(before, after, now("a", S.READY)) is Fate.KEPT
    assert fate(before, after, now("a", S.DONE, begun=True)) is Fate.KEPT
    assert fate(before, after, now("a", S.IN_PROGRESS, begun=True)) is Fate.REFUSED


@pytest.mark.parametrize("state", [RunState.DONE, RunState.CANCELLED])
def test_a_closed_run_stays_where_it_ended(state: RunState) -> None:
    way = Way(workflow([process("a")]), workflow([process("a")]))
    plan = plan_run(way, [now("a", S.DONE)], run_state=state)
    assert (plan.possible, plan.lines) == (False, ())
    assert "stays on the version" in plan.in_words()


def test_what_looks_renamed_is_suggested_once() -> None:
    before = workflow([process("a", label="Load"), process("b", kind="automatic"), process("c", label="Load")])
    after = workflow([process("x", label="load"), process("y", kind="automatic")])
    assert suggested(before, after) == {"a": "x", "b": "y"}


@st.composite
def ways(draw: st.DrawFn) -> tuple[Way, list[ProcessNow]]:
    old = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
    new = draw(st.lists(st.sampled_from("defghi"), min_size=1, max_size=6, unique=True))
    targets = st.one_of(st.none(), st.sampled_from(new))
    mapping = {
        code: Mapped(code, draw(targets), draw(st.sampled_from(Rule)))
        for code in draw(st.lists(st.sampled_from(old), unique=True, max_size=3))
    }
    here = [now(code, draw(st.sampled_from(S)), begun=draw(st.booleans())) for code in old]
    return Way(workflow([process(c) for c in old]), workflow([process(c) for c in new]), mapping), here


@given(given_=ways())
def test_every_process_has_one_fate_and_the_new_version_is_complete(given_: tuple[Way, list[ProcessNow]]) -> None:
    way, here = given_
    if mapping_problems(way):
        return
    plan = plan_run(way, here, run_state=RunState.ACTIVE)
    told = [line.process_run_id for line in plan.lines if line.process_run_id is not None]
    assert sorted(map(str, told)) == sorted(str(process.id) for process in here)
    stands = [line.to_code for line in plan.lines if line.to_code is not None]
    assert stands == [process.code for process, _ in way.after.processes()]
    assert plan.possible == (plan.count(Fate.REFUSED) == 0)
    assert all(line.rule is not None for line in plan.lines if line.fate is Fate.CLOSED)


def test_a_mapping_is_read_as_it_is_kept() -> None:
    assert mapping_of([{"from": "a", "to": "b"}, {"from": "c", "rule": "skip"}]) == {
        "a": Mapped("a", "b"),
        "c": Mapped("c", None, Rule.SKIP),
    }
