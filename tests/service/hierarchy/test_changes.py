"""Each change of a tree: what it does from its date on, and what it refuses."""

import asyncio
from datetime import date

import pytest
from sqlalchemy import select

from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, StepsError, ValidationFailed
from app.domain.hierarchy.due import apply_due_changes
from app.domain.hierarchy.queries import timeline_of
from app.domain.hierarchy.service import (
    add_node,
    create_hierarchy,
    move_node,
    rename_node,
    restore_node,
    retire_node,
    set_attributes,
)
from app.domain.hierarchy.timeline import Change
from models.system.tables import audit_entry
from tests.factories import SYSTEM, World, add_row
from tests.service.hierarchy.trees import START, TODAY, Desks

LATER = date(2026, 6, 1)
EVERYTHING = ["FX", "FX/EM", "FX/EM/EM-1", "FX/G10", "FX/G10/G10-1", "FX/G10/G10-2"]


async def test_a_moved_node_takes_everything_below_it_along(desks: Desks) -> None:
    async with desks.on() as uow:
        await move_node(uow, node_id=desks.ids["G10"], parent_id=desks.ids["EM"], expected_version=1)
    assert await desks.lines(TODAY) == [
        "FX", "FX/EM", "FX/EM/EM-1", "FX/EM/G10", "FX/EM/G10/G10-1", "FX/EM/G10/G10-2"
    ]  # fmt: skip
    assert await desks.lines(date(2026, 3, 1)) == EVERYTHING
    assert await desks.paths_are_right()
    assert await desks.version("G10") == 2
    assert await desks.version("G10-1") == 1, "a node below has not changed itself"


async def test_a_change_of_a_later_date_waits_for_its_day(desks: Desks) -> None:
    async with desks.on() as uow:
        version = await move_node(
            uow, node_id=desks.ids["G10"], parent_id=desks.ids["EM"], expected_version=1, effective=LATER
        )
        await rename_node(uow, node_id=desks.ids["EM"], label="Emerging", expected_version=1, effective=LATER)
    assert version == 2
    assert (await desks.row("G10")).parent_id == desks.ids["FX"]
    assert "FX/EM/G10/G10-1" in await desks.lines(LATER)
    assert await desks.lines(TODAY) == EVERYTHING
    async with desks.on(date(2026, 5, 31)) as uow:
        assert await apply_due_changes(uow) == 0
    async with desks.on(LATER) as uow:
        assert await apply_due_changes(uow) == 2
    async with desks.on(LATER) as uow:
        assert await apply_due_changes(uow) == 0
    assert (await desks.row("G10")).parent_id == desks.ids["EM"]
    assert (await desks.row("EM")).label == "Emerging"
    assert await desks.paths_are_right()


async def test_a_node_cannot_come_below_itself(desks: Desks) -> None:
    async with desks.on() as uow:
        with pytest.raises(Conflict, match="FX cannot be moved below G10-1, which is below FX itself on 2026-03-02"):
            await move_node(uow, node_id=desks.ids["FX"], parent_id=desks.ids["G10-1"], expected_version=1)
        with pytest.raises(Conflict, match="FX cannot be below itself"):
            await move_node(uow, node_id=desks.ids["FX"], parent_id=desks.ids["FX"], expected_version=1)
    assert await desks.lines(TODAY) == EVERYTHING


async def test_a_move_that_would_make_a_ring_with_a_planned_one_is_refused(desks: Desks) -> None:
    async with desks.on() as uow:
        await move_node(uow, node_id=desks.ids["G10"], parent_id=desks.ids["EM"], expected_version=1, effective=LATER)
    async with desks.on() as uow:
        with pytest.raises(Conflict, match="EM cannot be moved below G10, which is below EM itself on 2026-06-01"):
            await move_node(uow, node_id=desks.ids["EM"], parent_id=desks.ids["G10"], expected_version=1)


