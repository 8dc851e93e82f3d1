"""Files of nodes are compared with a tree, and applied as a whole."""

from datetime import date
from pathlib import Path

import pytest

from app.bootstrap import Runtime
from app.core.errors import Conflict, Forbidden, InvalidRequest, StaleVersion, ValidationFailed
from app.domain.hierarchy.csv_import import ImportCounts, apply_import, plan_import, read_csv
from app.domain.hierarchy.due import apply_due_changes
from app.domain.hierarchy.service import create_hierarchy, move_node, rename_node
from tests.factories import SYSTEM, World
from tests.service.hierarchy.trees import Desks

DEMO = Path(__file__).resolve().parents[3] / "demo" / "hierarchies"
TODAY = date(2026, 3, 2)


@pytest.mark.parametrize("name", ["desk_book", "legal_entity", "region"])
async def test_a_file_imported_twice_changes_nothing_the_second_time(runtime: Runtime, name: str) -> None:
    rows = read_csv((DEMO / f"{name}.csv").read_text())
    async with runtime.uow(SYSTEM) as uow:
        await create_hierarchy(uow, code="DESK", label="Desks and books", level_labels="Division, Desk, Book")
        plan = await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY)
        assert plan.problems == ()
        assert await apply_import(uow, plan) == ImportCounts(len(rows), 0, 0, 0, 0, 0)
    async with runtime.uow(SYSTEM) as uow:
        again = await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY)
        assert again.problems == ()
        assert again.is_empty, again.changes
        assert await apply_due_changes(uow) == 0, "the rows are what their versions say"


CHANGED = """code;parent_code;label;valid_from;valid_to;kind;currency
FX;;Foreign exchange;2024-01-02;;business;EUR
G10;FX;G10 desk;2024-01-02;;desk;
G10-1;EM;G10 book one;;;book;USD
G10-2;G10;G10 book two;;2026-06-01;book;GBP
EM;FX;EM desk;;;desk;EUR
VOL-1;VOL;Options book;2026-04-01;;book;EUR
VOL;FX;Options;2026-04-01;;desk;EUR
"""


async def test_a_plan_says_what_would_happen_and_applying_it_does_that(desks: Desks) -> None:
    async with desks.on() as uow:
        plan = await plan_import(uow, hierarchy_code="DESK", rows=read_csv(CHANGED), as_of=TODAY)
    assert plan.problems == ()
    assert [new.code for new in plan.additions] == ["VOL", "VOL-1"], "parents come first, whatever the file's order"
    changes = {change.code: change for change in plan.changes}
    assert sorted(changes) == ["FX", "G10", "G10-1", "G10-2"]
    assert changes["FX"].renamed == ("FX", "Foreign exchange")
    assert changes["G10"].attributes == {"currency": ("EUR", None)}
    assert changes["G10-1"].moved == ("G10", "EM")
    assert (changes["G10-2"].ends, changes["G10-2"].row_number) == (date(2026, 6, 1), 5)
    assert await desks.lines(TODAY) == ["FX", "FX/EM", "FX/EM/EM-1", "FX/G10", "FX/G10/G10-1", "FX/G10/G10-2"]
    async with desks.on() as uow:
        assert await apply_import(uow, plan) == ImportCounts(2, 1, 1, 1, 1, 0)
    assert await desks.lines(date(2026, 6, 1)) == [
        "FX", "FX/EM", "FX/EM/EM-1", "FX/EM/G10-1", "FX/G10", "FX/VOL", "FX/VOL/VOL-1"
    ]  # fmt: skip
    assert (await desks.row("G10")).attributes == {"kind": "desk"}
    assert await desks.paths_are_right()
    assert await desks.overlaps() == 0


async def test_a_plan_is_not_applied_to_a_tree_that_has_changed_since(desks: Desks) -> None:
    async with desks.on() as uow:
        plan = await plan_import(uow, hierarchy_code="DESK", rows=read_csv(CHANGED), as_of=TODAY)
        await rename_node(uow, node_id=desks.ids["EM"], label="Emerging", expected_version=1)
    async with desks.on() as uow:
        with pytest.raises(StaleVersion, match="has changed since the file was compared"):
            await apply_import(uow, plan)


PROBLEMS = [
    ("EM,FX,EM desk\nEM,FX,Again", 3, "code EM stands in line 2 already"),
    (",FX,No code", 2, "write 1 to 64 letters, digits"),
    ("NEW,FX,", 2, "write a name of 1 to 200 characters"),
    ("NEW,NOWHERE,New", 2, "there is no node NOWHERE, neither in the file nor in the tree"),
    ("NEW,NEW,New", 2, "NEW cannot be its own parent"),
    ("NEW,FX,New,02.03.2026", 2, "valid_from '02.03.2026' is not a date; write it as 2026-01-31"),
    ("NEW,FX,New,2026-03-02,2026-03-02", 2, "A node must end after it begins"),
    ("NEW,FX,New,2020-01-01", 2, "NEW would be below FX, which is not in force on 2020-01-01"),
    ("EM,FX,EM desk,2023-01-01", 2, "EM begins on 2024-01-02; leave valid_from empty or write that date"),
    ("FX,EM,FX", 2, "each of these would be below the next one: FX, EM, FX"),
    ("A,B,A\nB,C,B\nC,A,C", 2, "each of these would be below the next one: A, B, C, A"),
    ("G10,FX,G10 desk,2024-01-02,2026-06-01", 2, "G10-1 would be below G10, which is not in force on 2026-06-01"),
]


