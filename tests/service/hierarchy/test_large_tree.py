"""A tree of 20,000 nodes is imported, moved about in and read with a few statements."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pytest
from sqlalchemy import event, func, select

from app.bootstrap import Runtime
from app.domain.hierarchy.csv_import import apply_import, plan_import, read_csv
from app.domain.hierarchy.due import apply_due_changes
from app.domain.hierarchy.queries import compare, tree
from app.domain.hierarchy.service import create_hierarchy, move_node
from tests.service.hierarchy.trees import TODAY, Desks

LATER = date(2026, 6, 1)


def large_csv(*, top: str = "Top") -> str:
    """1 + 3 + 60 + 19,936 nodes; `A` has 5,000 below it, `B` and `C` the others."""
    lines = ["code,parent_code,label,valid_from,kind", f"T,,{top},2024-01-02,top"]
    lines += [f"{side},T,Side {side},2024-01-02,side" for side in "ABC"]
    lines += [f"{side}{desk:02},{side},Desk {side}{desk},2024-01-02,desk" for side in "ABC" for desk in range(20)]
    sizes = {"A": 4_980, "B": 7_478, "C": 7_478}
    for side, size in sizes.items():
        lines += [f"{side}-{n},{side}{n % 20:02},Book {n},2024-01-02,book" for n in range(size)]
    return "\n".join(lines)


@contextmanager
def counted(desks: Desks) -> Iterator[list[str]]:
    """The statements that the database is sent; a bulk insert is one."""
    seen: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    engine = desks.runtime.engine.sync_engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", count)


@pytest.fixture
async def large(runtime: Runtime) -> Desks:
    desks = Desks(runtime)
    async with desks.on() as uow:
        await create_hierarchy(uow, code="DESK", label="Desks and books")
    started = time.perf_counter()
    with counted(desks) as statements:
        async with desks.on() as uow:
            rows = read_csv(large_csv())
            plan = await plan_import(uow, hierarchy_code="DESK", rows=rows, as_of=TODAY)
            assert plan.problems == ()
            assert (await apply_import(uow, plan)).added == 20_000
    assert len(statements) <= 12, statements
    # A few seconds on a machine with nothing else to do.
    assert time.perf_counter() - started < 120
    assert await desks.paths_are_right()
    async with desks.on() as uow:
        assert await apply_due_changes(uow) == 0, "the rows are what their versions say"
        nodes = uow.table("hierarchy_node")
        wanted = select(nodes.c.code, nodes.c.id).where(nodes.c.code.in_(["A", "B", "T"]))
        desks.ids = {row.code: row.id for row in await uow.execute(wanted)}
    return desks


async def test_a_subtree_of_5000_nodes_is_moved_in_one_piece(large: Desks) -> None:
    started = time.perf_counter()
    with counted(large) as statements:
        async with large.on() as uow:
            await move_node(uow, node_id=large.ids["A"], parent_id=large.ids["B"], expected_version=1)
    assert len(statements) <= 16, statements
    assert time.perf_counter() - started < 30
    async with large.on() as uow:
        nodes = uow.table("hierarchy_node")
        below = nodes.c.path.op("<@")(select(nodes.c.path).where(nodes.c.code == "B").scalar_subquery())
        moved = select(func.count()).where(below, nodes.c.code.like("A%"))
        assert await uow.scalar(moved) == 5_001
    assert await large.paths_are_right()

    with counted(large) as statements:
        async with large.on() as uow:
            was = await tree(uow, "DESK", as_of=date(2025, 1, 1))
    assert len([s for s in statements if "hierarchy_node" in s]) == 1
    level = {node.code: node.level for node in was}
    assert (len(was), level["A-1"]) == (20_000, 4)
    async with large.on() as uow:
        now = await tree(uow, "DESK")
        found = await compare(uow, "DESK", earlier=date(2025, 1, 1), later=TODAY)
    assert (len(now), {node.code: node.level for node in now}["A-1"]) == (20_000, 5)
    assert [difference.code for difference in found.moved] == ["A"]

    async with large.on() as uow:
        plan = await plan_import(uow, hierarchy_code="DESK", rows=read_csv(large_csv(top="All")), as_of=LATER)
        assert [(c.code, c.moved, c.renamed) for c in plan.changes] == [
            ("T", None, ("Top", "All")),
            ("A", ("B", "T"), None),
        ]
