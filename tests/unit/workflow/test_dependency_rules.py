"""The linter's rules about dependencies: circles among beginnings and ends, lags, conditions, other workflows."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.findings import Finding
from app.domain.workflow.definitions import Dependency, WorkflowDefinition
from app.domain.workflow.findings import OtherWorkflow, Surroundings
from app.domain.workflow.linter import lint
from app.domain.workflow.package_loader import dump_workflow, load_workflow, read_workflow
from tests.unit.workflow.definitions import process

CODES = ("a", "b", "c", "d", "e")
KNOWN = Surroundings(roles=frozenset({"preparer", "controller"}), actions=frozenset({"finance.load"}), workflows={})


def dependency(before: str, after: str, type_: str = "FS", **values: Any) -> dict[str, Any]:
    return {"from": before, "to": after, "type": type_, **values}


def workflow(*edges: Mapping[str, Any], processes: list[dict[str, Any]] | None = None) -> WorkflowDefinition:
    return read_workflow(
        {
            "code": "W",
            "label": "W",
            "application": "PNL",
            "calendar": "TARGET",
            "stages": [{"code": "s", "label": "S", "processes": processes or [process(code) for code in CODES]}],
            "dependencies": list(edges),
        }
    )


def found(definition: WorkflowDefinition, around: Surroundings = KNOWN) -> dict[str, Finding]:
    return {finding.rule: finding for finding in lint(definition, around)}


def completes(edges: list[tuple[str, str, str]]) -> bool:
    """Do whatever may be done until nothing may: can everything be completed?"""
    happened: set[tuple[str, str]] = set()
    while True:
        before = len(happened)
        for code in CODES:
            for moment, types in (("begun", ("FS", "SS")), ("ended", ("FF", "SF"))):
                needs = {
                    (first, "ended" if type_ in ("FS", "FF") else "begun")
                    for first, second, type_ in edges
                    if second == code and type_ in types
                }
                if moment == "ended":
                    needs.add((code, "begun"))
                if needs <= happened:
                    happened.add((code, moment))
        if len(happened) == before:
            return len(happened) == 2 * len(CODES)


one_edge = st.tuples(st.sampled_from(CODES), st.sampled_from(CODES), st.sampled_from(("FS", "SS", "FF", "SF")))


@given(st.lists(one_edge.filter(lambda edge: edge[0] != edge[1]), max_size=9, unique=True))
def test_a_circle_is_found_exactly_where_the_work_could_never_be_completed(edges: list[tuple[str, str, str]]) -> None:
    rules = found(workflow(*(dependency(*edge) for edge in edges)))
    assert ("cycle" in rules) is not completes(edges)


def test_a_circle_of_ends_is_explained_by_names() -> None:
    finding = found(workflow(dependency("a", "b", "FF"), dependency("b", "a", "FF")))["cycle"]
    assert "a → b → a" in finding.message or "b → a → b" in finding.message
    assert "a cannot end before b has ended" in finding.message
    assert "b cannot end before a has ended" in finding.message


def test_a_tie_at_both_ends_is_no_circle() -> None:
    assert "cycle" not in found(workflow(dependency("a", "b", "SS"), dependency("b", "a", "FF")))


def test_a_circle_that_only_soft_dependencies_close_is_a_warning() -> None:
    rules = found(workflow(dependency("a", "b"), dependency("b", "a", hardness="soft")))
    assert "cycle" not in rules
    assert rules["soft_cycle"].severity == "warning"


UP = OtherWorkflow(
    "Upstream",
    True,
    {"p": "P", "q": "Q"},
    (
        Dependency.model_validate(dependency("p", "q")),
        Dependency.model_validate(dependency("c", "p", workflow="W")),
    ),
)


DRAFT = Surroundings(workflows={"UP": OtherWorkflow("Upstream", False)})
UNREADABLE = Surroundings(condition_problem=lambda _: "there is no field x")


@pytest.mark.parametrize(
    ("selector", "circle"),
    [("same_date", True), ("period_end", True), ("previous_date", False), ("latest_signed", False)],
)
def test_a_circle_may_lead_through_another_workflow(selector: str, circle: bool) -> None:
    edge = dependency("q", "a", workflow="UP", run_selector=selector, expected_by="BD+0 18:00 UTC")
    rules = found(
        workflow(edge, dependency("a", "c")),
        Surroundings(workflows={"UP": UP}),
    )
    assert ("cycle" in rules) is circle
    if circle:
        assert "UP.q" in rules["cycle"].message


@pytest.mark.parametrize(
    ("rule", "edge", "around"),
    [
        ("unknown_process", dependency("x", "a", workflow="UP"), Surroundings(workflows={"UP": UP})),
        ("other_unpublished", dependency("p", "a", workflow="UP"), DRAFT),
        ("never_expected", dependency("p", "a", workflow="UP"), Surroundings(workflows={"UP": UP})),
        ("unreadable_deadline", dependency("p", "a", workflow="UP", expected_by="soon"), KNOWN),
        ("own_run", dependency("b", "a", workflow="W"), KNOWN),
        ("unknown_process", dependency("x", "a", workflow="W", run_selector="previous_date"), KNOWN),
        ("unreadable_condition", dependency("b", "a", condition={"x": 1}), UNREADABLE),
        ("lag_beyond_deadline", dependency("b", "a", lag={"amount": 1, "unit": "minutes"}), KNOWN),
        ("unreachable", dependency("b", "a", accepts=["failed"]), KNOWN),
    ],
)  # fmt: skip
def test_a_fault_of_a_dependency_is_found_at_its_successor(
    rule: str, edge: dict[str, Any], around: Surroundings
) -> None:
    finding = found(workflow(edge), around)[rule]
    assert finding.place == "a"
    assert finding.satisfy


@pytest.mark.parametrize(
    "edge",
    [
        dependency("b", "a", "SS", accepts=["failed"]),  # its beginning is enough
        dependency("b", "a", "SS", lag={"amount": 1, "unit": "days"}),  # says nothing about the deadline of the end
        dependency("b", "a", hardness="advisory", lag={"amount": 1, "unit": "days"}),
        dependency("b", "a", condition={"x": 1}),
    ],
)
def test_what_can_be_met_is_not_found_fault_with(edge: dict[str, Any]) -> None:
    errors = [finding for finding in lint(workflow(edge), KNOWN) if finding.severity == "error"]
    assert errors == []


def test_a_deadline_has_to_agree_with_hard_ends_only() -> None:
    early = process("a", deadline="BD+0 12:00 Europe/Berlin")
    late = process("b", deadline="BD+0 18:00 Europe/Berlin")
    for type_, hardness, wrong in (
        ("FS", "hard", True), ("FF", "hard", True), ("SS", "hard", False), ("SF", "hard", False), ("FS", "soft", False),
    ):  # fmt: skip
        definition = workflow(dependency("b", "a", type_, hardness=hardness), processes=[early, late])
        assert ("deadline_before_predecessor" in found(definition)) is wrong


def test_automatic_work_is_not_held_back_by_a_soft_dependency() -> None:
    definition = workflow(dependency("b", "a", hardness="soft"), processes=[process("a", "automatic"), process("b")])
    assert found(definition)["soft_automatic"].severity == "warning"


def test_every_part_of_a_dependency_survives_yaml() -> None:
    definition = workflow(
        dependency("a", "b", "SS", lag={"amount": 2, "unit": "working_hours"}, hardness="soft", accepts=["done"]),
        dependency("b", "c", condition={"critical": {"eq": True}}),
        dependency("p", "d", workflow="UP", run_selector="previous_date", run_node="same", calendar="LONDON",
                   expected_by="BD+0 18:00 UTC"),
    )  # fmt: skip
    assert load_workflow(dump_workflow(definition)) == definition
