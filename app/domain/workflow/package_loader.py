"""Workflow definitions out of YAML and back: `definition -> YAML -> definition` is the identity."""

from typing import Any

import yaml
from pydantic import ValidationError

from app.core.errors import FieldProblem, InvalidRequest, ValidationFailed
from app.domain.workflow.definitions import WorkflowDefinition

MAX_BYTES = 5_000_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_workflow(text: str) -> WorkflowDefinition:
    """Read the `workflow:` of a package's file.

    Raises:
        InvalidRequest: it is not YAML of the expected shape.
        ValidationFailed: parts of it are wrong; each problem has its place in the file.
    """
    if len(text) > MAX_BYTES:
        raise InvalidRequest(f"A workflow file is at most {MAX_BYTES:,} characters long.")
    try:
        data = yaml.load(text, Loader=_LOADER)  # noqa: S506  (the safe loader, in C)
    except yaml.YAMLError as error:
        raise InvalidRequest(f"The workflow file is not YAML: {_first_line(error)}") from error
    if not isinstance(data, dict) or not isinstance(data.get("workflow"), dict):
        raise InvalidRequest("A workflow file is a mapping with one key, `workflow:`.")
    return read_workflow(data["workflow"])


def read_workflow(data: dict[str, Any]) -> WorkflowDefinition:
    """Check plain data. Raises ValidationFailed."""
    try:
        return WorkflowDefinition.model_validate(data)
    except ValidationError as error:
        problems = [
            FieldProblem(".".join(str(part) for part in e["loc"]), e["msg"].removeprefix("Value error, "), e["type"])
            for e in error.errors(include_url=False, include_input=False)
        ]
        raise ValidationFailed(problems) from error


def dump_workflow(definition: WorkflowDefinition) -> str:
    """Write a definition as YAML that `load_workflow` reads back to an equal one."""
    return yaml.safe_dump({"workflow": definition.plain()}, sort_keys=False, allow_unicode=True, width=120)


def _first_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1})" if mark is not None else ""
    return f"{getattr(error, 'problem', None) or 'it cannot be read'}{place}"
