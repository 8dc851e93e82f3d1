"""How the steps of records are described: schemas, parameters and examples of `app.api.record_steps`."""

from typing import Any

from app.domain.lifecycles.bulk import MOST, Result
from app.domain.lifecycles.queries import LOG_LIMIT
from app.domain.lifecycles.transitions import MAX_COMMENT

Schema = dict[str, Any]

_UUID: Schema = {"type": "string", "format": "uuid"}
_TEXT: Schema = {"type": "string"}
_MAYBE: Schema = {"type": ["string", "null"]}
_MAYBE_UUID: Schema = {"type": ["string", "null"], "format": "uuid"}
_NAMES: Schema = {"type": "array", "items": _TEXT}
_ID = "0198f3c2-7a10-7cc3-9f5e-3b1d2a4c6e80"

NAME: Schema = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Name of the step, as the record's transitions give it",
    "schema": {"type": "string", "minLength": 1, "maxLength": 48, "pattern": "^[A-Za-z][A-Za-z0-9_]*$"},
}
LOG_PARAMETERS: list[Schema] = [
    {"name": "cursor", "in": "query", "description": "Older entries of the log: `next_cursor`", "schema": _TEXT},
    {
        "name": "limit",
        "in": "query",
        "description": "How many entries of the log",
        "schema": {"type": "integer", "minimum": 1, "maximum": LOG_LIMIT, "default": 50},
    },
]


def _object(title: str, /, **properties: Schema) -> Schema:
    return {"type": "object", "title": title, "required": [*properties], "properties": properties}


_STATE = _object(
    "State",
    name={**_TEXT, "examples": ["captured"]},
    label={**_TEXT, "examples": ["Captured"]},
    category={"enum": ["draft", "active", "waiting", "final", "void"]},
    colour=_MAYBE,
)
_APPROVALS = _object(
    "Approvals",
    needed={"type": "integer", "minimum": 1},
    distinct_from={"type": "array", "items": {"enum": ["creator", "last_editor", "prior_approver"]}},
    given={"type": "array", "items": _object("Approval", id=_UUID, name=_TEXT, on_behalf_of=_MAYBE_UUID)},
)
_TRANSITION = _object(
    "Step offered",
    name=_TEXT,
    label=_TEXT,
    to=_STATE,
    tone={"enum": ["primary", "neutral", "danger"]},
    allowed={"type": "boolean", "description": "Whether the caller may take it now"},
    guard={**_MAYBE, "description": "The rule that refuses"},
    refusal=_MAYBE,
    satisfy={**_MAYBE, "description": "What would make it possible"},
    roles=_NAMES,
    require_comment={"type": "boolean"},
    require_fields=_NAMES,
    missing_fields={**_NAMES, "description": "Send these as `values`"},
    approvals=_APPROVALS,
)
_LOG_ENTRY = _object(
    "Step taken",
    id=_UUID,
    at={"type": "string", "format": "date-time"},
    kind={"enum": ["step", "approval"]},
    transition=_TEXT,
    label=_TEXT,
    from_state=_TEXT,
    to_state=_TEXT,
    actor_id=_MAYBE_UUID,
    actor_name=_TEXT,
    on_behalf_of=_MAYBE,
    comment=_MAYBE,
    approvers=_NAMES,
    ended={"type": "boolean", "description": "An approval that came to nothing"},
)
_ROW = _object(
    "Result of a record",
    id=_UUID,
    title=_MAYBE,
    result={"enum": [result.value for result in Result]},
    from_state=_MAYBE,
    to_state=_MAYBE,
    row_version={"type": ["integer", "null"]},
    waiting_for={"type": "integer", "description": "How many more people the step takes"},
    guard=_MAYBE,
    detail=_MAYBE,
    satisfy=_MAYBE,
)
STEP_SCHEMAS: dict[str, Schema] = {
    "RecordSteps": _object(
        "Steps of a record",
        id=_UUID,
        row_version={"type": "integer", "minimum": 1},
        lifecycle=_object("Lifecycle", code=_TEXT, label=_TEXT, version={"type": "integer"}),
        state=_STATE,
        transitions={"type": "array", "items": _TRANSITION},
        log={"type": "array", "items": _LOG_ENTRY, "description": "Newest first"},
        next_cursor=_MAYBE,
    ),
    "StepResult": _object(
        "Step taken",
        id=_UUID,
        transition=_TEXT,
        from_state=_TEXT,
        to_state=_TEXT,
        row_version={"type": "integer"},
        waiting_for={"type": "integer", "description": "More than 0: approved, and so many more people are needed"},
    ),
    "BulkSteps": _object(
        "Steps of many records",
        dry_run={"type": "boolean"},
        succeeded={"type": "integer"},
        refused={"type": "integer"},
        results={"type": "array", "items": _ROW, "description": "One a record, in the order of ids"},
    ),
    "StepInput": {
        "type": "object",
        "title": "Step",
        "additionalProperties": False,
        "properties": {
            "comment": {"type": ["string", "null"], "maxLength": MAX_COMMENT},
            "values": {"type": ["object", "null"], "description": "Fields that the step requires, and no others"},
        },
        "examples": [{"comment": "Matches the confirmation", "values": {"counterparty": "Cassel Automotive"}}],
    },
    "BulkStepsInput": {
        "type": "object",
        "title": "Step of many records",
        "additionalProperties": False,
        "required": ["ids"],
        "properties": {
            "ids": {"type": "array", "items": _UUID, "minItems": 1, "maxItems": MOST},
            "versions": {
                "type": ["object", "null"],
                "description": "The row_version that was read, by id; one that has changed since is left alone",
                "additionalProperties": {"type": "integer", "minimum": 1},
            },
            "comment": {"type": ["string", "null"], "maxLength": MAX_COMMENT},
            "dry_run": {"type": "boolean", "default": False, "description": "Say what would happen, and do nothing"},
        },
        "examples": [{"ids": [_ID], "dry_run": True}],
    },
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
