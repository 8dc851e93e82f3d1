"""What happened to a record: its audit entries, as far as the reader may see the fields in them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.uow import UnitOfWork
from app.domain.access.fields import readable_fields
from app.domain.entities.queries import get_record
from models.schema import EntityDef
from models.system.tables import audit_entry


async def history(
    uow: UnitOfWork, entity_name: str, record_id: UUID, *, before: int | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """The audit entries of a record, newest first; `before` is the sequence to continue below."""
    await get_record(uow, entity_name, record_id, lines=False)
    a = audit_entry.c
    entity = uow.registry.entity(entity_name)
    shown = {f.name for f in readable_fields(uow.resources.policy, uow.actor, entity)}
    statement = select(a.sequence, a.at, a.actor_id, a.actor_name, a.command, a.before, a.after, a.reason).where(
        a.entity == entity_name, a.record_id == record_id, a.outcome == "ok"
    )
    if before is not None:
        statement = statement.where(a.sequence < before)
    rows = (await uow.execute(statement.order_by(a.sequence.desc()).limit(min(limit, 200)))).mappings()
    return [
        {**row, "before": _only(row["before"], shown, entity), "after": _only(row["after"], shown, entity)}
        for row in rows
    ]


def _only(values: Mapping[str, Any] | None, shown: set[str], entity: EntityDef) -> dict[str, Any] | None:
    """Changed values without the fields that the reader may not see."""
    if values is None:
        return None
    return {name: value for name, value in values.items() if name in shown or not entity.has_field(name)}
