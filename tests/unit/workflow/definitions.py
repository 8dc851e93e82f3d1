"""Definitions in one line, for the linter's tests."""

from collections.abc import Iterable
from typing import Any

from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.package_loader import read_workflow

DUE = "BD+0 18:00 Europe/Berlin"


def process(code: str, kind: str = "manual", **values: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "code": code,
        "label": code.title(),
        "kind": kind,
        "owner_role": "preparer",
        "deadline": DUE,
    }
    if kind == "approval":
        given["approval_levels"] = [{"level": 1, "role": "controller"}]
    if kind == "automatic":
        given["action"] = "finance.load"
    if kind == "checklist":
        given["checklist"] = [{"code": "x", "label": "X"}]
    return given | values


def workflow(processes: Iterable[dict[str, Any]], edges: Iterable[tuple[str, ...]] = ()) -> WorkflowDefinition:
    return read_workflow(
        {
            "code": "W",
            "label": "W",
            "application": "PNL",
            "calendar": "TARGET",
            "stages": [{"code": "s", "label": "S", "processes": list(processes)}],
            "dependencies": [
                {"from": edge[0], "to": edge[1], **({"accepts": list(edge[2:])} if edge[2:] else {})} for edge in edges
            ],
        }
    )
