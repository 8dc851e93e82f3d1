"""What a statement has released, in the shape in which every statement that releases returns it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app.domain.workflow.events import ProcessesReleased
from app.domain.workflow.states import ProcessKind, ProcessState

# `{0}` has id, code and kind of a process run, `{1}` is its new state, `d` its definition.
RELEASED = """jsonb_agg(jsonb_build_object(
           'id', {0}.id, 'code', {0}.code, 'kind', {0}.kind, 'state', {1}, 'action', d.action,
           'parameters', d.parameters, 'max_attempts', d.max_attempts, 'backoff_seconds', d.backoff_seconds,
           'routed', d.rule_id IS NOT NULL))::text"""


@dataclass(frozen=True, slots=True)
class Released:
    """A process that may begin now, or `planned`: as soon as its earliest start is reached."""

    id: UUID
    code: str
    kind: ProcessKind
    state: ProcessState
    action: str | None
    parameters: dict[str, Any]
    max_attempts: int
    backoff_seconds: int
    routed: bool  # a rule decides how it goes on


def released_from(json_text: str | None) -> tuple[Released, ...]:
    """Read what `RELEASED` has built; none where nothing was released."""
    return tuple(
        Released(
            UUID(item["id"]),
            item["code"],
            ProcessKind(item["kind"]),
            ProcessState(item["state"]),
            item["action"],
            item["parameters"] or {},
            item["max_attempts"] or 1,
            item["backoff_seconds"] or 0,
            item["routed"],
        )
        for item in orjson.loads(json_text or "[]")
    )


def may_begin(released: Sequence[Released], *, run_id: UUID, at: datetime) -> ProcessesReleased:
    """The event that tells of them."""
    routed = tuple(item.id for item in released if item.routed)
    return ProcessesReleased(at=at, run_id=run_id, process_run_ids=tuple(item.id for item in released), routed=routed)
