"""People with grants in the database, a calendar, and workflows made in one line."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text

from app.bootstrap import Runtime
from app.core.actor import Actor, Grant
from app.domain.workflow.definition_store import save_draft
from app.domain.workflow.package_loader import read_workflow
from app.domain.workflow.publishing import publish
from app.domain.workflow.runs import create_run
from app.domain.workflow.transitions import TransitionResult, transition
from tests.factories import SYSTEM, World, add_row

DAY = date(2026, 10, 30)
ROLES = ("admin", "preparer", "controller", "desk_head", "operations", "auditor")
DUE = "BD+0 18:00 Europe/Berlin"

Edge = tuple[str, ...] | Mapping[str, Any]
Change = tuple[str, str, Mapping[str, Any]]


class Bank(World):
    """`people` by name. Processes of a run are found by code: `await bank.do("approve", "check", "controller")`."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.roles: dict[str, UUID] = {}
        self.people: dict[str, Actor] = {}
        self.run_id: UUID | None = None

    async def build(self) -> "Bank":
        # The engine by itself: no other feature's guards, and any action may be named.
        self.runtime.services = {}
        await super().build()
        async with self.runtime.uow(SYSTEM) as uow:
            for code in ROLES:
                self.roles[code] = await add_row(uow, "role", code=code, label=code.title())
            calendar = await add_row(uow, "calendar", code="TARGET", label="TARGET", zone="Europe/Berlin")
            windows = {str(weekday): [["09:00", "18:00"]] for weekday in range(5)}
            await add_row(
                uow,
                "calendar_version",
                calendar_id=calendar,
                number=1,
                state="published",
                weekly_windows=windows,
            )
        for role in ROLES:
            await self.person(role, role)
        await self.person("preparer2", "preparer")
        await self.person("controller2", "controller")
        return self

    async def person(self, name: str, *roles: str, node: str | None = None) -> Actor:
        """A stored user with stored grants, as an actor."""
        id_ = await self.user(f"{name}@bank.example", name=name)
        grants: list[Grant] = []
        async with self.runtime.uow(SYSTEM) as uow:
            for role in roles:
                grant = replace(self.grant(role, node), id=await self._granted(uow, id_, role, node))
                grants.append(grant)
        self.people[name] = Actor(id_, name, grants=tuple(grants))
        return self.people[name]

    async def _granted(self, uow: Any, user_id: UUID, role: str, node: str | None) -> UUID:
        return await add_row(
            uow,
            "role_grant",
            user_id=user_id,
            role_id=self.roles[role],
            application_id=self.applications["PNL"],
            node_id=self.nodes[node] if node else None,
            valid_from=uow.now,
        )

    async def publish(
        self, processes: Iterable[Mapping[str, Any]], edges: Iterable[Edge] = (), code: str = "W"
    ) -> UUID:
        """Publish a workflow of one stage. An edge is (from, to), (from, to, accepted states...) or a dependency."""
        data = {
            "code": code,
            "label": "Close",
            "application": "PNL",
            "calendar": "TARGET",
            "node_hierarchy": "DESK",
            "node": "FX",
            "stages": [{"code": "s1", "label": "Stage", "processes": [_process(p) for p in processes]}],
            "dependencies": [_edge(edge) for edge in edges],
        }
        async with self.runtime.uow(SYSTEM) as uow:
            version_id = await save_draft(uow, definition=read_workflow(data))
            await publish(uow, version_id=version_id)
        return version_id

    async def run(self, processes: Iterable[Mapping[str, Any]], edges: Iterable[Edge] = (), code: str = "W") -> UUID:
        """Publish and create the run of `DAY`, which the other methods are about."""
        await self.publish(processes, edges, code)
        async with self.runtime.uow(SYSTEM) as uow:
            self.run_id = await create_run(uow, workflow=code, business_date=DAY)
        return self.run_id

    async def row(self, code: str) -> RowMapping:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("process_run")
            statement = select(table).where(table.c.run_id == self.run_id, table.c.code == code)
            return (await uow.execute(statement)).mappings().one()

    async def state(self, code: str) -> str:
        return str((await self.row(code))["state"])

    async def states(self) -> dict[str, str]:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("process_run")
            rows = await uow.execute(select(table.c.code, table.c.state).where(table.c.run_id == self.run_id))
            return {row.code: row.state for row in rows}

    async def the_run(self) -> RowMapping:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("workflow_run")
            return (await uow.execute(select(table).where(table.c.id == self.run_id))).mappings().one()

    async def do(
        self, name: str, code: str, who: str | Actor, *, version: int | None = None, **values: Any
    ) -> TransitionResult:
        """Do a transition as a person, on the version there is now unless another is given."""
        row = await self.row(code)
        actor = self.people[who] if isinstance(who, str) else who
        async with self.runtime.uow(actor) as uow:
            return await transition(
                uow,
                process_run_id=row["id"],
                name=name,
                expected_version=row["row_version"] if version is None else version,
                **values,
            )

    async def count(self, sql: str, **values: Any) -> int:
        async with self.runtime.uow(SYSTEM) as uow:
            return int(await uow.scalar(text(sql), values))


def manual(code: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "kind": "manual", "owner_role": "preparer", **values}


def approval(code: str, *roles: str, **values: Any) -> dict[str, Any]:
    levels = [{"level": number, "role": role} for number, role in enumerate(roles or ("controller",), start=1)]
    return {"code": code, "kind": "approval", "owner_role": "preparer", "approval_levels": levels, **values}


def automatic(code: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "kind": "automatic", "owner_role": "operations", "action": f"test.{code}", **values}


def reviewed(code: str, *roles: str, **values: Any) -> dict[str, Any]:
    """Manual work that is submitted and then approved."""
    return {**approval(code, *roles, **values), "kind": "manual"}


def _edge(edge: Edge) -> dict[str, Any]:
    if isinstance(edge, Mapping):
        return dict(edge)
    return {"from": edge[0], "to": edge[1], "accepts": list(edge[2:]) or ["done", "skipped"]}


def _process(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": str(given["code"]).replace("_", " ").title(), "deadline": DUE, **given}
