"""Simulate a schedule before it is saved, or as it is: its rule over the months to come, beside the other schedules."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from app.core.errors import FieldProblem, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope
from app.domain.schedules.calendar_expression import canonical
from app.domain.schedules.errors import InvalidRecurrence
from app.domain.schedules.horizon import SCHEDULE
from app.domain.schedules.recurrence import Recurrence
from app.domain.schedules.simulation import Other, Simulation, simulate_rule
from app.domain.schedules.store import calendar_for, expression_of, rule_of, schedule_of, variant_of, warnings_of
from app.domain.schedules.wording import describe
from models.fieldtypes import FIELD_TYPES, FieldError
from models.registry import Registry

MONTHS = 24
MOST_MONTHS = 60
MOST_OTHERS = 300
_NEW = UUID(int=0)


async def simulate(
    uow: UnitOfWork,
    values: Mapping[str, Any],
    *,
    months: int = MONTHS,
    schedule_id: UUID | None = None,
    crowded: bool = True,
) -> Simulation:
    """Simulate a schedule's values by field name, as a form or a client has them, from now on.

    `schedule_id` is the schedule that they belong to, which then does not clash with itself. Without `crowded` only
    schedules of the same workflow are looked at, which is quick enough for each keystroke.

    Raises:
        ValidationFailed: the rule cannot be used; the problem stands at its field.
    """
    authorize(uow, "read", SCHEDULE)
    if not 1 <= months <= MOST_MONTHS:
        raise ValidationFailed([FieldProblem("months", f"1 to {MOST_MONTHS}")])
    workflow_id = values.get("workflow")
    try:
        rule = rule_of(values)
        expression = expression_of(values.get("calendars"))
        if workflow_id is None and expression is None:
            raise InvalidRecurrence("workflow", "Choose the workflow, whose calendar counts, or name a calendar.")
        calendar = await calendar_for(uow, expression, workflow_id or _NEW)
        node_id = values.get("node") or await _node_of(uow, workflow_id)
        variant = variant_of(values.get("variant"))
        own = Other(str(values.get("code") or ""), rule, calendar, workflow_id or _NEW, node_id, variant)
        until = uow.now + timedelta(days=round(months * 30.4375))
        others = await _others(uow, workflow_id, schedule_id, crowded=crowded)
        name = canonical(expression) if expression is not None else calendar.code
        return await asyncio.to_thread(
            simulate_rule,
            own,
            words=describe(rule, name),
            since=uow.now,
            until=until,
            others=others,
            warnings=warnings_of(calendar, _last_day(rule, until)),
        )
    except InvalidRecurrence as error:
        raise ValidationFailed(error.problems) from None
    except ValidationFailed:
        raise
    except StepsError as error:
        raise ValidationFailed([FieldProblem("calendars", error.detail)]) from None


async def simulate_schedule(uow: UnitOfWork, schedule_id: UUID, *, months: int = MONTHS) -> Simulation:
    """Simulate a stored schedule. Raises NotFound, ValidationFailed."""
    await require_in_scope(uow, "read", SCHEDULE, schedule_id)
    table = uow.table(SCHEDULE)
    row = (await uow.execute(select(table).where(table.c.id == schedule_id))).mappings().one()
    return await simulate(uow, values_of(row), months=months, schedule_id=schedule_id)


def values_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of the table by field names."""
    return {**row, "workflow": row["workflow_id"], "node": row["node_id"]}


async def _node_of(uow: UnitOfWork, workflow_id: UUID | None) -> UUID | None:
    workflows = uow.table("workflow")
    node_id: UUID | None = await uow.scalar(select(workflows.c.node_id).where(workflows.c.id == workflow_id))
    return node_id


def _last_day(rule: Recurrence, until: datetime) -> Any:
    return min(until.date(), rule.valid_until) if rule.valid_until else until.date()


async def _others(
    uow: UnitOfWork, workflow_id: UUID | None, schedule_id: UUID | None, *, crowded: bool
) -> Sequence[Other]:
    """The schedules in force beside this one; one that cannot be worked out creates nothing, and clashes with none."""
    table, workflows = uow.table(SCHEDULE), uow.table("workflow")
    wanted = (
        select(table, func.coalesce(table.c.node_id, workflows.c.node_id).label("where"))
        .join(workflows, workflows.c.id == table.c.workflow_id)
        .where(table.c.active, table.c.next_due_at.is_not(None))
        .limit(MOST_OTHERS)
    )
    if schedule_id is not None:
        wanted = wanted.where(table.c.id != schedule_id)
    if not crowded:
        wanted = wanted.where(table.c.workflow_id == workflow_id)
    found: list[Other] = []
    for row in (await uow.execute(wanted)).mappings():
        try:
            schedule = schedule_of(dict(row))
            calendar = await calendar_for(uow, schedule.calendars, schedule.workflow_id)
        except StepsError:
            continue
        found.append(
            Other(schedule.code, schedule.rule, calendar, schedule.workflow_id, row["where"], schedule.variant)
        )
    return found


def read_values(registry: Registry, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a schedule as a client sends them, in memory; what is not given has its default.

    Raises:
        ValidationFailed: a field is not there, or its value is not of its type.
    """
    entity = registry.entity(SCHEDULE)
    values: dict[str, Any] = {
        field.name: FIELD_TYPES[field.type].parse(field, field.default)
        for field in entity.fields
        if field.default is not None
    }
    problems: list[FieldProblem] = []
    for name, value in given.items():
        if not entity.has_field(name) or entity.field(name).read_only:
            problems.append(FieldProblem(name, "there is no such field to enter", "unknown"))
        elif value is None or value == "":
            values.pop(name, None)
        else:
            try:
                values[name] = FIELD_TYPES[entity.field(name).type].parse(entity.field(name), value)
            except FieldError as error:
                problems.append(FieldProblem(name, str(error)))
    if problems:
        raise ValidationFailed(problems)
    return values
