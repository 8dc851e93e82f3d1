"""Triggers inside the platform: records, documents, runs and schedules."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from app.core.db import asyncpg_dsn
from app.core.errors import ValidationFailed
from app.core.listen import Listener, on_topics
from app.core.uow import LIVE_CHANNEL
from app.domain.documents.files import attach_file
from app.domain.entities.service import create_record, create_records, update_record
from app.domain.schedules.service import create_due_runs
from app.domain.workflow.run_commands import cancel_run, hold_run
from app.domain.workflow.runs import create_run
from tests.factories import SYSTEM
from tests.service.triggers.desk import Desk
from tests.service.workflow.statements import counted

ON_TRADE = {"kind": "event", "entity": "trade", "business_date_rule": "payload", "date_field": "trade_date"}


async def test_a_record_for_which_the_condition_holds_starts_the_run_of_its_date(desk: Desk) -> None:
    await desk.trigger(**ON_TRADE, condition={"currency": "USD", "book.code": "G10-1"})
    await desk.enter_trade(currency="EUR")
    await desk.enter_trade(book=str(desk.nodes["EM-1"]))
    assert await desk.firings() == []
    await desk.enter_trade()
    assert await desk.outcomes() == [("pending", None)]
    assert await desk.references() == []
    await desk.work()
    (firing,) = await desk.firings()
    assert (firing["outcome"], firing["business_date"]) == ("started", date(2026, 10, 30))
    assert firing["run_id"] is not None
    assert firing["payload"] == {"trade_date": "2026-10-30"}
    assert await desk.references() == ["W-20261030"]


async def test_a_second_record_of_the_date_finds_the_run_there(desk: Desk) -> None:
    await desk.trigger(**ON_TRADE)
    await desk.enter_trade()
    await desk.enter_trade()
    await desk.work()
    firings = await desk.firings()
    assert [row["outcome"] for row in firings] == ["started", "existing"]
    assert firings[0]["run_id"] == firings[1]["run_id"]


async def test_a_job_that_comes_twice_or_at_once_changes_nothing(desk: Desk) -> None:
    await desk.trigger(**ON_TRADE)
    await desk.enter_trade()
    await desk.work(times=3)
    await asyncio.gather(*(desk.work() for _ in range(4)))
    (firing,) = await desk.firings()
    assert (firing["outcome"], firing["attempts"]) == ("started", 1)
    assert await desk.references() == ["W-20261030"]


async def test_a_trigger_hears_only_the_change_it_waits_for(desk: Desk) -> None:
    await desk.trigger(**ON_TRADE, change="changed", condition={"late": True})
    trade = await desk.enter_trade()
    assert await desk.firings() == []
    async with desk.runtime.uow(SYSTEM) as uow:
        await update_record(
            uow, "trade", trade["id"], {"late": True, "late_reason": "Phone"}, expected_version=trade["row_version"]
        )
    assert len(await desk.firings()) == 1


async def test_without_a_trigger_a_record_costs_no_statement_more(desk: Desk) -> None:
    given = [_trade(desk, number) for number in range(20)]
    with counted(desk.runtime) as bare:
        async with desk.runtime.uow(SYSTEM) as uow:
            await create_records(uow, "trade", given)
    services, desk.runtime.services = desk.runtime.services, {
        name: value for name, value in desk.runtime.services.items() if name != "triggers"
    }  # fmt: skip
    given = [_trade(desk, number) for number in range(20, 40)]
    with counted(desk.runtime) as without:
        async with desk.runtime.uow(SYSTEM) as uow:
            await create_records(uow, "trade", given)
    desk.runtime.services = services
    assert len(bare) == len(without)


def _trade(desk: Desk, number: int) -> dict[str, Any]:
    return {
        "reference": f"N-{number}", "book": str(desk.nodes["G10-1"]), "trade_date": "2026-10-30", "product": "spot",
        "currency": "USD", "quantity": "1", "rate": "1", "counterparty": "A",
    }  # fmt: skip


async def test_no_more_than_the_limit_of_an_hour_start_and_the_others_are_recorded(desk: Desk) -> None:
    await desk.trigger(**ON_TRADE, most_per_hour=2)
    for _ in range(4):
        await desk.enter_trade()
    assert await desk.outcomes() == [
        ("pending", None),
        ("pending", None),
        ("refused", "More than 2 in an hour."),
        ("refused", "More than 2 in an hour."),
    ]


async def test_a_node_and_a_variant_come_from_the_record(desk: Desk) -> None:
    await desk.trigger(**ON_TRADE, node_field="book", variant_field="currency")
    await desk.enter_trade(book=str(desk.nodes["EM-2"]), currency="TRY")
    await desk.work()
    assert await desk.references() == ["W-20261030-EM-2-TRY"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("today", "W-20261101"), ("working_day", "W-20261102"), ("previous_working_day", "W-20261030")],
)
async def test_the_business_date_follows_the_day_on_which_it_happened(desk: Desk, rule: str, expected: str) -> None:
    await desk.trigger(kind="event", entity="trade", business_date_rule=rule)
    sunday = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)  # in Berlin it is 1 November already
    async with desk.runtime.uow(SYSTEM, now=sunday) as uow:
        await create_record(uow, "trade", _trade(desk, 1))
    await desk.work()
    assert await desk.references() == [expected]


async def test_what_keeps_the_workflow_from_running_is_the_reason(desk: Desk) -> None:
    trigger = await desk.trigger(**ON_TRADE)
    await desk.count("WITH u AS (UPDATE workflow SET active = false RETURNING 1) SELECT count(*) FROM u")
    await desk.enter_trade()
    await desk.work()
    assert await desk.outcomes() == [("refused", "The workflow Close is not active; activate it before it runs.")]
    await desk.change(trigger, active=False)
    await desk.enter_trade()
    assert len(await desk.firings()) == 1


async def test_a_fault_is_noted_and_the_next_attempt_may_succeed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("SELECT secret")

    await desk.trigger(**ON_TRADE)
    await desk.enter_trade()
    monkeypatch.setattr("app.domain.triggers.firing.create_run", broken)
    with pytest.raises(RuntimeError):
        await desk.work()
    (firing,) = await desk.firings()
    assert (firing["outcome"], firing["attempts"]) == ("failed", 1)
    assert "secret" not in firing["reason"]
    monkeypatch.undo()
    await desk.work()
    (firing,) = await desk.firings()
    assert (firing["outcome"], firing["reason"], firing["attempts"]) == ("started", None, 2)


async def test_another_workflow_s_run_starts_the_run_of_the_same_date(desk: Desk) -> None:
    for state in ("done", "on_hold", "cancelled"):
        await desk.trigger(
            code=state.upper(), kind="run_state", source_workflow=str(desk.workflows["V"]), run_state=state,
            business_date_rule="payload", date_field="business_date", variant=state,
        )  # fmt: skip
    async with desk.runtime.uow(SYSTEM) as uow:
        desk.run_id = await create_run(uow, workflow="V", business_date=date(2026, 10, 30))
        other = await create_run(uow, workflow="V", business_date=date(2026, 11, 2))
    assert await desk.firings() == []
    async with desk.runtime.uow(SYSTEM) as uow:
        version = await hold_run(uow, run_id=other, expected_version=1, reason="Late feed")
    async with desk.runtime.uow(SYSTEM) as uow:
        await cancel_run(uow, run_id=other, expected_version=version, reason="No trades")
    await desk.do("start", "a", "preparer")
    await desk.do("submit", "a", "preparer")
    await desk.work()
    assert await desk.references() == [
        "V-20261030", "V-20261102", "W-20261030-done", "W-20261102-cancelled", "W-20261102-on_hold",
    ]  # fmt: skip


async def test_workflows_that_set_off_one_another_come_to_an_end(desk: Desk) -> None:
    for code, source, target in (("A", "V", "W"), ("B", "W", "V")):
        await desk.trigger(
            code=code, kind="run_state", source_workflow=str(desk.workflows[source]), run_state="active",
            workflow=str(desk.workflows[target]), business_date_rule="today", variant_field="started_at",
        )  # fmt: skip
    async with desk.runtime.uow(SYSTEM) as uow:
        await create_run(uow, workflow="V", business_date=date(2026, 10, 30))
    for _ in range(15):
        await desk.work()
    reasons = [reason for outcome, reason in await desk.outcomes() if outcome == "refused"]
    assert len(reasons) == 1


async def test_a_schedule_s_run_sets_off_what_follows_it(desk: Desk) -> None:
    async with desk.runtime.uow(SYSTEM, now=datetime(2026, 3, 30, 4, tzinfo=UTC)) as uow:
        values = {"code": "S", "label": "S", "workflow": str(desk.workflows["V"]), "at": "07:00", "valid_from": None}
        schedule = await create_record(uow, "schedule", values)
    await desk.trigger(
        kind="schedule", source_schedule=str(schedule["id"]), business_date_rule="payload", date_field="business_date"
    )
    await create_due_runs(desk.runtime, now=datetime(2026, 3, 30, 6, tzinfo=UTC))
    await desk.work()
    assert await desk.references() == ["V-20260330", "W-20260330"]


async def test_a_document_of_a_record_starts_the_run_that_its_name_tells(desk: Desk) -> None:
    await desk.trigger(
        kind="file", source="document", file_name="explain_{business_date}*.csv", business_date_rule="payload",
        condition={"purpose": "explain"},
    )  # fmt: skip
    async with desk.runtime.uow(SYSTEM) as uow:
        desk.run_id = await create_run(uow, workflow="V", business_date=date(2026, 10, 30))
    record = ("process_run", (await desk.row("a"))["id"])
    names = {"explain_20261030_v2.csv": "explain", "explain_20261029.csv": "other", "x.csv": "explain"}
    for name, purpose in names.items():
        async with desk.runtime.uow(SYSTEM) as uow:
            await attach_file(uow, record=record, purpose=purpose, name=name, content=b"a,b\n1,2\n")
    await desk.work()
    assert await desk.references() == ["V-20261030", "W-20261030"]
    assert [row["payload"] for row in await desk.firings()] == [{"business_date": "20261030"}]


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"kind": "event", "entity": "nothing"}, "entity", "no entity 'nothing'"),
        ({**ON_TRADE, "condition": {"colour": "red"}}, "condition", "no field 'colour'"),
        ({**ON_TRADE, "date_field": "currency_"}, "date_field", "no field 'currency_'"),
        ({**ON_TRADE, "date_field": "quantity"}, "date_field", "is no date"),
        ({"kind": "webhook", "secret": "short"}, "secret", "24"),
        ({"kind": "webhook", "secret": "whsec_%%%%%%%%%%%%%%%%%%%%%%%"}, "secret", "base64"),
        ({"kind": "webhook", "secret": "x" * 30, "payload_fields": {"a": "money"}}, "payload_fields", "type is one of"),
        ({"kind": "webhook", "secret": "x" * 30, "condition": {"a": 1}}, "condition", "no field 'a'"),
        ({"kind": "file", "source": "folder", "file_name": "{name}.csv"}, "file_name", "name, folder and size"),
        ({"kind": "file", "source": "folder", "file_name": "a.csv", "folder": "../etc"}, "folder", "below the inbox"),
    ],
)
async def test_a_trigger_that_could_not_work_is_refused_at_its_field(
    desk: Desk, values: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(ValidationFailed, match=message) as refused:
        await desk.trigger(**values)
    assert [problem.path for problem in refused.value.problems] == [field]


async def test_a_change_of_a_trigger_is_told_to_every_process(desk: Desk) -> None:
    listener = Listener(asyncpg_dsn(desk.runtime.engine))
    listener.subscribe(LIVE_CHANNEL, on_topics(desk.runtime.reactions))
    await listener.start()
    await listener.ready()
    try:
        async with desk.runtime.uow(SYSTEM) as uow:
            given = {"code": "T", "label": "T", "workflow": str(desk.workflows["W"]), **ON_TRADE}
            await create_record(uow, "event_trigger", given)
        for _ in range(100):
            if desk.runtime.services["triggers"].of("event", "trade"):
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the trigger did not arrive")
    finally:
        await listener.stop()
    async with desk.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text("SELECT token FROM event_trigger")) is None
