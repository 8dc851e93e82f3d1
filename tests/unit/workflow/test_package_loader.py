"""Workflow files: read, written, refused in words."""

from pathlib import Path

import pytest

from app.core.errors import InvalidRequest, ValidationFailed
from app.domain.workflow.package_loader import dump_workflow, load_workflow
from app.domain.workflow.publishing import definition_digest

DEMO = Path(__file__).parents[3] / "demo" / "workflow.yaml"


def test_definition_to_yaml_to_definition_is_the_identity() -> None:
    definition = load_workflow(DEMO.read_text("utf-8"))
    again = load_workflow(dump_workflow(definition))
    assert again == definition
    assert definition_digest(again) == definition_digest(definition)


def test_stages_are_read_by_their_order_and_walked_from_top_to_bottom() -> None:
    definition = load_workflow(
        """
workflow:
  code: W
  label: W
  application: PNL
  calendar: TARGET
  stages:
    - {code: second, label: B, order: 2}
    - {code: first, label: A, order: 1, stages: [{code: z, label: Z, order: 2}, {code: y, label: Y, order: 1}]}
"""
    )
    assert [stage.code for stage, _ in definition.walk()] == ["first", "y", "z", "second"]
    assert [len(above) for _, above in definition.walk()] == [0, 1, 1, 0]


def test_an_approver_role_is_short_for_one_level() -> None:
    text = """
workflow: {code: W, label: W, application: PNL, calendar: TARGET,
           stages: [{code: s, label: S, processes: [{code: a, label: A, kind: approval, approver_role: controller}]}]}
"""
    ((process, _),) = load_workflow(text).processes()
    assert [(level.level, level.role) for level in process.approval_levels] == [(1, "controller")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workflow: [", "not YAML"),
        ("- a", "one key, `workflow:`"),
        ("workflow: {code: w}", "code"),
        ("workflow: {code: W, label: W, application: PNL, calendar: T, colour: red}", "colour"),
        (
            "workflow: {code: W, label: W, application: P, calendar: T, stages: [{code: s, label: S, order: x}]}",
            "order",
        ),
        (
            "workflow: {code: W, label: W, application: P, calendar: T, stages: [{code: s, label: S, processes: "
            "[{code: a, label: A, kind: wish}]}]}",
            r"stages.0.processes.0.kind",
        ),
        (
            "workflow: {code: W, label: W, application: P, calendar: T, stages: [{code: s, label: S, processes: "
            "[{code: a, label: A, kind: approval, approver_role: x, approval_levels: [{level: 1, role: y}]}]}]}",
            "write one or the other",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises((InvalidRequest, ValidationFailed), match=message):
        load_workflow(text)
