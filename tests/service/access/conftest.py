"""A small bank with trades, runs, jobs and files in several places, some in another application."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.bootstrap import Runtime
from app.core.actor import Actor, Grant
from app.core.uow import UnitOfWork
from app.domain.access.scope import scope
from models.base import uuid7
from tests.factories import SYSTEM, World
from tests.factories import add_row as add_plain_row

DAY = date(2026, 3, 2)
BOOKS = ("G10-1", "G10-2", "EM-1", "EM-2")


async def add_row(uow: UnitOfWork, entity: str, /, **columns: Any) -> UUID:
    """One row; required fields that are not given have the default of their definition."""
    fields = uow.registry.entity(entity).fields
    defaults = {f.column: f.default for f in fields if f.required and f.default is not None}
    return await add_plain_row(uow, entity, **{**defaults, **columns})


class Bank(World):
    """`ids` names every record: `trade G10-1`, `process FX`, `job none`, ..."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.ids: dict[str, UUID] = {}

    def names(self, ids: list[UUID]) -> list[str]:
        known = {id_: name for name, id_ in self.ids.items()}
        return sorted(known[id_].split(" ", 1)[1] for id_ in ids)

    async def visible(self, actor: Actor, entity: str, action: str = "read") -> list[str]:
        async with self.runtime.uow(actor) as uow:
            statement = scope(select(uow.table(entity).c.id), uow, action, entity)
            return self.names(list((await uow.execute(statement)).scalars()))

    def holding(self, *grants: Grant) -> Actor:
        return Actor(uuid7(), "Tester", grants=grants)


async def _trades(bank: Bank, uow: UnitOfWork) -> None:
    for book in BOOKS:
        bank.ids[f"trade {book}"] = await add_row(
            uow, "trade", reference=f"T-{book}", book_id=bank.nodes[book], trade_date=DAY, currency="USD",
            quantity=Decimal(100), rate=Decimal("1.1"),
        )  # fmt: skip
    load = await add_row(
        uow, "rate_load", reference="L1", source="ECB", business_date=DAY, version=1, content_hash="h", file_name="f",
        row_count=1,
    )  # fmt: skip
    bank.ids["rate USD"] = await add_row(
        uow, "market_rate", business_date=DAY, currency="USD", source="ECB", value=Decimal("1.1"), quality="ok",
        version=1, current=True, load_id=load,
    )  # fmt: skip


async def _runs(bank: Bank, uow: UnitOfWork) -> None:
    calendar = await add_row(uow, "calendar", code="TARGET", label="TARGET", zone="Europe/Berlin")
    bank.ids["calendar TARGET"] = calendar
    version = await add_row(
        uow, "calendar_version", calendar_id=calendar, number=1, state="published", weekly_windows={}
    )
    bank.ids["version 1"] = version
    bank.ids["day christmas"] = await add_row(
        uow, "calendar_day", parent_id=version, position=0, day=date(2026, 12, 25), label="Christmas", kind="holiday"
    )
    for application in ("PNL", "TREASURY"):
        await _run(bank, uow, application, calendar)
    bank.ids["job none"] = await _job(uow, None)


async def _run(bank: Bank, uow: UnitOfWork, application: str, calendar: UUID) -> None:
    app = bank.applications[application]
    workflow = await add_row(
        uow, "workflow", code=application, label=application, application_id=app, calendar_id=calendar, active=True
    )
    version = await add_row(uow, "workflow_version", workflow_id=workflow, number=1, state="draft")
    stage = await add_row(uow, "stage", version_id=version, code="s", label="S", rank=0, path=workflow.hex)
    common = {"application_id": app, "node_id": bank.nodes["FX"]}
    run = await add_row(
        uow, "workflow_run", reference=f"R-{application}", label=application, workflow_id=workflow, version_id=version,
        business_date=DAY, variant="", state="active", process_count=3, open_count=3, started_at=uow.now, **common,
    )  # fmt: skip
    bank.ids[f"run {application}"] = run
    stage_run = await add_row(uow, "stage_run", run_id=run, stage_id=stage, code="s", label="S", depth=0, rank=0)
    for place in ("FX", "G10", "EM"):
        process = await add_row(
            uow, "process", version_id=version, stage_id=stage, code=place, label=place, rank=0, kind="manual",
            owner_role="preparer", critical=False, require_comment=False, skip_allowed=False,
        )  # fmt: skip
        process_run = await add_row(
            uow, "process_run", run_id=run, stage_run_id=stage_run, process_id=process, code=place, label=place,
            kind="manual", state="ready", node_id=bank.nodes[place], application_id=app, critical=False, rank=0,
            waiting_on=0, round=1, attempt=0, level=0, levels=0,
        )  # fmt: skip
        name = place if application == "PNL" else f"{application} {place}"
        bank.ids[f"process {name}"] = process_run
        bank.ids[f"job {name}"] = await _job(uow, process_run)
        bank.ids[f"attempt {name}"] = await add_row(
            uow, "job_attempt", job_run_id=bank.ids[f"job {name}"], number=1, state="succeeded", started_at=uow.now
        )


async def _job(uow: UnitOfWork, process_run_id: UUID | None) -> UUID:
    return await add_row(
        uow, "job_run", function="f", state="queued", process_run_id=process_run_id, attempt=0, max_attempts=3,
        backoff_seconds=10,
    )  # fmt: skip


@pytest.fixture
async def bank(runtime: Runtime) -> Bank:
    bank = Bank(runtime)
    await bank.build()
    async with runtime.uow(SYSTEM) as uow:
        bank.applications["TREASURY"] = await add_row(
            uow, "application", code="TREASURY", label="Treasury", active=True
        )
        for role in runtime.policy.roles:
            await add_row(uow, "role", code=role.code, label=role.label, description=role.description)
        await _trades(bank, uow)
        await _runs(bank, uow)
    return bank
