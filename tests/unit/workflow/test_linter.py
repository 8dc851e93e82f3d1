"""Each rule of the linter, with a definition that breaks it and one that does not."""

from pathlib import Path
from typing import Any

import pytest

from app.core.findings import Severity
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.linter import Surroundings, lint
from app.domain.workflow.package_loader import load_workflow
from tests.unit.workflow.definitions import process, workflow

KNOWN = Surroundings(roles=frozenset({"preparer", "controller", "operations"}), actions=frozenset({"finance.load"}))
DEMO = Path(__file__).parents[3] / "demo" / "workflow.yaml"


def _found(definition: WorkflowDefinition, around: Surroundings = KNOWN) -> dict[str, tuple[Severity, str]]:
    return {finding.rule: (finding.severity, finding.place) for finding in lint(definition, around)}


def test_a_sound_definition_has_no_findings() -> None:
    sound = workflow(
        [process("load", "automatic"), process("a"), process("ok", "approval")], [("load", "a"), ("a", "ok")]
    )
    assert lint(sound, KNOWN) == []


def test_a_cycle_is_named_from_process_to_process() -> None:
    round_ = workflow([process("a"), process("b"), process("c")], [("a", "b"), ("b", "c"), ("c", "b")])
    (finding,) = [f for f in lint(round_, KNOWN) if f.rule == "cycle"]
    assert finding.severity is Severity.ERROR
    assert "b → c → b" in finding.message or "c → b → c" in finding.message


@pytest.mark.parametrize(
    ("rule", "severity", "bad"),
    [
        ("missing_owner", Severity.ERROR, process("a", owner_role=None)),
        ("missing_owner", Severity.WARNING, process("a", "automatic", owner_role=None)),
        ("unknown_role", Severity.ERROR, process("a", owner_role="stranger")),
        ("unknown_role", Severity.ERROR, process("a", "approval", approval_levels=[{"level": 1, "role": "nobody"}])),
        ("no_levels", Severity.ERROR, process("a", "approval", approval_levels=[])),
        (
            "level_numbers",
            Severity.ERROR,
            process("a", "approval", approval_levels=[{"level": 2, "role": "controller"}]),
        ),
        ("maker_approves", Severity.ERROR, process("a", approval_levels=[{"level": 1, "role": "preparer"}])),
        ("automatic_levels", Severity.ERROR, process("a", "automatic", approver_role="controller")),
        ("no_action", Severity.ERROR, process("a", "automatic", action=None)),
        ("unknown_action", Severity.ERROR, process("a", "automatic", action="finance.guess")),
        ("automatic_controls", Severity.WARNING, process("a", "automatic", require_comment=True)),
        ("empty_checklist", Severity.ERROR, process("a", "checklist", checklist=[])),
        ("doubled_code", Severity.ERROR, process("a", evidence=[{"code": "x", "label": "X"}] * 2)),
        ("unreadable_deadline", Severity.ERROR, process("a", deadline="tomorrow at noon")),
        ("unreadable_deadline", Severity.ERROR, process("a", earliest_start="BD+0 25:00 Europe/Berlin")),
        ("blank_due_date", Severity.WARNING, process("a", deadline=None)),
        ("blank_due_date", Severity.ERROR, process("a", deadline=None, critical=True)),
        ("deadline_before_start", Severity.ERROR, process("a", earliest_start="BD+1 9:00 Europe/Berlin")),
        ("approval_of_nothing", Severity.WARNING, process("a", "approval")),
    ],
)
def test_a_fault_of_one_process_is_found_at_its_place(rule: str, severity: Severity, bad: dict[str, Any]) -> None:
    assert _found(workflow([bad])).get(rule) == (severity, "a")


def test_a_deadline_before_a_predecessors_is_found_across_zones_and_gaps() -> None:
    late = process("late", deadline="BD+0 18:00 America/New_York")
    between = process("between", deadline=None)
    early = process("early", deadline="BD+0 19:00 Europe/Berlin")
    chain = workflow([late, between, early], [("late", "between"), ("between", "early")])
    assert _found(chain)["deadline_before_predecessor"] == (Severity.ERROR, "early")
    in_time = workflow([early, between, late], [("early", "between"), ("between", "late")])
    assert "deadline_before_predecessor" not in _found(in_time)


def test_an_edge_that_can_never_be_satisfied_is_found() -> None:
    assert _found(workflow([process("a"), process("b")], [("a", "b", "skipped")]))["unreachable"][1] == "b"
    skippable = workflow([process("a", skip_allowed=True), process("b")], [("a", "b", "skipped")])
    assert "unreachable" not in _found(skippable)
    assert "unreachable" in _found(workflow([process("a"), process("b")], [("a", "b", "failed")]))


def test_orphans_empty_stages_and_missing_work_are_found() -> None:
    found = _found(workflow([process("a"), process("b"), process("alone")], [("a", "b")]))
    assert found["orphan"] == (Severity.WARNING, "alone")
    assert _found(workflow([]))["no_work"] == (Severity.ERROR, "")
    assert _found(workflow([]))["empty_stage"] == (Severity.WARNING, "s")


def test_without_a_published_calendar_nothing_can_be_due() -> None:
    around = Surroundings(calendar_published=False)
    assert _found(workflow([process("a")]), around)["missing_calendar"] == (Severity.ERROR, "")


def test_nothing_is_said_about_what_is_not_known() -> None:
    anything = workflow([process("a", owner_role="any"), process("b", "automatic", action="x.y")], [("a", "b")])
    assert lint(anything, Surroundings()) == []
    assert {finding.rule for finding in lint(anything, KNOWN)} == {"unknown_role", "unknown_action"}


def test_errors_come_before_warnings() -> None:
    findings = lint(workflow([process("a", deadline=None), process("b", owner_role=None)]), KNOWN)
    assert findings[0].severity is Severity.ERROR
    assert findings[-1].severity is Severity.WARNING


def test_the_demo_workflow_is_sound() -> None:
    definition = load_workflow(DEMO.read_text("utf-8"))
    errors = [finding for finding in lint(definition, Surroundings()) if finding.severity is Severity.ERROR]
    assert errors == []
    assert sum(1 for _ in definition.processes()) == 16