async def test_two_moves_at_the_same_moment_cannot_make_a_ring(desks: Desks) -> None:
    async def move(code: str, below: str) -> str:
        async with desks.on() as uow:
            await move_node(uow, node_id=desks.ids[code], parent_id=desks.ids[below], expected_version=1)
        return "moved"

    results = await asyncio.gather(move("G10", "EM"), move("EM", "G10"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "str"]
    assert await desks.paths_are_right()


async def test_a_parent_must_be_of_the_same_hierarchy_and_in_force_as_long(desks: Desks) -> None:
    async with desks.on() as uow:
        await create_hierarchy(uow, code="REGION", label="Regions")
        other = await add_node(uow, hierarchy_code="REGION", code="EMEA", label="Europe")
        late = await add_node(uow, hierarchy_code="DESK", code="NEW", label="New desk", effective=LATER)
    async with desks.on() as uow:
        with pytest.raises(ValidationFailed, match="choose a node of the same hierarchy"):
            await move_node(uow, node_id=desks.ids["G10-1"], parent_id=other, expected_version=1)
        with pytest.raises(ValidationFailed, match="NEW is not in force on 2026-03-02; G10-1 needs a parent"):
            await move_node(uow, node_id=desks.ids["G10-1"], parent_id=late, expected_version=1)
        await move_node(uow, node_id=desks.ids["G10-1"], parent_id=late, expected_version=1, effective=LATER)
    assert "NEW/G10-1" in await desks.lines(LATER)


async def test_a_retired_node_is_gone_from_its_date_on_and_can_come_back(desks: Desks) -> None:
    async with desks.on() as uow:
        await retire_node(uow, node_id=desks.ids["G10-2"], expected_version=1, effective=LATER, reason="Wound down")
    assert (await desks.row("G10-2")).valid_to == LATER
    assert "FX/G10/G10-2" in await desks.lines(date(2026, 5, 31))
    assert "FX/G10/G10-2" not in await desks.lines(LATER)
    back = date(2026, 9, 1)
    async with desks.on(back) as uow:
        await restore_node(uow, node_id=desks.ids["G10-2"], expected_version=2, reason="Needed again")
    assert (await desks.row("G10-2")).valid_to is None
    assert "FX/G10/G10-2" not in await desks.lines(date(2026, 8, 31), today=back)
    assert "FX/G10/G10-2" in await desks.lines(back, today=back)
    async with desks.on(back) as uow:
        kinds = [version.change for version in await timeline_of(uow, desks.ids["G10-2"])]
    assert kinds == [Change.CREATED, Change.RETIRED, Change.RESTORED]
    assert await desks.overlaps() == 0


async def test_a_node_in_use_is_not_retired_and_everything_in_the_way_is_named(desks: Desks) -> None:
    user = await World(desks.runtime).user("a@bank.example", name="Ada")
    await desks.trade("G10", "T-OLD", date(2026, 3, 1))
    await desks.trade("G10", "T-NEW", date(2026, 3, 2))
    async with desks.on() as uow:
        application = await add_row(uow, "application", code="PNL", label="PnL", active=True)
        role = await add_row(uow, "role", code="preparer", label="Preparer")
        await add_row(
            uow, "role_grant", user_id=user, role_id=role, application_id=application, node_id=desks.ids["G10"],
            valid_from=uow.now,
        )  # fmt: skip
        for closing, day in ((5, date(2026, 2, 26)), (0, date(2026, 2, 27))):
            await add_row(
                uow, "position", business_date=day, book_id=desks.ids["G10"], currency="JPY", opening=0, traded=closing,
                closing=closing, version=1, current=True,
            )  # fmt: skip
    async with desks.on() as uow:
        with pytest.raises(Conflict) as caught:
            await retire_node(uow, node_id=desks.ids["G10"], expected_version=1, reason="Closed")
    assert caught.value.detail == (
        "G10 cannot be retired on 2026-03-02, because it is still used by 2 nodes below it (G10-1, G10-2); "
        "1 role grant (Ada); 1 trade on or after that date (T-NEW). Move, close or end those first."
    )
    assert {b["what"]: b["count"] for b in caught.value.context["blockers"]} == {
        "nodes below it": 2, "role grants": 1, "trades on or after that date": 1
    }  # fmt: skip


async def test_a_position_that_is_not_closed_keeps_its_book(desks: Desks) -> None:
    async with desks.on() as uow:
        await add_row(
            uow, "position", business_date=TODAY, book_id=desks.ids["EM-1"], currency="ZAR", opening=0, traded=7,
            closing=7, version=1, current=True,
        )  # fmt: skip
        with pytest.raises(Conflict, match=r"1 open position \(ZAR\)"):
            await retire_node(uow, node_id=desks.ids["EM-1"], expected_version=1, reason="Closed")


async def test_attributes_are_set_by_name_from_a_date_on(desks: Desks) -> None:
    async with desks.on() as uow:
        version = await set_attributes(
            uow, node_id=desks.ids["EM-1"], attributes={"currency": None, "region": "EMEA"}, expected_version=1
        )
        same = await set_attributes(
            uow, node_id=desks.ids["EM-1"], attributes={"region": "EMEA"}, expected_version=version
        )
    assert same == version
    assert (await desks.row("EM-1")).attributes == {"kind": "book", "region": "EMEA"}
    async with desks.on() as uow:
        timeline = await timeline_of(uow, desks.ids["EM-1"])
    assert [version.attributes for version in timeline] == [
        {"kind": "book", "currency": "ZAR"},
        {"kind": "book", "region": "EMEA"},
    ]


async def test_somebody_elses_change_is_not_overwritten(desks: Desks) -> None:
    async with desks.on() as uow:
        await rename_node(uow, node_id=desks.ids["EM"], label="Emerging", expected_version=1)
    async with desks.on() as uow:
        with pytest.raises(StaleVersion, match=r"EM was changed since you opened it \(version 2, yours was 1\)"):
            await rename_node(uow, node_id=desks.ids["EM"], label="Other", expected_version=1)


async def test_a_change_of_the_past_says_why(desks: Desks) -> None:
    async with desks.on() as uow:
        with pytest.raises(ValidationFailed, match="say why the change is to hold since 2026-01-01"):
            await rename_node(
                uow, node_id=desks.ids["EM"], label="Emerging", expected_version=1, effective=date(2026, 1, 1)
            )
        await rename_node(
            uow, node_id=desks.ids["EM"], label="Emerging", expected_version=1, effective=date(2026, 1, 1),
            reason="Renamed by the board in December",
        )  # fmt: skip
    assert (await desks.row("EM")).label == "Emerging"


@pytest.mark.parametrize(
    ("code", "label", "message"),
    [
        ("=1+1", "Fine", "write 1 to 64 letters"),
        ("A\tB", "Fine", "write 1 to 64 letters"),
        ("OK", "  ", "write a name of 1 to 200 characters"),
        ("OK", "two\nlines", "write a name of 1 to 200 characters"),
        ("G10", "Fine", "There is a node with this code in the hierarchy already"),
    ],
)
async def test_what_cannot_be_a_node_is_refused(desks: Desks, code: str, label: str, message: str) -> None:
    with pytest.raises(StepsError, match=message):
        async with desks.on() as uow:
            await add_node(uow, hierarchy_code="DESK", code=code, label=label, parent_id=desks.ids["FX"])
    assert await desks.lines(TODAY) == EVERYTHING


async def test_every_change_leaves_an_entry_in_the_audit_trail(desks: Desks) -> None:
    async with desks.on() as uow:
        await move_node(
            uow, node_id=desks.ids["G10-1"], parent_id=desks.ids["EM"], expected_version=1, reason="Reorganised"
        )
    async with desks.on() as uow:
        wanted = select(audit_entry).where(audit_entry.c.record_id == desks.ids["G10-1"])
        entries = (await uow.execute(wanted.order_by(audit_entry.c.sequence))).all()
    assert [entry.command for entry in entries] == ["hierarchy_node.create", "hierarchy_node.move"]
    assert (entries[1].before, entries[1].after) == ({"parent": "G10"}, {"parent": "EM"})
    assert (entries[1].reason, entries[1].context) == ("Reorganised", {"effective": "2026-03-02"})


async def test_only_who_looks_after_a_part_of_the_tree_changes_it(desks: Desks) -> None:
    world = World(desks.runtime)
    world.nodes = desks.ids
    reader = world.actor("preparer", application="PLATFORM")
    async with desks.on(actor=reader) as uow:
        with pytest.raises(Forbidden):
            await rename_node(uow, node_id=desks.ids["G10"], label="Mine", expected_version=1)
        with pytest.raises(Forbidden):
            await create_hierarchy(uow, code="MINE", label="Mine")
    # An administrator of one desk: everything below it, and nothing elsewhere.
    desk_admin = world.actor("admin", node="G10", application="PLATFORM")
    async with desks.on(actor=desk_admin) as uow:
        await rename_node(uow, node_id=desks.ids["G10-1"], label="Book one", expected_version=1)
        with pytest.raises(NotFound):
            await rename_node(uow, node_id=desks.ids["EM-1"], label="Mine", expected_version=1)
        await add_node(uow, hierarchy_code="DESK", code="G10-3", label="Book three", parent_id=desks.ids["G10"])
    for effective in (TODAY, LATER):
        with pytest.raises(Forbidden, match="You may not move a node there"):
            async with desks.on(actor=desk_admin) as uow:
                await move_node(
                    uow, node_id=desks.ids["G10-2"], parent_id=desks.ids["FX"], expected_version=1, effective=effective
                )
        with pytest.raises(Forbidden, match="You may not move a node there"):
            async with desks.on(actor=desk_admin) as uow:
                await move_node(
                    uow, node_id=desks.ids["G10-2"], parent_id=None, expected_version=1, effective=effective
                )
    with pytest.raises(Forbidden, match="You may not add a node there"):
        async with desks.on(actor=desk_admin) as uow:
            await add_node(uow, hierarchy_code="DESK", code="TOP", label="A new top")
    assert START < TODAY
    assert (await desks.row("G10-2")).parent_id == desks.ids["G10"]


async def test_a_hierarchy_has_a_code_of_its_own(desks: Desks) -> None:
    with pytest.raises(Conflict, match="There is a hierarchy with this code already"):
        async with desks.on() as uow:
            await create_hierarchy(uow, code="DESK", label="Again")
    with pytest.raises(ValidationFailed, match="write capital letters, digits and _"):
        async with desks.runtime.uow(SYSTEM) as uow:
            await create_hierarchy(uow, code="desk book", label="Again")