@pytest.mark.parametrize(("lines", "row", "message"), PROBLEMS)
async def test_each_problem_of_a_file_names_its_row(desks: Desks, lines: str, row: int, message: str) -> None:
    rows = read_csv("code,parent_code,label,valid_from,valid_to\n" + lines)
    async with desks.on() as uow:
        plan = await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY)
        assert [p.row_number for p in plan.problems if message in p.message] == [row], plan.problems
        with pytest.raises(ValidationFailed, match=f"row {row}: "):
            await apply_import(uow, plan)


async def test_a_node_in_use_does_not_end_by_an_import(desks: Desks) -> None:
    await desks.trade("EM-1", "T-1", TODAY)
    only = "code,parent_code,label\nFX,,FX\nG10,FX,G10 desk\nG10-1,G10,G10 book one\nEM,FX,EM desk\n"
    async with desks.on() as uow:
        plan = await plan_import(uow, hierarchy_code="DESK", rows=read_csv(only), as_of=TODAY, retire_missing=True)
    assert [change.code for change in plan.changes] == ["G10-2", "EM-1"]
    assert [(p.row_number, p.message) for p in plan.problems] == [
        (None, "EM-1 cannot end on 2026-03-02: it is still used by 1 trade on or after that date (T-1)")
    ]


async def test_what_a_file_does_not_list_stays_unless_asked_for(desks: Desks) -> None:
    rows = read_csv("code,parent_code,label\nFX,,FX\nEM,FX,EM desk\n")
    async with desks.on() as uow:
        plan = await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY)
        assert plan.is_empty
        plan = await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY, retire_missing=True)
        assert (await apply_import(uow, plan)).retired == 4
    assert await desks.lines(TODAY) == ["FX", "FX/EM"]
    back = read_csv("code,parent_code,label,valid_to\nEM-1,EM,EM book one,\n")
    async with desks.on(date(2026, 3, 9)) as uow:
        plan = await plan_import(uow, hierarchy_code="DESK", rows=back, as_of=date(2026, 3, 9))
        assert (await apply_import(uow, plan)).restored == 1
    assert "FX/EM/EM-1" not in await desks.lines(date(2026, 3, 8))
    assert "FX/EM/EM-1" in await desks.lines(date(2026, 3, 9))


async def test_an_import_that_collides_with_a_planned_move_is_refused(desks: Desks) -> None:
    async with desks.on() as uow:
        await move_node(
            uow, node_id=desks.ids["G10"], parent_id=desks.ids["EM"], expected_version=1, effective=date(2026, 6, 1)
        )
    rows = read_csv("code,parent_code,label\nEM,G10,EM desk\n")
    with pytest.raises(Conflict, match="would not be below any top node: EM on 2026-06-01, EM-1 on 2026-06-01"):
        async with desks.on() as uow:
            await apply_import(uow, await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("code,label\nA,B", "parent_code is missing"),
        ("", "code, parent_code, label is missing"),
        ("code,parent_code,label,code\n", "Each column needs a name of its own: code"),
        ("code,parent_code,label\nA,,B,C", "Line 2 has 4 values for 3 columns"),
        ('code,parent_code,label\nA,,"B', "not CSV: line 2"),
        (b"code,parent_code,label\nA,,B\xff", "not UTF-8 text"),
    ],
)
def test_what_is_no_such_file_is_refused_in_words(content: str | bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_csv(content)


async def test_who_has_one_desk_does_not_import_into_another(desks: Desks) -> None:
    world = World(desks.runtime)
    world.nodes = desks.ids
    admin = world.actor("admin", node="EM", application="PLATFORM")

    async def bring_in(row: str) -> ImportCounts:
        rows = read_csv(f"code,parent_code,label\n{row}\n")
        async with desks.on(actor=admin) as uow:
            return await apply_import(uow, await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY))

    assert (await bring_in("EM-1,EM,Book one")).renamed == 1
    for row in ("G10-1,G10,Mine", "NEW,G10,Mine"):
        with pytest.raises(Forbidden, match="outside of the part of the tree"):
            await bring_in(row)
    async with desks.on(actor=world.actor("preparer")) as uow:
        with pytest.raises(Forbidden):
            await plan_import(uow, hierarchy_code="DESK", rows=[], as_of=TODAY)
