"""Files of nodes are compared with a tree, and applied as a whole."""

from datetime import date
from pathlib import Path

import pytest

from app.bootstrap import Runtime
from app.domain.hierarchy.csv_import import ImportCounts, apply_import, plan_import, read_csv
from app.domain.hierarchy.service import create_hierarchy
from tests.factories import SYSTEM

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
