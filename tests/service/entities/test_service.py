"""Records of any entity through the one service."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.domain.entities.history import history
from app.domain.entities.queries import Count, ListQuery, get_record, list_records
from app.domain.entities.service import create_record, create_records, delete_record, update_record
from models.system.tables import audit_entry
from tests.factories import World

TRADE = {"trade_date": "2026-10-30", "currency": "USD", "quantity": "1000000", "rate": "1.1"}


async def test_created_record_reads_back_exactly_with_number_default_and_computed_value(world: World) -> None:
    actor = world.actor("preparer")
    async with world.runtime.uow(actor) as uow:
        created = await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["G10-1"])})
    assert created["reference"].startswith("TRD-")
    assert created["product"] == "spot"
    async with world.runtime.uow(actor) as uow:
        page = await get_record(uow, "trade", created["id"], titles=True, expand=["book"])
    assert page.items[0]["quantity"] == "1000000"
    assert page.records[0]["value_eur"] == (Decimal(1000000) / Decimal("1.1")).quantize(Decimal("1e-18"))
    assert page.titles[0]["book"] == "G10-1"
    assert page.items[0]["book"]["code"] == "G10-1"


async def test_problems_name_every_field_and_nothing_is_written(world: World) -> None:
    async with world.runtime.uow(world.actor("preparer")) as uow:
        with pytest.raises(ValidationFailed) as refused:
            await create_record(uow, "trade", {"currency": "usd", "quantity": "x", "value_eur": "1", "colour": "red"})
    problems = {p.path: p.message for p in refused.value.problems}
    assert problems["currency"].startswith("Three capital letters")
    assert problems["quantity"] == "must be a number, for example 1250.75"
    assert problems["value_eur"] == "cannot be entered: it is set by the platform"
    assert problems["colour"].startswith("there is no such field")
    async with world.runtime.uow(world.actor("preparer")) as uow:
        assert await uow.scalar(select(uow.table("trade").c.id)) is None


async def test_a_conditional_field_is_required_when_shown_and_cleared_when_hidden(world: World) -> None:
    actor = world.actor("preparer")
    book = str(world.nodes["G10-1"])
    async with world.runtime.uow(actor) as uow:
        with pytest.raises(ValidationFailed, match="late_reason: is required"):
            await create_record(uow, "trade", {**TRADE, "book": book, "late": True})
        record = await create_record(uow, "trade", {**TRADE, "book": book, "late": True, "late_reason": "system down"})
    async with world.runtime.uow(actor) as uow:
        changed = await update_record(uow, "trade", record["id"], {"late": False}, expected_version=1)
    assert changed["late_reason"] is None
    assert changed["row_version"] == 2


async def test_a_reference_out_of_scope_is_answered_like_one_that_does_not_exist(world: World) -> None:
    async with world.runtime.uow(world.actor("preparer", node="G10")) as uow:
        with pytest.raises(ValidationFailed, match="book: there is no such hierarchy node"):
            await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["EM-1"])})


async def test_nobody_can_put_a_record_above_the_part_they_work_on(world: World) -> None:
    async with world.runtime.uow(world.actor("preparer", node="G10")) as uow:
        with pytest.raises(Forbidden, match="choose a book that you work on"):
            await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["FX"])})


async def test_a_record_of_another_desk_is_not_found_listed_counted_or_changed(world: World) -> None:
    async with world.runtime.uow(world.actor("preparer")) as uow:
        mine = await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["G10-1"])})
        other = await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["EM-1"])})
    scoped = world.actor("preparer", node="G10")
    async with world.runtime.uow(scoped) as uow:
        page = await list_records(uow, "trade", ListQuery(count=Count.EXACT))
        assert [record["id"] for record in page.records] == [mine["id"]]
        assert page.count == 1
        with pytest.raises(NotFound):
            await get_record(uow, "trade", other["id"])
        with pytest.raises(NotFound):
            await history(uow, "trade", other["id"])
        with pytest.raises(NotFound):
            await update_record(uow, "trade", other["id"], {"note": "x"}, expected_version=1)
        with pytest.raises(NotFound):
            await delete_record(uow, "trade", other["id"], expected_version=1)


async def test_the_second_of_two_changes_from_the_same_version_is_refused(world: World) -> None:
    actor = world.actor("preparer")
    async with world.runtime.uow(actor) as uow:
        record = await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["G10-1"])})

    async def change(note: str) -> str:
        try:
            async with world.runtime.uow(actor) as uow:
                await update_record(uow, "trade", record["id"], {"note": note}, expected_version=1)
        except StaleVersion:
            return "stale"
        return "saved"

    outcomes = await asyncio.gather(*(change(str(n)) for n in range(8)))
    assert sorted(outcomes) == ["saved"] + ["stale"] * 7


async def test_history_tells_who_changed_what_from_what(world: World) -> None:
    actor = world.actor("preparer", name="Paula Preparer")
    async with world.runtime.uow(actor) as uow:
        record = await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["G10-1"])})
    async with world.runtime.uow(actor) as uow:
        await update_record(uow, "trade", record["id"], {"quantity": "5"}, expected_version=1)
    async with world.runtime.uow(actor) as uow:
        entries = await history(uow, "trade", record["id"])
    assert [entry["command"] for entry in entries] == ["trade.update", "trade.create"]
    assert entries[0]["actor_name"] == "Paula Preparer"
    assert (entries[0]["before"], entries[0]["after"]) == ({"quantity": "1000000"}, {"quantity": "5"})


async def test_an_audit_entry_refuses_to_be_changed_or_deleted(world: World) -> None:
    async with world.runtime.uow(world.actor("preparer")) as uow:
        await create_record(uow, "trade", {**TRADE, "book": str(world.nodes["G10-1"])})
    for statement in ("UPDATE audit_entry SET command = 'x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"):
        with pytest.raises(Exception, match="never changed or deleted"):
            async with world.runtime.uow(world.actor("admin")) as uow:
                await uow.execute(text(statement))
    async with world.runtime.uow(world.actor("admin")) as uow:
        assert await uow.scalar(select(audit_entry.c.command)) == "trade.create"


async def test_a_duplicate_is_refused_in_the_words_of_its_constraint(world: World) -> None:
    actor = world.actor("admin", application="PLATFORM")
    async with world.runtime.uow(actor) as uow:
        await create_record(uow, "hierarchy", {"code": "REGIONS", "label": "Regions"})
    with pytest.raises(Conflict, match="There is a hierarchy with this code already"):
        async with world.runtime.uow(actor) as uow:
            await create_record(uow, "hierarchy", {"code": "REGIONS", "label": "Again"})


async def test_a_record_in_use_is_not_deleted_and_the_message_says_by_what(world: World) -> None:
    actor = world.actor("admin", application="PLATFORM")
    async with world.runtime.uow(actor) as uow:
        page = await list_records(uow, "hierarchy", ListQuery(filter={"code": "DESK"}))
    with pytest.raises(Conflict, match="still used by hierarchy nodes"):
        async with world.runtime.uow(actor) as uow:
            await delete_record(uow, "hierarchy", page.records[0]["id"], expected_version=1)


@pytest.mark.parametrize("sort", ["counterparty,-trade_date", "-counterparty", "book,-quantity", "trade_date"])
async def test_pages_by_cursor_give_every_record_once_in_order_nulls_last(world: World, sort: str) -> None:
    actor = world.actor("preparer")
    books = [str(world.nodes[code]) for code in ("G10-1", "G10-2", "EM-1", "EM-2")]
    rows = [
        {**TRADE, "book": books[n % 4], "trade_date": f"2026-10-{n % 9 + 1:02d}", "quantity": str(n + 1)}
        | ({"counterparty": f"Bank {n % 5}"} if n % 3 else {})
        for n in range(57)
    ]
    async with world.runtime.uow(actor) as uow:
        await create_records(uow, "trade", rows)
    async with world.runtime.uow(actor) as uow:
        whole = await list_records(uow, "trade", ListQuery(sort=sort, limit=1000))
        seen: list[object] = []
        cursor = None
        while True:
            page = await list_records(uow, "trade", ListQuery(sort=sort, limit=10, cursor=cursor))
            seen += [record["id"] for record in page.records]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == [record["id"] for record in whole.records]
    assert len(set(seen)) == 57


async def test_child_lines_are_written_matched_and_removed_with_their_record(world: World) -> None:
    actor = world.actor("admin", application="PLATFORM")
    async with world.runtime.uow(actor) as uow:
        calendar = await create_record(uow, "calendar", {"code": "TGT", "label": "Target", "zone": "Europe/Berlin"})
        days = [{"day": "2026-12-25", "label": "Christmas"}, {"day": "2027-01-01", "label": "New year"}]
        version = await create_record(
            uow, "calendar_version", {"calendar": str(calendar["id"]), "number": 1, "weekly_windows": {}, "days": days}
        )
    async with world.runtime.uow(actor) as uow:
        page = await get_record(uow, "calendar_version", version["id"])
        lines = page.items[0]["days"]
        assert [line["label"] for line in lines] == ["Christmas", "New year"]
        kept = {**lines[1], "label": "New Year's Day"}
        change = {"days": [kept, {"day": "2027-05-01", "label": "Labour Day"}]}
        await update_record(uow, "calendar_version", version["id"], change, expected_version=1)
        wrong = {"days": [{"day": "2026-12-24", "label": "Eve", "kind": "early_close"}]}
        with pytest.raises(ValidationFailed, match=r"days\.0\.closes_at: is required"):
            await update_record(uow, "calendar_version", version["id"], wrong, expected_version=2)
    async with world.runtime.uow(actor) as uow:
        lines_after = (await get_record(uow, "calendar_version", version["id"])).items[0]["days"]
    assert [line["label"] for line in lines_after] == ["New Year's Day", "Labour Day"]
    assert lines_after[0]["id"] == lines[1]["id"]
