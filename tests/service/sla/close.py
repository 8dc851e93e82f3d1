"""A bank whose whole platform, database time included, is set to a moment of its business day."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, event, select, text

from app.bootstrap import Runtime
from app.domain.sla.policies import ensure_shipped_policies
from app.domain.workflow.run_commands import cancel_run
from app.domain.workflow.runs import create_run
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, Bank

NOON = datetime(2026, 10, 30, 12, 0, tzinfo=UTC)
DUE = datetime(2026, 10, 30, 17, 0, tzinfo=UTC)  # 18:00 in Frankfurt, as every process of the bank has it
WARN = DUE - timedelta(minutes=30)


class Close(Bank):
    async def at(self, moment: datetime) -> None:
        """Make it this moment, for every process and for the database; time goes on from there."""
        self.runtime.clock.shift = shift = moment - datetime.now(UTC)
        async with self.runtime.uow(SYSTEM) as uow:
            await uow.execute(
                text(
                    "INSERT INTO demo_clock (shift, set_at) VALUES (:shift, now())"
                    " ON CONFLICT (one_row) DO UPDATE SET shift = excluded.shift"
                ),
                {"shift": shift},
            )

    async def clock(self, code: str) -> RowMapping:
        row = await self.row(code)
        async with self.runtime.uow(SYSTEM) as uow:
            clocks = uow.table("sla_clock")
            found = await uow.execute(
                select(clocks).where(clocks.c.record_id == row["id"], clocks.c.measure == "deadline")
            )
            return found.mappings().one()

    async def run_of(self, code: str) -> UUID:
        """Create the run of a workflow that is published already."""
        async with self.runtime.uow(SYSTEM) as uow:
            self.run_id = await create_run(uow, workflow=code, business_date=DAY)
        return self.run_id

    async def ensure_policy(self) -> None:
        async with self.runtime.uow(SYSTEM) as uow:
            await ensure_shipped_policies(uow)

    async def cancel_run(self) -> None:
        version = (await self.the_run())["row_version"]
        async with self.runtime.uow(self.people["operations"]) as uow:
            assert self.run_id is not None
            await cancel_run(uow, run_id=self.run_id, expected_version=version, reason="The bank is closed")

    async def rows(self, sql: str, **values: Any) -> Sequence[RowMapping]:
        async with self.runtime.uow(SYSTEM) as uow:
            return (await uow.execute(text(sql), values)).mappings().all()

    async def passed(self, code: str | None = None) -> list[tuple[str, int, bool]]:
        """The thresholds recorded so far, as (threshold, generation, announced)."""
        process_id: UUID | None = (await self.row(code))["id"] if code else None
        found = await self.rows(
            "SELECT e.threshold, e.generation, e.notified FROM sla_event e JOIN sla_clock c ON c.id = e.clock_id"
            " WHERE CAST(:id AS uuid) IS NULL OR c.record_id = :id ORDER BY e.generation, e.at, e.threshold DESC",
            id=process_id,
        )
        return [(row["threshold"], row["generation"], row["notified"]) for row in found]


@asynccontextmanager
async def statements(runtime: Runtime) -> AsyncIterator[list[str]]:
    """Collect the SQL statements sent while the block runs; BEGIN and COMMIT are not among them."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = runtime.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
