"""A bank with a run of three processes, people who raise issues about it, and their lifecycle as it ships."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text

from app.bootstrap import Runtime
from app.domain.entities.service import update_record
from app.domain.lifecycles.transitions import StepOutcome, transition_record
from app.domain.support.issue_links import ISSUE, link_records, unlink_record
from app.domain.support.issues import raise_issue
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, manual

SOLVED = {"root_cause": "system", "resolution_code": "fixed", "resolution": "The feed was started again."}


class Desk(Bank):
    """`await desk.issue("No rates", "a")` raises one about process a; `await desk.step(issue, "resolve")` goes on."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.codes = ("a", "b", "c")

    async def build(self) -> "Desk":
        services = self.runtime.services
        await super().build()
        self.runtime.services = services
        await self.person("g10", "preparer", node="G10")
        await self.person("em", "preparer", node="EM")
        await self.run([manual(code) for code in self.codes])
        return self

    async def issue(self, title: str = "No rates", *codes: str, by: str = "operations", **values: Any) -> UUID:
        records = [("process_run", (await self.row(code))["id"]) for code in codes]
        given = {"title": title, **values}
        if not records:
            given.setdefault("application", str(self.applications["PNL"]))
        async with self.runtime.uow(self.people[by]) as uow:
            return await raise_issue(uow, values=given, records=records)

    async def read(self, issue_id: UUID) -> RowMapping:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table(ISSUE)
            return (await uow.execute(select(table).where(table.c.id == issue_id))).mappings().one()

    async def step(
        self, issue_id: UUID, name: str, by: str = "operations", *, values: Mapping[str, Any] | None = None
    ) -> StepOutcome:
        """Take a step with everything it asks for."""
        needed: dict[str, Any] = {"resolve": SOLVED, "start": {"assignee": str(self.people["operations"].id)}}
        async with self.runtime.uow(self.people[by]) as uow:
            return await transition_record(
                uow,
                entity=ISSUE,
                record_id=issue_id,
                name=name,
                expected_version=None,
                comment="Because.",
                values=values if values is not None else needed.get(name),
            )

    async def solve(self, issue_id: UUID) -> None:
        await self.step(issue_id, "start")
        await self.step(issue_id, "resolve")

    async def change(self, issue_id: UUID, by: str = "operations", **values: Any) -> None:
        async with self.runtime.uow(self.people[by]) as uow:
            table = uow.table(ISSUE)
            version = await uow.scalar(select(table.c.row_version).where(table.c.id == issue_id))
            await update_record(uow, ISSUE, issue_id, values, expected_version=version)

    async def link(self, issue_id: UUID, code: str, by: str = "operations") -> None:
        record = ("process_run", (await self.row(code))["id"])
        async with self.runtime.uow(self.people[by]) as uow:
            await link_records(uow, issue_id=issue_id, records=[record])

    async def unlink(self, issue_id: UUID, code: str) -> None:
        process_id = (await self.row(code))["id"]
        async with self.runtime.uow(self.people["operations"]) as uow:
            table = uow.table("issue_link")
            of = select(table.c.id).where(table.c.issue_id == issue_id, table.c.record_id == process_id)
            await unlink_record(uow, issue_id=issue_id, link_id=(await uow.execute(of)).scalars().one())

    async def hold(self, code: str) -> None:
        data = {"review_by": self.runtime.clock.now().replace(year=2099)}
        await self.do("hold", code, "operations", reason="A person says so.", data=data)

    async def notices(self, name: str) -> list[str]:
        """The titles of what a person was told about issues, oldest first."""
        async with self.runtime.uow(SYSTEM) as uow:
            statement = text(
                "SELECT title FROM notification WHERE user_id = :id AND record_entity = 'issue' ORDER BY at, id"
            )
            return list((await uow.execute(statement, {"id": self.people[name].id})).scalars())
