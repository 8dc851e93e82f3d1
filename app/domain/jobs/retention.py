"""What is kept for how long: the leftovers of work that is over, cleared away in portions by a periodic work.

Nothing that is evidence is ever named here: no audit entry, no record of work, no run, no figure, no clock. Ids grow
with the real time, so what is old stands at the beginning of a primary key. The days of a rule are a parameter,
`retention.<code>`; one that is missing or out of its bounds counts as the shipped number.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, TextClause, Uuid, bindparam, select, text
from sqlalchemy.exc import SQLAlchemyError

from app.core.actor import system_actor
from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, NotFound, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.entities.service import create_record, update_record
from app.domain.jobs.context import Platform
from models.types import UtcDateTime

log = logging.getLogger("steps.jobs")

PORTION = 5_000
COUNTED = 100_000  # a trial counts no further
MOST_DAYS = 3_650
PREFIX = "retention."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Rows of `table` that fit `which` go when they are older than `days`; at `least` so many days are kept.

    `which` may use `:boundary` (the first id of the oldest day that is kept), `:before` (that moment in real time) and
    `:shown_before` (the same as the platform's clock has it, which a demo shifts).
    `empties`: this column is emptied instead of the row being deleted.
    """

    code: str
    label: str
    about: str
    days: int
    least: int
    table: str
    which: str
    key: str = "id"
    empties: str | None = None


