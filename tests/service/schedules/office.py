"""A bank with one workflow and TARGET's holidays, whose schedules are entered and run under a given clock."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text

from app.domain.calendars.holiday_import import holidays_for
from app.domain.entities.service import create_record, update_record
from app.domain.schedules.service import create_due_runs
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import Bank, manual

YEARS = range(2024, 2031)


def at(words: str) -> datetime:
    """`2026-10-30 06:00` as UTC."""
    return datetime.fromisoformat(words + "+00:00")


class Office(Bank):
    """`start` is the clock's time until `clock` is moved."""

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.clock = at("2026-03-30 04:00")
        self.workflow_id: UUID

    async def build(self) -> "Office":
        await super().build()
        await self.publish([manual("a")])
        async with self.runtime.uow(SYSTEM) as uow:
            self.workflow_id = await uow.scalar(text("SELECT id FROM workflow WHERE code = 'W'"))
            version = await uow.scalar(text("SELECT id FROM calendar_version"))
            await uow.execute(text("UPDATE calendar_version SET published_at = '2020-01-01'"))
            for position, (day, label) in enumerate(holidays_for("TARGET", YEARS)):
                await add_row(
                    uow, "calendar_day", parent_id=version, position=position, day=day, label=label, kind="holiday"
                )
        return self

    async def schedule(self, **values: Any) -> dict[str, Any]:
        """Enter a schedule: daily at 07:00 in Berlin unless said otherwise."""
        given = {
            "code": "S", "label": "Daily", "workflow": str(self.workflow_id), "period": "daily", "at": "07:00",
            "zone": "Europe/Berlin", "valid_from": None, **values,
        }  # fmt: skip
        async with self.runtime.uow(SYSTEM, now=self.clock) as uow:
            return await create_record(uow, "schedule", given)

    async def change(self, schedule: dict[str, Any], **values: Any) -> dict[str, Any]:
        async with self.runtime.uow(SYSTEM, now=self.clock) as uow:
            return await update_record(
                uow, "schedule", schedule["id"], values, expected_version=schedule["row_version"]
            )

    async def work(self, now: str | datetime | None = None) -> int:
        """A pass of the worker."""
        if now is not None:
            self.clock = at(now) if isinstance(now, str) else now
        return await create_due_runs(self.runtime, now=self.clock)

    async def work_until(self, end: str, step: timedelta = timedelta(hours=1)) -> None:
        while self.clock < at(end):
            self.clock = min(self.clock + step, at(end))
            await self.work()

    async def rows(self) -> list[RowMapping]:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("schedule_occurrence")
            return list((await uow.execute(select(table).order_by(table.c.due_at, table.c.business_date))).mappings())

    async def outcomes(self) -> list[tuple[str, str, str | None]]:
        """(business date, state, cause) of each occurrence."""
        return [(f"{row['business_date']:%m-%d}", row["state"], row["cause"]) for row in await self.rows()]

    async def dates(self) -> list[date]:
        """The business dates that have a run."""
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("workflow_run")
            return list((await uow.execute(select(table.c.business_date).order_by(table.c.business_date))).scalars())

    async def stored(self, code: str = "S") -> RowMapping:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("schedule")
            return (await uow.execute(select(table).where(table.c.code == code))).mappings().one()
