"""Set off a trigger: its firing is recorded with what has happened, and a job then creates the run, once.

Recording and cause stand in one transaction. The job may come twice or be cut short: the firing is locked, and one
that has ended stays as it is; the run itself is created once per workflow, date, node and variant.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from app.core.errors import Conflict, FieldProblem, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.calendars.store import calendar_of_id
from app.domain.triggers.definitions import DateRule, Trigger, trigger_of
from app.domain.triggers.payload import as_json
from app.domain.workflow.runs import create_run
from models.base import uuid7

FIRING = "trigger_firing"
FIRE_TRIGGER = "fire_trigger"
MAX_DEPTH = 10
AN_HOUR = timedelta(hours=1)

RECORD = text(
    """
INSERT INTO trigger_firing (id, trigger_id, workflow_id, at, delivery, payload_digest, payload, depth, outcome, reason,
                            finished_at, attempts, created_at, created_by, updated_at, updated_by)
SELECT :id, :trigger, :workflow, :now, :delivery, :digest, :payload, n.depth,
       CASE WHEN n.why IS NULL THEN 'pending' ELSE 'refused' END, n.why,
       CASE WHEN n.why IS NOT NULL THEN CAST(:now AS timestamptz) END,
       0, :now, :by, :now, :by
FROM (
    SELECT d.depth, CASE
        WHEN CAST(:refused AS text) IS NOT NULL THEN CAST(:refused AS text)
        WHEN d.depth > CAST(:most_depth AS int)
            THEN 'More than ' || CAST(:most_depth AS int) || ' triggers have set off one another.'
        WHEN (SELECT count(*) FROM trigger_firing f WHERE f.trigger_id = :trigger AND f.at > :since
              AND f.outcome <> 'refused') >= CAST(:most AS int)
            THEN 'More than ' || CAST(:most AS int) || ' in an hour.'
    END AS why
    FROM (SELECT coalesce((SELECT max(f.depth) + 1 FROM trigger_firing f WHERE f.run_id = :source_run), 0) AS depth) d
) n
ON CONFLICT (trigger_id, delivery) DO NOTHING
RETURNING id, outcome, reason
"""
).bindparams(bindparam("payload", type_=JSONB(none_as_null=True)))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A firing; `again` where the same delivery was recorded before."""

    id: UUID
    outcome: str
    reason: str | None
    again: bool = False


async def set_off(
    uow: UnitOfWork,
    trigger: Trigger,
    *,
    delivery: str,
    values: Mapping[str, Any],
    content: bytes | None = None,
    content_digest: str | None = None,
    source_run: UUID | None = None,
    refused: str | None = None,
) -> Recorded:
    """Record a firing and ask for its job; the same delivery is recorded once.

    `values` is what the trigger reads, by field name; `content` what its digest is of. `refused` records a firing that
    comes to nothing, and why.
    """
    kept = as_json(trigger, values)
    delivered = content if content is not None else orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    digest = content_digest or hashlib.sha256(delivered).hexdigest()
    given = {
        "id": uuid7(), "trigger": trigger.id, "workflow": trigger.workflow_id, "now": uow.now,
        "delivery": delivery[:200], "digest": digest, "payload": kept or None, "most_depth": MAX_DEPTH,
        "most": trigger.most_per_hour, "since": uow.now - AN_HOUR, "source_run": source_run, "by": uow.actor.id,
        "refused": refused[:500] if refused else None,
    }  # fmt: skip
    row = (await uow.execute(RECORD, given)).first()
    uow.touch(f"event_trigger:{trigger.id}", f"entity:{FIRING}")
    if row is None:
        table = uow.table(FIRING)
        mine = (table.c.trigger_id == trigger.id) & (table.c.delivery == given["delivery"])
        known = (await uow.execute(select(table.c.id, table.c.outcome, table.c.reason).where(mine))).one()
        return Recorded(known.id, known.outcome, known.reason, again=True)
    if row.outcome == "pending":
        uow.enqueue(FIRE_TRIGGER, {"firing_id": row.id})
    return Recorded(row.id, row.outcome, row.reason)


