"""A bank whose people ask each other about the processes of a run."""

from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text

from app.bootstrap import Runtime
from app.domain.entities.record_states import SERVICE as RECORD_STATES
from app.domain.lifecycles.compiled import SERVICE as LIFECYCLES
from app.domain.rules.evaluation import RULES
from app.domain.support.query_asking import AskedQuery, NewQuery, ask_query
from app.domain.support.query_reading import Thread, thread_of
from app.domain.support.query_rules import Asked
from app.domain.support.query_thread import Said, say
from tests.service.workflow.bank import Bank

SERVICES = (RECORD_STATES, LIFECYCLES, RULES, "mail", "file_store")


class Desk(Bank):
    """`await desk.ask("preparer", "a", of="controller")`: a query about process a of the run."""

    async def build(self) -> "Desk":
        services = dict(self.runtime.services)
        await super().build()
        self.runtime.services = {name: services[name] for name in SERVICES}
        return self

    def asked(self, of: str) -> Asked:
        """A person of the bank by name, or `role:<code>`."""
        kind, _, what = of.rpartition(":")
        return Asked(role=what) if kind == "role" else Asked(user_id=self.people[of].id)

    async def ask(
        self,
        who: str,
        code: str,
        *,
        of: str = "controller",
        subject: str = "Late trades",
        said: str = "Why?",
        **new: Any,
    ) -> AskedQuery:
        record = ("process_run", (await self.row(code))["id"])
        async with self.runtime.uow(self.people[who]) as uow:
            return await ask_query(uow, record=record, new=NewQuery(subject, said, self.asked(of), **new))

    async def say(self, who: str, query_id: UUID, said: str = "", step: str | None = None) -> Said:
        async with self.runtime.uow(self.people[who]) as uow:
            return await say(uow, query_id=query_id, said=said, step=step)

    async def thread(self, who: str, query_id: UUID) -> Thread:
        async with self.runtime.uow(self.people[who]) as uow:
            return await thread_of(uow, query_id=query_id)

    async def query(self, query_id: UUID) -> RowMapping:
        async with self.runtime.uow(self.people["auditor"]) as uow:
            table = uow.table("process_query")
            return (await uow.execute(select(table).where(table.c.id == query_id))).mappings().one()

    async def told(self, who: str) -> list[str]:
        """The titles of the person's notifications of queries, the oldest first."""
        async with self.runtime.uow(self.people["auditor"]) as uow:
            found = text(
                "SELECT title FROM notification WHERE user_id = :id AND record_entity = 'process_query' ORDER BY at, id"
            )
            return [row.title for row in await uow.execute(found, {"id": self.people[who].id})]


async def open_desk(runtime: Runtime) -> Desk:
    return await Desk(runtime).build()
