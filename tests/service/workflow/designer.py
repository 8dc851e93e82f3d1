"""An administrator who changes the draft of the bank's workflow."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select

from app.core.uow import UnitOfWork
from app.domain.workflow import editing
from app.domain.workflow.definition_reading import read_definition
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank

WORK = {"kind": "manual", "owner_role": "preparer", "deadline": "BD+0 18:00 Europe/Berlin"}


class Designer:
    """An administrator at the draft of the bank's workflow; things are named by their codes."""

    def __init__(self, bank: Bank, version_id: UUID) -> None:
        self.bank, self.version_id = bank, version_id

    async def do(self, work: Callable[[UnitOfWork], Awaitable[Any]], who: str = "admin") -> Any:
        async with self.bank.runtime.uow(self.bank.people[who]) as uow:
            return await work(uow)

    async def row(self, entity: str, code: str) -> RowMapping:
        async with self.bank.runtime.uow(SYSTEM) as uow:
            table = uow.table(entity)
            statement = select(table).where(table.c.version_id == self.version_id, table.c.code == code)
            return (await uow.execute(statement)).mappings().one()

    async def stage(self, label: str, below: str | None = None, position: int | None = None) -> UUID:
        parent = None if below is None else (await self.row("stage", below))["id"]
        id_: UUID = await self.do(
            lambda uow: editing.add_stage(
                uow, version_id=self.version_id, values={"label": label}, parent_id=parent, position=position
            )
        )
        return id_

    async def process(self, label: str, stage: str, position: int | None = None, **values: Any) -> UUID:
        stage_id = (await self.row("stage", stage))["id"]
        given = {"label": label, **WORK, **values}
        id_: UUID = await self.do(
            lambda uow: editing.add_process(
                uow, version_id=self.version_id, stage_id=stage_id, values=given, position=position
            )
        )
        return id_

    async def edge(self, before: str, after: str, **values: Any) -> UUID:
        ends = {"predecessor": before, "successor": after}
        given = {name: str((await self.row("process", code))["id"]) for name, code in ends.items()}
        id_: UUID = await self.do(
            lambda uow: editing.add_dependency(uow, version_id=self.version_id, values={**given, **values})
        )
        return id_

    async def outline(self) -> list[str]:
        """Codes from top to bottom with their depth, as they are read back: `s1`, ` a`."""
        async with self.bank.runtime.uow(SYSTEM) as uow:
            definition = await read_definition(uow, self.version_id)
        return [
            line
            for stage, above in definition.walk()
            for line in (" " * len(above) + stage.code, *(" " * len(above) + f"-{p.code}" for p in stage.processes))
        ]

    async def ranks(self) -> tuple[list[int], list[int]]:
        async with self.bank.runtime.uow(SYSTEM) as uow:
            found = []
            for entity in ("stage", "process"):
                table = uow.table(entity)
                rows = await uow.execute(select(table.c.rank).where(table.c.version_id == self.version_id))
                found.append(sorted(rows.scalars()))
        return found[0], found[1]
