"""Processes and trades of several places that files are attached to."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.bootstrap import Runtime
from app.core.actor import Actor
from app.domain.documents.files import Record, StoredFile, attach_file
from models.loader import load_definitions
from models.registry import Registry
from tests.factories import SYSTEM, World, add_row

PDF = b"%PDF-1.7\n% the rest does not matter here\n"
DAY = date(2026, 3, 2)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The product's metadata, with files on trades."""
    definitions = load_definitions()
    return Registry(d.model_copy(update={"attachments": True}) if d.name == "trade" else d for d in definitions)


class Papers(World):
    """A process run at FX, G10 and EM, one trade at FX and one at EM-1."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.records: dict[str, Record] = {}

    async def build(self) -> "Papers":
        await super().build()
        app = self.applications["PNL"]
        async with self.runtime.uow(SYSTEM) as uow:
            calendar = await add_row(uow, "calendar", code="TARGET", label="TARGET", zone="Europe/Berlin")
            workflow = await add_row(
                uow, "workflow", code="CLOSE", label="Close", application_id=app, calendar_id=calendar, active=True
            )
            version = await add_row(uow, "workflow_version", workflow_id=workflow, number=1, state="draft")
            stage = await add_row(uow, "stage", version_id=version, code="s", label="S", rank=0, path=workflow.hex)
            run = await add_row(
                uow, "workflow_run", reference="R-1", label="Close", workflow_id=workflow, version_id=version,
                application_id=app, node_id=self.nodes["FX"], business_date=DAY, variant="", state="active",
                process_count=3, open_count=3, started_at=uow.now,
            )  # fmt: skip
            stage_run = await add_row(
                uow, "stage_run", run_id=run, stage_id=stage, code="s", label="S", depth=0, rank=0
            )
            for place in ("FX", "G10", "EM"):
                process = await add_row(
                    uow, "process", version_id=version, stage_id=stage, code=place, label=place, rank=0, kind="manual",
                    owner_role="preparer", critical=False, require_comment=False, skip_allowed=False,
                )  # fmt: skip
                await add_row(
                    uow, "process_evidence", parent_id=process, position=0, code="statement", label="Statement",
                    mandatory=True, file_types="pdf, xlsx",
                )  # fmt: skip
                id_ = await add_row(
                    uow, "process_run", run_id=run, stage_run_id=stage_run, process_id=process, code=place,
                    label=f"Explain {place}", kind="manual", state="in_progress", node_id=self.nodes[place],
                    application_id=app, critical=False, rank=0, waiting_on=0, round=1, attempt=0, level=0, levels=0,
                )  # fmt: skip
                self.records[place] = ("process_run", id_)
            for book in ("FX", "EM-1"):
                id_ = await add_row(
                    uow, "trade", reference=f"T-{book}", book_id=self.nodes[book], trade_date=DAY, currency="USD",
                    product="spot", quantity=Decimal(100), rate=Decimal("1.1"), late=False,
                )  # fmt: skip
                self.records[f"trade {book}"] = ("trade", id_)
        return self

    async def attach(
        self, place: str, name: str = "statement.pdf", content: Any = PDF, *, actor: Actor = SYSTEM, **more: Any
    ) -> StoredFile:
        more.setdefault("purpose", "statement")
        async with self.runtime.uow(actor) as uow:
            return await attach_file(uow, record=self.records[place], name=name, content=content, **more)

    async def set_process(self, place: str, **columns: Any) -> None:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("process_run")
            await uow.execute(update(table).where(table.c.id == self.id(place)).values(**columns))

    def id(self, place: str) -> UUID:
        return self.records[place][1]

    def stored(self) -> list[Path]:
        """Every file in the folder of the store."""
        return [path for path in (self.runtime.settings.data_dir / "files").rglob("*") if path.is_file()]


@pytest.fixture
async def papers(runtime: Runtime) -> Papers:
    return await Papers(runtime).build()
