"""A merged node ends; what was below it and what referred to it goes on below the other one."""

from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from app.core.errors import Conflict, ValidationFailed
from app.domain.hierarchy.due import apply_due_changes
from app.domain.hierarchy.merging import merge_nodes
from app.domain.hierarchy.service import move_node
from models.system.tables import audit_entry
from tests.factories import World, add_row
from tests.service.hierarchy.trees import TODAY, Desks

LATER = date(2026, 6, 1)


async def merge(desks: Desks, source: str, target: str, *, effective: date | None = None) -> None:
    async with desks.on() as uow:
        await merge_nodes(
            uow, source_id=desks.ids[source], target_id=desks.ids[target], effective=effective, reason="One desk",
            expected_version=(await desks.row(source)).row_version,
        )  # fmt: skip


async def book_of(desks: Desks, reference: str) -> str:
    async with desks.on() as uow:
        trades, nodes = uow.table("trade"), uow.table("hierarchy_node")
        statement = select(nodes.c.code).join(trades, trades.c.book_id == nodes.c.id)
        return str(await uow.scalar(statement.where(trades.c.reference == reference)))


async def test_a_merge_moves_what_is_below_and_points_to_the_other_node(desks: Desks) -> None:
    await merge(desks, "EM", "G10")
    assert await desks.lines(TODAY) == ["FX", "FX/G10", "FX/G10/EM-1", "FX/G10/G10-1", "FX/G10/G10-2"]
    assert "FX/EM/EM-1" in await desks.lines(TODAY - timedelta(days=1))
    merged = await desks.row("EM")
    assert (merged.merged_into_id, merged.valid_to) == (desks.ids["G10"], TODAY)
    assert await desks.paths_are_right()
    assert await desks.overlaps() == 0


async def test_trades_from_the_date_on_follow_and_earlier_ones_stay(desks: Desks) -> None:
    await desks.trade("G10-1", "T-BEFORE", TODAY - timedelta(days=1))
    await desks.trade("G10-1", "T-AFTER", TODAY)
    await merge(desks, "G10-1", "G10-2")
    assert await book_of(desks, "T-BEFORE") == "G10-1"
    assert await book_of(desks, "T-AFTER") == "G10-2"
    async with desks.on() as uow:
        commands = select(audit_entry.c.command, audit_entry.c.after).where(audit_entry.c.entity == "trade")
        assert [tuple(row) for row in await uow.execute(commands)] == [("trade.follow_merge", {"book": "G10-2"})]


async def grants(desks: Desks, *given: tuple[str, str]) -> list[UUID]:
    """Roles of one person, each below a node. Returns the grants' ids."""
    user = await World(desks.runtime).user("a@bank.example")
    async with desks.on() as uow:
        application = await add_row(uow, "application", code="PNL", label="PnL", active=True)
        roles = {code: await add_row(uow, "role", code=code, label=code) for code in {role for role, _ in given}}
        return [
            await add_row(
                uow, "role_grant", user_id=user, role_id=roles[role], application_id=application,
                node_id=desks.ids[node], valid_from=uow.now,
            )
            for role, node in given
        ]  # fmt: skip


async def test_grants_follow_and_are_not_doubled(desks: Desks) -> None:
    ids = await grants(desks, ("preparer", "EM"), ("preparer", "G10"), ("operations", "EM"))
    await merge(desks, "EM", "G10")
    async with desks.on() as uow:
        table = uow.table("role_grant")
        held = {row.id: row.node_id for row in await uow.execute(select(table.c.id, table.c.node_id))}
    assert [held[id_] for id_ in ids] == [desks.ids["EM"], desks.ids["G10"], desks.ids["G10"]]


async def test_a_merge_does_not_bring_together_roles_that_one_person_must_not_have(desks: Desks) -> None:
    await grants(desks, ("preparer", "EM"), ("controller", "G10"))
    with pytest.raises(Conflict, match="who prepares work must not check it"):
        await merge(desks, "EM", "G10")
    assert (await desks.row("EM")).merged_into_id is None


async def test_a_merge_of_a_later_date_moves_everything_on_its_day(desks: Desks) -> None:
    await desks.trade("EM", "T-1", LATER)
    await merge(desks, "EM", "G10", effective=LATER)
    assert (await desks.row("EM")).merged_into_id is None
    assert await book_of(desks, "T-1") == "EM"
    assert "FX/G10/EM-1" in await desks.lines(LATER)
    async with desks.on(LATER) as uow:
        assert await apply_due_changes(uow) == 2
    assert (await desks.row("EM")).merged_into_id == desks.ids["G10"]
    assert (await desks.row("EM-1")).parent_id == desks.ids["G10"]
    assert await book_of(desks, "T-1") == "G10"
    assert await desks.paths_are_right()


async def test_a_node_that_was_to_come_below_the_merged_one_comes_below_the_other(desks: Desks) -> None:
    async with desks.on() as uow:
        await move_node(uow, node_id=desks.ids["G10-2"], parent_id=desks.ids["EM"], expected_version=1, effective=LATER)
    await merge(desks, "EM", "FX")
    assert "FX/G10/G10-2" in await desks.lines(TODAY)
    assert "FX/G10-2" in await desks.lines(LATER)
    assert await desks.overlaps() == 0


async def test_a_node_is_not_merged_into_itself_or_into_one_below_it(desks: Desks) -> None:
    with pytest.raises(ValidationFailed, match="a node cannot be merged into itself"):
        await merge(desks, "EM", "EM")
    with pytest.raises(Conflict, match="G10 cannot be merged into G10-1, which is below it"):
        await merge(desks, "G10", "G10-1")


async def test_open_work_on_a_node_keeps_it_from_being_merged(desks: Desks) -> None:
    async with desks.on() as uow:
        application = await add_row(uow, "application", code="PNL", label="PnL", active=True)
        calendar = await add_row(uow, "calendar", code="TARGET", label="TARGET", zone="Europe/Berlin")
        workflow = await add_row(
            uow, "workflow", code="CLOSE", label="Close", application_id=application, calendar_id=calendar, active=True
        )
        version = await add_row(uow, "workflow_version", workflow_id=workflow, number=1, state="published")
        await add_row(
            uow, "workflow_run", reference="RUN-1", label="Close", workflow_id=workflow, version_id=version,
            application_id=application, business_date=TODAY, node_id=desks.ids["EM"], variant="", state="active",
            process_count=0, open_count=0, started_at=uow.now,
        )  # fmt: skip
    with pytest.raises(Conflict, match=r"EM cannot be merged on 2026-03-02.*1 open run \(RUN-1\)"):
        await merge(desks, "EM", "G10")
    assert (await desks.row("EM")).merged_into_id is None
