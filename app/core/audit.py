"""The shape of an audit entry while its transaction is open, and how values look in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from models.fieldtypes.number import plain


class Outcome(StrEnum):
    OK = "ok"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """`before` and `after` hold changed fields only; `allowed_by` is the policy line that permitted the command."""

    command: str
    entity: str | None = None
    record_id: UUID | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    reason: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = Outcome.OK
    grant_id: UUID | None = None
    allowed_by: str | None = None
    at: datetime | None = None  # in a replay; else the unit of work's now


def plain_value(value: Any) -> Any:
    """A value as it stands in JSON: exact numbers and instants as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal():
            return plain(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return f"PT{int(value.total_seconds())}S"
        case Mapping():
            return {str(key): plain_value(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain_value(item) for item in value]
        case bytes():
            return "(binary)"
    return str(value)


def plain_mapping(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {key: plain_value(value) for key, value in values.items()}
