"""Rules about one record: may a step be taken (`guard`), and what is wrong with its values (`field_validation`).

Whoever guards or validates names a rule by its code and gives the record as it stands; the rule takes what it knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.core.errors import FieldProblem
from app.core.uow import UnitOfWork
from app.domain.rules.evaluation import Decision, KeepFor, evaluate, facts_of


@dataclass(frozen=True, slots=True)
class GuardAnswer:
    """`message` says what would satisfy the rule, in its own words where it has some."""

    allowed: bool
    message: str
    decision: Decision


async def ask_guard(
    uow: UnitOfWork,
    *,
    code: str,
    record: Mapping[str, Any],
    keep_for: KeepFor | tuple[str, UUID, str] | None = None,
    at: date | None = None,
) -> GuardAnswer:
    """Whether a rule allows a step on a record; where no row fits it does not. Raises like `evaluate`."""
    decision = await _ask(uow, code, record, keep_for, at=at)
    allowed = decision.output.get("allowed") is True
    said = decision.output.get("message") or f"The rule {code} does not allow it."
    return GuardAnswer(allowed, "" if allowed else str(said), decision)


async def validate_by_rule(
    uow: UnitOfWork, *, code: str, record: Mapping[str, Any], at: date | None = None
) -> list[FieldProblem]:
    """What a rule finds wrong with a record: one problem for each answer that has a message. Raises like `evaluate`."""
    decision = await _ask(uow, code, record, None, at=at)
    return [
        FieldProblem(str(answer.get("field") or ""), str(answer["message"]), "rule")
        for answer in decision.answers
        if answer.get("message")
    ]


async def _ask(
    uow: UnitOfWork,
    code: str,
    record: Mapping[str, Any],
    keep_for: KeepFor | tuple[str, UUID, str] | None,
    *,
    at: date | None,
) -> Decision:
    taken = await facts_of(uow, code=code, at=at)
    given = {name: as_fact(record[name]) for name in taken if name in record}
    return await evaluate(uow, code=code, input=given, keep_for=keep_for, at=at)


def as_fact(value: Any) -> Any:
    """A field's value as a rule takes it: ids and instants as texts, durations in seconds, money as its amount."""
    match value:
        case (Decimal() as amount, str()):
            return amount
        case datetime() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case timedelta():
            return int(value.total_seconds())
        case list() | tuple() | set() | frozenset():
            return [str(item) for item in value]
    return value
