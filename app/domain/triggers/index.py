"""The triggers in force, kept in each process, so that an event without a trigger costs one look into a dictionary."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.access.throttle import Throttle
from app.domain.triggers.definitions import Trigger, trigger_of

log = logging.getLogger("steps.triggers")

# The name of the service, and the topic that is touched when a trigger changes.
TOPIC = "triggers"

Key = tuple[str, Any]


@dataclass
class TriggerIndex:
    """What is active, by what sets it off; `calls` and `strangers` brake calls by token and by address."""

    by_key: Mapping[Key, tuple[Trigger, ...]] = field(default_factory=dict)
    by_id: Mapping[UUID, Trigger] = field(default_factory=dict)
    calls: Throttle = field(default_factory=lambda: Throttle(capacity=120, per_second=2))
    strangers: Throttle = field(default_factory=lambda: Throttle(capacity=30, per_second=0.5))

    def of(self, kind: str, subject: Any) -> tuple[Trigger, ...]:
        """The active triggers that this sets off; none is the usual answer."""
        return self.by_key.get((kind, subject), ())

    async def load(self, engine: AsyncEngine, table: Table) -> None:
        """Read what is in force now."""
        async with engine.connect() as connection:
            rows = (await connection.execute(select(table).where(table.c.active))).mappings().all()
        self.take([dict(row) for row in rows])

    def take(self, rows: Sequence[Mapping[str, Any]]) -> None:
        found: dict[Key, tuple[Trigger, ...]] = {}
        by_id: dict[UUID, Trigger] = {}
        for row in rows:
            try:
                trigger = trigger_of(row)
            except StepsError as error:  # written past the checks; the others go on
                log.warning("trigger %s cannot be used: %s", row["code"], error.detail)
                continue
            by_id[trigger.id] = trigger
            found[trigger.key] = (*found.get(trigger.key, ()), trigger)
        self.by_key, self.by_id = found, by_id


def triggers_in_force(uow: UnitOfWork) -> TriggerIndex | None:
    """None in a process that keeps no triggers."""
    index: TriggerIndex | None = uow.resources.services.get(TOPIC)
    return index
