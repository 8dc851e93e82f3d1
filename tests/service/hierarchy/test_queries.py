"""What a tree was and is, what differs between two dates, and who uses a node."""

from datetime import date

import pytest

from app.core.errors import Forbidden, NotFound
from app.domain.hierarchy.csv_export import export_csv
from app.domain.hierarchy.csv_import import plan_import, read_csv
from app.domain.hierarchy.merging import merge_nodes
from app.domain.hierarchy.queries import ancestors, compare, descendants, node_by_code, tree, where_used
from app.domain.hierarchy.service import add_node, move_node, rename_node, retire_node, set_attributes
from tests.factories import World
from tests.service.hierarchy.trees import TODAY, Desks

LATER = date(2026, 6, 1)


async def test_before_it_began_a_tree_is_empty(desks: Desks) -> None:
    assert await desks.lines(date(2024, 1, 1)) == []
    assert len(await desks.lines(date(2024, 1, 2))) == 6


async def test_two_dates_are_compared_node_by_node(desks: Desks) -> None:
    async with desks.on() as uow:
        await move_node(uow, node_id=desks.ids["G10-1"], parent_id=desks.ids["EM"], expected_version=1, effective=LATER)
        await rename_node(uow, node_id=desks.ids["G10-1"], label="Book 1", expected_version=2, effective=LATER)
        await set_attributes(
            uow, node_id=desks.ids["EM-1"], attributes={"currency": "MXN"}, expected_version=1, effective=LATER
        )
        await retire_node(uow, node_id=desks.ids["G10-2"], expected_version=1, effective=LATER, reason="Closed")
        await add_node(
            uow, hierarchy_code="DESK", code="VOL", label="Options", parent_id=desks.ids["FX"], effective=LATER
        )
    async with desks.on() as uow:
        found = await compare(uow, "DESK", earlier=TODAY, later=LATER)
        back = await compare(uow, "DESK", earlier=LATER, later=TODAY)
        same = await compare(uow, "DESK", earlier=TODAY, later=TODAY)
    assert [d.code for d in found.added] == ["VOL"]
    assert [d.code for d in found.removed] == ["G10-2"]
    assert [(d.code, d.before and d.before.parent, d.after and d.after.parent) for d in found.moved] == [
        ("G10-1", "G10", "EM")
    ]
    assert [(d.code, d.after and d.after.label) for d in found.renamed] == [("G10-1", "Book 1")]
    assert [(d.code, d.before and d.before.attributes["currency"]) for d in found.changed] == [("EM-1", "ZAR")]
    assert ([d.code for d in back.added], [d.code for d in back.removed]) == (["G10-2"], ["VOL"])
    assert same.added == same.removed == same.moved == same.renamed == same.changed == ()


async def test_a_node_knows_what_is_above_and_below_it(desks: Desks) -> None:
    async with desks.on() as uow:
        assert [node.code for node in await ancestors(uow, desks.ids["G10-1"])] == ["FX", "G10"]
        assert [node.code for node in await descendants(uow, desks.ids["FX"])] == [
            "EM", "EM-1", "G10", "G10-1", "G10-2"
        ]  # fmt: skip
        node = await node_by_code(uow, "DESK", "G10-1")
    assert (node.id, node.label, node.level) == (desks.ids["G10-1"], "G10 book one", 3)


async def test_what_is_not_there_is_not_found(desks: Desks) -> None:
    async with desks.on() as uow:
        with pytest.raises(NotFound, match="There is no node 'X' in the hierarchy 'DESK'"):
            await node_by_code(uow, "DESK", "X")
        with pytest.raises(NotFound, match="There is no hierarchy 'X'"):
            await tree(uow, "X")
        with pytest.raises(NotFound, match="There is no hierarchy 'X'"):
            await compare(uow, "X", earlier=TODAY, later=LATER)


async def test_every_use_of_a_node_is_counted_as_far_as_one_sees_it(desks: Desks) -> None:
    await desks.trade("G10-1", "T-1", TODAY)
    await desks.trade("G10-1", "T-2", TODAY)
    async with desks.on() as uow:
        used = {(usage.entity, usage.field): usage.count for usage in await where_used(uow, desks.ids["G10-1"])}
        above = {(usage.entity, usage.field): usage.count for usage in await where_used(uow, desks.ids["G10"])}
    assert used == {("trade", "book"): 2}
    assert above == {("hierarchy_node", "parent"): 2}
    world = World(desks.runtime)
    world.nodes = desks.ids
    elsewhere = world.actor("preparer", node="EM")
    async with desks.on(actor=elsewhere) as uow:
        with pytest.raises(NotFound):
            await where_used(uow, desks.ids["G10-1"])


async def test_who_has_one_desk_sees_its_branch_with_what_is_above(desks: Desks) -> None:
    world = World(desks.runtime)
    world.nodes = desks.ids
    async with desks.on(actor=world.actor("preparer", node="EM")) as uow:
        assert [node.code for node in await tree(uow, "DESK")] == ["FX", "EM", "EM-1"]
        assert [node.code for node in await tree(uow, "DESK", as_of=date(2025, 1, 1))] == ["FX", "EM", "EM-1"]
        with pytest.raises(NotFound):
            await node_by_code(uow, "DESK", "G10")
        with pytest.raises(Forbidden):
            await export_csv(uow, hierarchy_code="DESK")


async def test_an_export_is_what_an_import_reads(desks: Desks) -> None:
    async with desks.on() as uow:
        await set_attributes(
            uow, node_id=desks.ids["EM-1"], attributes={"note": "=cmd|'/c calc'!A1"}, expected_version=1
        )
        await rename_node(uow, node_id=desks.ids["EM"], label='-2, "EM"', expected_version=1)
        await merge_nodes(
            uow, source_id=desks.ids["G10-1"], target_id=desks.ids["G10-2"], expected_version=1, reason="One book"
        )
        exported = await export_csv(uow, hierarchy_code="DESK")
        plan = await plan_import(uow, hierarchy_code="DESK", rows=read_csv(exported), as_of=TODAY)
    lines = exported.split("\r\n")
    assert lines[0] == "code,parent_code,label,valid_from,valid_to,currency,kind,note"
    assert lines[2:4] == [
        'EM,FX,"\'-2, ""EM""",2024-01-02,,EUR,desk,', "EM-1,EM,EM book one,2024-01-02,,ZAR,book,'=cmd|'/c calc'!A1"
    ]  # fmt: skip
    assert (plan.problems, plan.is_empty) == ((), True)
