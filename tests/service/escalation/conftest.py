"""A bank at noon, with a ladder that the policy of process deadlines names."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import HANDLERS, Runtime
from app.domain.escalation.climbing import climb
from app.domain.jobs.events import JobFailed
from app.domain.sla.sweep import sweep
from tests.factories import SYSTEM, add_row
from tests.service.sla.close import DUE, NOON, Close

LATE = DUE + timedelta(seconds=30)
__all__ = ["DUE", "LATE", "Ladders"]
assert JobFailed in HANDLERS


class Ladders(Close):
    """`await bank.ladder({...}, {...})` makes the ladder of the deadlines; `told()` who was told what, in order."""

    async def ladder(self, *steps: Mapping[str, Any], **values: Any) -> UUID:
        await self.ensure_policy()
        async with self.runtime.uow(SYSTEM) as uow:
            given = {
                "code": "late", "label": "Late work", "active": True, "threshold": "breach", "job_failures": False,
                "delivery_failures": False, **values,
            }  # fmt: skip
            ladder = await add_row(uow, "escalation_ladder", **given)
            for position, step in enumerate(steps):
                defaults = {"wait_minutes": 0, "target": "person", "repeat_times": 0, "repeat_minutes": 15}
                await add_row(uow, "escalation_step", parent_id=ladder, position=position, **{**defaults, **step})
            await uow.execute(text("UPDATE sla_policy SET ladder_id = :id"), {"id": ladder})
        return ladder

    def person_id(self, name: str) -> UUID:
        found = self.people[name].id
        assert found is not None
        return found

    async def breach(self) -> None:
        """The deadline of the run's processes passes."""
        await self.at(LATE)
        await sweep(self.runtime)

    async def climb_at(self, moment: datetime) -> int:
        await self.at(moment + timedelta(seconds=2))  # what the sweep at this moment left is a little later than it
        return await climb(self.runtime)

    async def told(self) -> list[tuple[str, ...]]:
        """The names of those who were told, one entry for each telling."""
        names = {actor.id: name for name, actor in self.people.items()}
        async with self.runtime.uow(SYSTEM) as uow:
            rows = await uow.execute(
                text("SELECT user_ids FROM escalation_event WHERE kind IN ('told', 'fallback') ORDER BY id")
            )
            return [tuple(sorted(names[UUID(id_)] for id_ in row.user_ids)) for row in rows]

    async def escalation(self) -> Mapping[str, Any]:
        async with self.runtime.uow(SYSTEM) as uow:
            return dict((await uow.execute(text("SELECT * FROM escalation"))).mappings().one())

    async def kinds(self) -> list[str]:
        async with self.runtime.uow(SYSTEM) as uow:
            return list((await uow.execute(text("SELECT kind FROM escalation_event ORDER BY id"))).scalars())


@pytest.fixture
async def bank(runtime: Runtime) -> Ladders:
    built = Ladders(runtime)
    services = dict(runtime.services)
    await built.at(NOON)
    await built.build()
    runtime.services = services
    return built