RULES: tuple[Rule, ...] = (
    Rule(
        code="outbox_done",
        label="Deliveries that are done",
        about="Rows of the outbox whose job was done.",
        days=7,
        least=1,
        table="outbox",
        which="id < :boundary AND done_at IS NOT NULL",
    ),
    Rule(
        code="outbox_failed",
        label="Deliveries that have failed",
        about="Rows of the outbox that were given up; until then they can be looked into.",
        days=90,
        least=7,
        table="outbox",
        which="id < :boundary AND failed_at IS NOT NULL",
    ),
    Rule(
        code="answers",
        label="Answers to commands",
        about="What a command sent with an Idempotency-Key was answered, so that sending it again does nothing.",
        days=2,
        least=1,
        table="idempotency_key",
        which="created_at < :shown_before",
        key="actor_id, key",
    ),
    Rule(
        code="job_logs",
        label="Logs of jobs",
        about="The lines of an attempt's log. The job, its attempts and what they produced stay.",
        days=365,
        least=30,
        table="job_attempt",
        which="id < :boundary AND log IS NOT NULL AND state <> 'running'",
        empties="log",
    ),
    Rule(
        code="periodic_runs",
        label="Runs of periodic work",
        about="What workers did of the periodic work.",
        days=14,
        least=1,
        table="periodic_run",
        which="id < :boundary",
    ),
    Rule(
        code="workers",
        label="Workers that are gone",
        about="What a worker said of itself before it fell silent.",
        days=7,
        least=1,
        table="worker",
        which="seen_at < :shown_before",
    ),
    Rule(
        code="sessions",
        label="Sessions that have ended",
        about="Browser sessions that were signed out or have expired. The audit trail keeps who signed in.",
        days=90,
        least=1,
        table="user_session",
        which="coalesce(revoked_at, expires_at) < :before",
    ),
    Rule(
        code="notifications",
        label="Notifications that were read",
        about="Unread ones stay.",
        days=180,
        least=7,
        table="notification",
        which="id < :boundary AND read_at IS NOT NULL",
    ),
    Rule(
        code="mails",
        label="Mails that are settled",
        about="Mails that were sent, kept for want of a server, withdrawn, or given up. Those on their way stay.",
        days=365,
        least=30,
        table="mail_message",
        which="id < :boundary AND state IN ('sent', 'kept', 'failed', 'gathered', 'withdrawn')",
    ),
)
BY_CODE: Mapping[str, Rule] = {rule.code: rule for rule in RULES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A rule with the days in force and what would go now. `ignored`: what the parameter says and cannot mean."""

    rule: Rule
    days: int
    ignored: str | None
    due: int
    more: bool  # there are more than were counted


def _chosen(rule: Rule) -> str:
    return f"SELECT {rule.key} FROM {rule.table} WHERE {rule.which} ORDER BY {rule.key} LIMIT :portion"


def _clearing(rule: Rule) -> TextClause:
    chosen = f"({rule.key}) IN ({_chosen(rule)} FOR UPDATE SKIP LOCKED)"
    if rule.empties:
        statement = f"UPDATE {rule.table} SET {rule.empties} = NULL WHERE {chosen}"
    else:
        statement = f"DELETE FROM {rule.table} WHERE {chosen}"
    return _typed(statement)


def _typed(statement: str) -> TextClause:
    known = {"boundary": Uuid, "before": UtcDateTime, "shown_before": UtcDateTime, "portion": Integer}
    return text(statement).bindparams(
        *(bindparam(name, type_=kind) for name, kind in known.items() if f":{name}" in statement)
    )


_CLEARING: Mapping[str, TextClause] = {rule.code: _clearing(rule) for rule in RULES}
_COUNTING: Mapping[str, TextClause] = {
    rule.code: _typed(f"SELECT count(*) FROM ({_chosen(rule)}) AS chosen") for rule in RULES
}
_SET_DAYS = text("SELECT code, value FROM parameter WHERE code LIKE 'retention.%'")


def days_of(rule: Rule, given: object) -> int | None:
    """Return the days that a parameter asks for; None where it cannot be meant."""
    if isinstance(given, bool) or not isinstance(given, int):
        return None
    return given if rule.least <= given <= MOST_DAYS else None


async def clear_old(platform: Platform) -> int:
    """Clear away what is older than its rule keeps it; return how many rows that were.

    Each rule has transactions of its own, of some thousand rows each, so that one which cannot be followed does not
    keep the others. Any number of workers may do it at once.
    """
    actor = system_actor("Retention")
    async with platform.uow(actor) as uow:
        asked = await _asked(uow)
    cleared = 0
    for rule in RULES:
        days = days_of(rule, asked.get(rule.code)) or rule.days
        try:
            async with platform.uow(actor) as uow:
                cleared += await _clear(uow, rule, days)
        except (StepsError, SQLAlchemyError) as error:
            log.error("retention of %s was not followed: %s", rule.code, type(error).__name__)
    return cleared


async def _clear(uow: UnitOfWork, rule: Rule, days: int) -> int:
    total = 0
    while True:
        count = int((await uow.execute(_CLEARING[rule.code], _bounds(uow, rule, days, PORTION))).rowcount)
        total += count
        if count < PORTION:
            break
        await uow.checkpoint()
    if total:
        context = {"rule": rule.code, "days": days, "rows": total}
        uow.audit(AuditEntry(command="retention.clear", entity=rule.table, context=context))
    return total


def _bounds(uow: UnitOfWork, rule: Rule, days: int, portion: int) -> dict[str, Any]:
    kept = timedelta(days=days)
    oldest = uow.resources.clock.real() - kept  # as ids have it
    given = {"boundary": first_id_at(oldest), "before": oldest, "shown_before": uow.now - kept, "portion": portion}
    return {name: value for name, value in given.items() if name == "portion" or f":{name}" in rule.which}


async def what_is_kept(uow: UnitOfWork) -> list[Kept]:
    """Every rule with what it would clear now: a trial that changes nothing. Raises: Forbidden."""
    authorize(uow, "read", "periodic_work")
    asked = await _asked(uow)
    found = []
    for rule in RULES:
        given = asked.get(rule.code)
        days = days_of(rule, given)
        due = int(await uow.scalar(_COUNTING[rule.code], _bounds(uow, rule, days or rule.days, COUNTED + 1)))
        found.append(
            Kept(
                rule=rule,
                days=days or rule.days,
                ignored=None if given is None or days is not None else str(given)[:40],
                due=min(due, COUNTED),
                more=due > COUNTED,
            )
        )
    return found


async def set_days(uow: UnitOfWork, code: str, days: int) -> None:
    """Keep what the rule speaks of for so many days from now on.

    Raises:
        Forbidden: settings are changed by administrators of the platform.
        NotFound: there is no such rule.
        ValidationFailed: fewer days than the rule keeps at least, or too many.
    """
    rule = BY_CODE.get(code)
    if rule is None:
        raise NotFound("There is no such retention rule.")
    authorize(uow, "update", "parameter")
    if days_of(rule, days) is None:
        message = f"{rule.label} are kept for {rule.least} to {MOST_DAYS} days."
        raise ValidationFailed([FieldProblem("days", message, "range")])
    parameters = uow.table("parameter")
    statement = select(parameters.c.id, parameters.c.row_version).where(parameters.c.code == PREFIX + code)
    row = (await uow.execute(statement)).one_or_none()
    if row is None:
        label = f"Days for which are kept: {rule.label.lower()}"
        values = {"code": PREFIX + code, "label": label, "value": days, "description": rule.about}
        await create_record(uow, "parameter", values)
    else:
        await update_record(uow, "parameter", row.id, {"value": days}, expected_version=row.row_version)


async def _asked(uow: UnitOfWork) -> dict[str, object]:
    return {row.code.removeprefix(PREFIX): row.value for row in await uow.execute(_SET_DAYS)}


def first_id_at(moment: datetime) -> UUID:
    """Return the smallest time-ordered id (version 7) that could have been made at the moment."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))
