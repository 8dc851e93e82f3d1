"""Each check of waits, sign-offs, questions, evidence and routing, with a definition that breaks it."""

from collections.abc import Mapping
from typing import Any

import pytest

from app.core.findings import Severity
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.findings import RoutingRule, Surroundings
from app.domain.workflow.kind_rules import RULES
from tests.unit.workflow.definitions import process, workflow

TIME = {"kind": "time", "until": "BD+0 17:00 Europe/Berlin"}


def _event_problem(event: str, condition: Mapping[str, Any] | None) -> str | None:
    return None if event == "rate_load.confirmed" else f"nothing emits {event}"


KNOWN = Surroundings(
    rules={
        "ROUTE": RoutingRule("process_routing", active=True, published=True),
        "DRAFT": RoutingRule("process_routing", active=True, published=False),
        "OFF": RoutingRule("process_routing", active=False, published=True),
        "LIMITS": RoutingRule("pnl_threshold", active=True, published=True),
    },
    event_problem=_event_problem,
)


def _wait(**values: Any) -> dict[str, Any]:
    return process("a", "wait_for", owner_role=None, **values)


def _found(definition: WorkflowDefinition, around: Surroundings = KNOWN) -> list[tuple[str, Severity]]:
    return [(finding.rule, finding.severity) for rule in RULES for finding in rule(definition, around)]


@pytest.mark.parametrize(
    "sound",
    [
        _wait(wait=TIME),
        _wait(wait={"kind": "file", "pattern": "rates_{business_date}.csv", "folder": "rates/ecb"}),
        _wait(wait={"kind": "event", "event": "rate_load.confirmed"}),
        process("a", questions=[{"code": "q", "label": "Complete?", "expected": "yes"}]),
        process("a", questions=[{"code": "q", "label": "Q?", "type": "choice", "options": ["A", "B"]}]),
        process("a", evidence=[{"code": "e", "label": "E", "file_types": ["csv", "xlsx"], "min_rows": 1}]),
        process("a", evidence=[{"code": "e", "label": "E", "file_types": ["pdf"]}]),
        process("a", rule="ROUTE"),
    ],
)
def test_what_is_sound_has_no_finding(sound: dict[str, Any]) -> None:
    assert _found(workflow([sound])) == []


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("wait_of_another_kind", process("a", wait=TIME)),
        ("controls_of_a_wait", _wait(wait=TIME, questions=[{"code": "q", "label": "Q?"}])),
        ("controls_of_a_wait", _wait(wait=TIME, approval_levels=[{"level": 1, "role": "controller"}])),
        ("waits_for_nothing", _wait()),
        ("wait", _wait(wait={"kind": "file"})),
        ("wait", _wait(wait={"kind": "file", "pattern": "a.csv", "folder": "../etc"})),
        ("wait", _wait(wait={"kind": "event"})),
        ("wait", _wait(wait={"kind": "event", "event": "trade.flown"})),
        ("wait", _wait(wait={"kind": "time"})),
        ("wait", _wait(wait={"kind": "time", "until": "some time"})),
        ("questions_of_a_decision", process("a", "approval", questions=[{"code": "q", "label": "Q?"}])),
        ("question", process("a", questions=[{"code": "q", "label": "Q?", "type": "choice", "options": ["A"]}])),
        ("question", process("a", questions=[{"code": "q", "label": "Q?", "expected": "perhaps"}])),
        ("question", process("a", questions=[{"code": "q", "label": "Q?", "type": "number", "expected": "many"}])),
        ("question", process("a", questions=[{"code": "q", "label": "Q?", "options": ["yes", "no"]}])),
        ("half_a_tie_out", process("a", evidence=[{"code": "e", "label": "E", "tie_column": "Amount"}])),
        ("unreadable_evidence", process("a", evidence=[
            {"code": "e", "label": "E", "file_types": ["pdf"], "min_rows": 2}])),
        ("unknown_rule", process("a", rule="NONE")),
        ("unknown_rule", process("a", rule="OFF")),
        ("rule_of_another_purpose", process("a", rule="LIMITS")),
    ],
)  # fmt: skip
def test_what_is_wrong_holds_back_publishing(rule: str, bad: dict[str, Any]) -> None:
    assert (rule, Severity.ERROR) in _found(workflow([bad]))


@pytest.mark.parametrize(
    ("rule", "odd"),
    [
        ("wait_without_end", _wait(wait={"kind": "file", "pattern": "a.csv"}, deadline=None)),
        ("unpublished_rule", process("a", rule="DRAFT")),
    ],
)
def test_what_is_odd_is_warned_of(rule: str, odd: dict[str, Any]) -> None:
    assert _found(workflow([odd])) == [(rule, Severity.WARNING)]


def test_a_sign_off_signs_work_that_must_have_ended() -> None:
    sign = {**process("sign", "approval"), "kind": "sign_off"}
    assert _found(workflow([process("a"), sign], [("a", "sign")])) == []
    soft = workflow([process("a"), sign])
    edge = workflow([process("a"), sign], [("a", "sign")]).dependencies[0].model_copy(update={"hardness": "soft"})
    assert _found(soft.model_copy(update={"dependencies": (edge,)})) == [("signs_nothing", Severity.ERROR)]


def test_what_is_not_known_is_not_complained_about() -> None:
    assert _found(workflow([process("a", rule="NONE")]), Surroundings()) == []
