"""A published version never changes, whichever way a change comes; drafts begin, go, and travel as files."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import Conflict, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.service import delete_record
from app.domain.workflow import editing
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definition_store import discard_draft
from app.domain.workflow.drafts import begin_draft, export_definition, import_draft
from app.domain.workflow.publishing import publish
from models.base import uuid7
from models.registry import Registry
from models.system.ddl import parts_of_versions
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import Bank
from tests.service.workflow.designer import Designer


async def test_no_part_of_a_published_version_is_added_changed_or_removed(designer: Designer) -> None:
    stage, process = await designer.row("stage", "s1"), await designer.row("process", "a")
    edge = await designer.edge("a", "c")
    await designer.do(lambda uow: publish(uow, version_id=designer.version_id))
    attempts: list[Callable[[UnitOfWork], Awaitable[Any]]] = [
        lambda uow: editing.add_stage(uow, version_id=designer.version_id, values={"label": "X"}),
        lambda uow: editing.change_stage(uow, stage_id=stage["id"], values={"label": "X"}, expected_version=1),
        lambda uow: editing.move_stage(uow, stage_id=stage["id"], parent_id=None, expected_version=1),
        lambda uow: editing.remove_stage(uow, stage_id=stage["id"], expected_version=1),
        lambda uow: editing.change_process(uow, process_id=process["id"], values={"label": "X"}, expected_version=1),
        lambda uow: editing.duplicate_process(uow, process_id=process["id"], expected_version=1),
        lambda uow: editing.remove_process(uow, process_id=process["id"], expected_version=1),
        lambda uow: editing.remove_dependency(uow, dependency_id=edge, expected_version=1),
        lambda uow: delete_record(uow, "process", process["id"], expected_version=process["row_version"]),
        lambda uow: delete_record(uow, "stage", stage["id"], expected_version=stage["row_version"]),
        lambda uow: delete_record(uow, "process_dependency", edge, expected_version=1),
    ]
    for attempt in attempts:
        with pytest.raises(Conflict, match="Version 2 is published and never changes"):
            await designer.do(attempt)
    assert await designer.outline() == ["s1", "-a", "-b", "-c"]


async def test_the_database_itself_holds_a_published_version_fast(designer: Designer, registry: Registry) -> None:
    await designer.do(lambda uow: publish(uow, version_id=designer.version_id))
    owners = parts_of_versions(registry)
    assert set(owners) >= {"stage", "process", "process_dependency", "process_approval_level", "process_evidence"}
    for table in owners:
        for statement in (f"UPDATE {table} SET row_version = row_version + 1", f"DELETE FROM {table}"):
            if table in ("process_evidence", "process_checklist_item") or not await designer.bank.count(
                f"SELECT count(*) FROM {table}"
            ):
                continue
            with pytest.raises(Conflict, match="never changes"):
                await designer.do(lambda uow, s=statement: uow.execute(text(s)))  # type: ignore[misc]
    process = await designer.row("process", "a")
    for table in ("process_evidence", "process_checklist_item"):
        with pytest.raises(Conflict, match="Version 2 is published"):
            async with designer.bank.runtime.uow(SYSTEM) as uow:
                await add_row(uow, table, parent_id=process["id"], position=0, code="x", label="X", mandatory=True)
    for statement in (
        "UPDATE workflow_version SET state = 'draft'",
        "UPDATE workflow_version SET number = number + 10",
        "DELETE FROM workflow_version",
    ):
        with pytest.raises(Conflict, match="never"):
            await designer.do(lambda uow, s=statement: uow.execute(text(s)))  # type: ignore[misc]


async def test_every_table_of_a_version_is_guarded(designer: Designer, registry: Registry) -> None:
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        rows = await uow.execute(
            text(
                "SELECT c.relname, count(*) AS n FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                "JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname = 'refuse_change_of_fixed_version' GROUP BY 1"
            )
        )
        guarded = {row.relname: row.n for row in rows}
    assert guarded == dict.fromkeys(parts_of_versions(registry), 3)


async def test_a_change_that_waits_for_a_publication_does_not_slip_in_behind_it(designer: Designer) -> None:
    row = await designer.row("process", "a")
    changed = asyncio.Event()

    async def change() -> None:
        async with designer.bank.runtime.uow(SYSTEM) as uow:
            changed.set()
            await uow.execute(text("UPDATE process SET label = 'Late' WHERE id = :id"), {"id": row["id"]})

    async with designer.bank.runtime.uow(designer.bank.people["admin"]) as uow:
        await publish(uow, version_id=designer.version_id)
        task = asyncio.create_task(change())
        await changed.wait()
        await asyncio.sleep(0.2)
        assert not task.done()
    with pytest.raises((Conflict, DBAPIError), match="never changes"):
        await task
    assert (await designer.row("process", "a"))["label"] == "A"


async def test_a_draft_is_discarded_with_everything_in_it(designer: Designer) -> None:
    await designer.stage("Inner", below="s1")
    await designer.do(lambda uow: discard_draft(uow, version_id=designer.version_id))
    values = {"id": designer.version_id}
    for table in ("stage", "process", "process_dependency"):
        assert await designer.bank.count(f"SELECT count(*) FROM {table} WHERE version_id = :id", **values) == 0


# -- beginning, files --------------------------------------------------------------------------------------------------


async def test_a_workflow_without_versions_begins_with_an_empty_draft(bank: Bank) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        calendars = uow.table("calendar")
        calendar = await uow.scalar(select(calendars.c.id))
        values = {"application_id": bank.applications["PNL"], "calendar_id": calendar, "active": True}
        await add_row(uow, "workflow", code="NEW", label="New", **values)
    designer = Designer(bank, uuid7())
    designer.version_id = await designer.do(lambda uow: begin_draft(uow, workflow_code="NEW"))
    assert await designer.outline() == []
    with pytest.raises(Conflict, match="New has a draft already"):
        await designer.do(lambda uow: begin_draft(uow, workflow_code="NEW"))
    with pytest.raises(NotFound, match="no workflow GHOST"):
        await designer.do(lambda uow: begin_draft(uow, workflow_code="GHOST"))
    await designer.stage("One")
    await designer.process("Work", "one")
    assert await designer.outline() == ["one", "-work"]


async def test_a_version_goes_out_as_a_file_and_comes_back_the_same(designer: Designer) -> None:
    content = await designer.do(lambda uow: export_definition(uow, version_id=designer.version_id), "auditor")
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        before = await read_definition(uow, designer.version_id)
    with pytest.raises(Conflict, match="has a draft already"):
        await designer.do(lambda uow: import_draft(uow, content=content))
    with pytest.raises(ValidationFailed, match="The file defines W, not OTHER"):
        await designer.do(lambda uow: import_draft(uow, content=content, workflow_code="OTHER"))
    again = await designer.do(lambda uow: import_draft(uow, content=content, workflow_code="W", replace_draft=True))
    assert again == designer.version_id
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        assert await read_definition(uow, again) == before