async def fire(uow: UnitOfWork, firing_id: UUID) -> UUID | None:
    """Create the run of a firing, or find that it is there or cannot be; None then, and where it has ended already.

    Raises whatever is not a refusal: the job is tried again, and `note_failure` says so meanwhile.
    """
    table, triggers = uow.table(FIRING), uow.table("event_trigger")
    row = (
        await uow.execute(select(table).where(table.c.id == firing_id).with_for_update())
    ).mappings().first()  # fmt: skip
    if row is None or row["outcome"] not in ("pending", "failed"):
        return None
    found = (await uow.execute(select(triggers).where(triggers.c.id == row["trigger_id"]))).mappings().one()
    business_date: date | None = None
    try:
        trigger = trigger_of(dict(found))
        if not trigger.active:
            raise Conflict("The trigger is not active any more.")
        business_date = await _business_date(uow, trigger, row["payload"] or {}, row["at"])
        run_id = await create_run(
            uow,
            workflow=trigger.workflow_id,
            business_date=business_date,
            node_id=await _node(uow, trigger, row["payload"] or {}),
            variant=_variant(trigger, row["payload"] or {}),
        )
    except StepsError as error:
        if error.status >= 500:
            raise
        await _end(uow, row, outcome="refused", reason=error.detail[:500], business_date=business_date)
        return None
    runs = uow.table("workflow_run")
    created_at = await uow.scalar(select(runs.c.created_at).where(runs.c.id == run_id))
    outcome = "started" if created_at == uow.now else "existing"
    await _end(uow, row, outcome=outcome, reason=None, business_date=business_date, run_id=run_id)
    return run_id


async def note_failure(uow: UnitOfWork, firing_id: UUID, reason: str) -> None:
    """Say that an attempt has failed; the next one may still succeed."""
    table = uow.table(FIRING)
    await uow.execute(
        update(table)
        .where(table.c.id == firing_id, table.c.outcome.in_(["pending", "failed"]))
        .values(outcome="failed", reason=reason[:500], attempts=table.c.attempts + 1, updated_at=uow.now)
    )
    uow.touch(f"entity:{FIRING}")


async def _end(uow: UnitOfWork, row: Mapping[Any, Any], **values: Any) -> None:
    table = uow.table(FIRING)
    stamp = {"finished_at": uow.now, "attempts": row["attempts"] + 1, "row_version": row["row_version"] + 1}
    written = update(table).where(table.c.id == row["id"]).values(**values, **stamp, updated_at=uow.now)
    await uow.execute(written)
    uow.touch(f"event_trigger:{row['trigger_id']}", f"entity:{FIRING}")


async def _business_date(uow: UnitOfWork, trigger: Trigger, payload: Mapping[str, Any], at: datetime) -> date:
    workflows = uow.table("workflow")
    calendar_id = await uow.scalar(select(workflows.c.calendar_id).where(workflows.c.id == trigger.workflow_id))
    calendar = await calendar_of_id(uow, calendar_id)
    if trigger.date_rule is DateRule.PAYLOAD:
        given = payload.get(trigger.date_field)
        if given is None:
            raise ValidationFailed([FieldProblem(trigger.date_field, "has no date, so there is no business date")])
        moment = _read_date(trigger.date_field, str(given))
        return calendar.local_date(moment) if isinstance(moment, datetime) else moment
    today = calendar.local_date(at)
    match trigger.date_rule:
        case DateRule.WORKING_DAY:
            return calendar.add_working_days(today, 0)
        case DateRule.PREVIOUS_WORKING_DAY:
            return calendar.previous_working_day(today)
        case _:
            return today


def _read_date(field: str, text_: str) -> date | datetime:
    try:
        if len(text_) == 8 and text_.isascii() and text_.isdigit():
            return date(int(text_[:4]), int(text_[4:6]), int(text_[6:]))
        if len(text_) == 10:
            return date.fromisoformat(text_)
        moment = datetime.fromisoformat(text_)
    except ValueError:
        problem = FieldProblem(field, f"{text_[:40]!r} is no date; write 2026-10-30 or 20261030")
        raise ValidationFailed([problem]) from None
    return moment if moment.tzinfo is not None else moment.date()


FIND_NODES = text(
    """
SELECT n.id FROM hierarchy_node n, workflow w LEFT JOIN hierarchy_node own ON own.id = w.node_id
WHERE w.id = :workflow AND (n.code = :given OR CAST(n.id AS text) = :given)
ORDER BY (n.hierarchy_id = own.hierarchy_id) DESC NULLS LAST
LIMIT 2
"""
)


async def _node(uow: UnitOfWork, trigger: Trigger, payload: Mapping[str, Any]) -> UUID | None:
    if trigger.node_field is None:
        return trigger.node_id
    given = payload.get(trigger.node_field)
    if given is None:
        return trigger.node_id
    rows = (await uow.execute(FIND_NODES, {"workflow": trigger.workflow_id, "given": str(given)})).scalars().all()
    if not rows:
        raise ValidationFailed([FieldProblem(trigger.node_field, f"there is no hierarchy node {str(given)[:60]!r}")])
    node_id: UUID = rows[0]
    return node_id


def _variant(trigger: Trigger, payload: Mapping[str, Any]) -> str:
    given = payload.get(trigger.variant_field) if trigger.variant_field else None
    return trigger.variant if given is None else str(given)
