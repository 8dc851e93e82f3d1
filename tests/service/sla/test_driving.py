"""Clocks of records of any entity: they follow what happens to the record, in the transaction in which it happens."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import HANDLERS, Runtime, build
from app.core.db import create_engine
from app.core.events import Event
from app.core.site_entities import install
from app.core.uow import UnitOfWork
from app.domain.entities.service import create_record, create_records, delete_record, update_record
from app.domain.lifecycles.transitions import StepCommand, transition_record, transition_records
from app.domain.sla.backfill import backfill_portion, reach_of
from app.domain.sla.events import ClockEnded, SlaThresholdsPassed
from app.domain.sla.sweep import sweep
from models.loader import load_entity
from tests.conftest import test_settings as settings_in
from tests.factories import SYSTEM
from tests.service.sla.close import statements

DEFINITION = Path(__file__).parent / "ticket.yaml"
NINE = datetime(2026, 10, 28, 9, 0, tzinfo=UTC)


class Desk:
    """A platform with tickets, at moments that the test names."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def report(self, at: datetime = NINE, **values: Any) -> UUID:
        async with self.runtime.uow(SYSTEM, now=at) as uow:
            made = await create_record(uow, "ticket", {"subject": "No rates", **values})
        id_: UUID = made["id"]
        return id_

    async def step(self, id_: UUID, name: str, at: datetime) -> None:
        async with self.runtime.uow(SYSTEM, now=at) as uow:
            await transition_record(uow, entity="ticket", record_id=id_, name=name, expected_version=None)

    async def change(self, id_: UUID, at: datetime, **values: Any) -> None:
        async with self.runtime.uow(SYSTEM, now=at) as uow:
            version = await uow.scalar(text("SELECT row_version FROM ext.ticket WHERE id = :id"), {"id": id_})
            await update_record(uow, "ticket", id_, values, expected_version=version)

    async def clock(self, id_: UUID, policy: str = "ticket-response") -> dict[str, Any] | None:
        sql = text(
            "SELECT c.* FROM sla_clock c JOIN sla_policy p ON p.id = c.policy_id"
            " WHERE c.record_id = :id AND p.code = :code"
        )
        async with self.runtime.uow(SYSTEM) as uow:
            row = (await uow.execute(sql, {"id": id_, "code": policy})).mappings().one_or_none()
        return dict(row) if row is not None else None

    async def response(self, id_: UUID) -> dict[str, Any]:
        clock = await self.clock(id_)
        assert clock is not None
        return clock

    async def resolution(self, id_: UUID) -> dict[str, Any]:
        clock = await self.clock(id_, "ticket-resolution")
        assert clock is not None
        return clock

    async def passed(self, id_: UUID) -> list[tuple[str, int, bool]]:
        sql = text(
            "SELECT e.threshold, e.generation, e.notified FROM sla_event e JOIN sla_clock c ON c.id = e.clock_id"
            " WHERE c.record_id = :id ORDER BY e.generation, e.at, e.threshold"
        )
        async with self.runtime.uow(SYSTEM) as uow:
            return [tuple(row) for row in await uow.execute(sql, {"id": id_})]


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    engine = create_engine(database_url)
    registry = await install(engine, [load_entity(DEFINITION.read_text("utf-8"))])
    await engine.dispose()
    runtime = await build(settings_in(tmp_path, database_url=database_url), registry=registry)
    yield Desk(runtime)
    await runtime.aclose()


def after(hours: float) -> datetime:
    return NINE + timedelta(hours=hours)


async def test_a_new_record_gets_the_clocks_whose_conditions_it_meets(desk: Desk) -> None:
    id_ = await desk.report()
    clock = await desk.response(id_)
    assert (clock["state"], clock["started_at"], clock["due_at"]) == ("running", NINE, after(4))
    assert (clock["next_threshold"], clock["next_fire_at"]) == ("half", after(2))
    assert [code for code, _ in clock["schedule"]] == ["half", "warning", "breach", "lead"]
    assert await desk.clock(id_, "ticket-resolution") is None  # it is about urgent ones


async def test_the_first_target_whose_condition_holds_is_promised_and_a_change_of_it_keeps_what_was_used(
    desk: Desk,
) -> None:
    id_ = await desk.report()
    await desk.change(id_, after(0.5), urgency="high")
    clock = await desk.response(id_)
    assert (clock["target"], clock["due_at"], clock["generation"]) == (timedelta(hours=1), after(1), 2)
    assert (await desk.resolution(id_))["started_at"] == after(0.5)


async def test_a_step_stops_the_clock_and_another_begins_it_anew(desk: Desk) -> None:
    id_ = await desk.report()
    await desk.step(id_, "answer", after(1))
    clock = await desk.response(id_)
    assert (clock["state"], clock["stopped_at"], clock["consumed"]) == ("stopped", after(1), timedelta(hours=1))
    assert clock["next_fire_at"] is None
    await desk.step(id_, "ask_again", after(30))
    clock = await desk.response(id_)
    assert (clock["state"], clock["generation"], clock["due_at"]) == ("running", 2, after(34))
    assert clock["stopped_at"] is None


async def test_work_done_late_is_a_breach_although_no_sweep_had_looked(desk: Desk) -> None:
    id_ = await desk.report()
    await desk.step(id_, "answer", after(4.5))
    clock = await desk.response(id_)
    assert (clock["state"], clock["breached_at"]) == ("stopped", after(4))
    assert await desk.passed(id_) == [("half", 1, False), ("warning", 1, False), ("breach", 1, False)]


async def test_a_pause_adds_what_was_used_and_moves_the_end(desk: Desk) -> None:
    id_ = await desk.report(urgency="high")
    await desk.change(id_, after(3), waiting=True)
    clock = await desk.resolution(id_)
    assert (clock["state"], clock["consumed"], clock["next_fire_at"]) == ("paused", timedelta(hours=3), None)
    await desk.change(id_, after(10), waiting=False)
    clock = await desk.resolution(id_)
    assert (clock["state"], clock["due_at"]) == ("running", after(15))
    assert clock["consumed"] == timedelta(hours=3)


async def test_time_counts_from_when_it_was_reported(desk: Desk) -> None:
    id_ = await desk.report(urgency="high", reported_at=after(-2).isoformat())
    clock = await desk.resolution(id_)
    assert (clock["started_at"], clock["due_at"]) == (after(-2), after(6))


async def test_a_record_that_leaves_the_policy_loses_its_clock_and_one_that_is_deleted_too(desk: Desk) -> None:
    id_, other = await desk.report(urgency="high"), await desk.report(urgency="high")
    await desk.change(id_, after(1), urgency="normal")
    assert (await desk.resolution(id_))["state"] == "cancelled"
    async with desk.runtime.uow(SYSTEM, now=after(2)) as uow:
        await delete_record(uow, "ticket", other, expected_version=1)
    assert {(await desk.response(other))["state"], (await desk.resolution(other))["state"]} == {"cancelled"}
    await desk.change(id_, after(3), urgency="high")
    clock = await desk.resolution(id_)
    assert (clock["state"], clock["generation"], clock["due_at"]) == ("running", 2, after(11))


async def test_every_threshold_is_recorded_and_only_the_highest_announced(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []

    async def note(_uow: UnitOfWork, event: Event) -> None:
        told.append(event)

    monkeypatch.setitem(HANDLERS, SlaThresholdsPassed, (note,))
    monkeypatch.setitem(HANDLERS, ClockEnded, (note,))
    id_ = await desk.report()
    assert (await sweep(desk.runtime, now=after(2))).announced == 1
    assert (await sweep(desk.runtime, now=after(3.4))).clocks == 0
    assert (await sweep(desk.runtime, now=after(4.2))).recorded == 2
    clock = await desk.response(id_)
    assert (clock["warned_at"], clock["breached_at"], clock["next_threshold"]) == (after(2), after(4), "lead")
    assert (await sweep(desk.runtime, now=after(5))).recorded == 1
    assert await desk.passed(id_) == [
        ("half", 1, True), ("warning", 1, False), ("breach", 1, True), ("lead", 1, True),
    ]  # fmt: skip
    await desk.step(id_, "answer", after(6))
    assert (await desk.response(id_))["breached_at"] == after(4)
    thresholds = [e.threshold for event in told if isinstance(event, SlaThresholdsPassed) for e in event.passed]
    assert thresholds == ["half", "breach", "lead"]
    assert {e.policy for event in told if isinstance(event, SlaThresholdsPassed) for e in event.passed} == {
        "ticket-response"
    }
    ended = [e for event in told if isinstance(event, ClockEnded) for e in event.clocks]
    assert [(e.record_id, e.state, e.breached) for e in ended] == [(id_, "stopped", True)]


async def test_four_sweepers_fire_each_threshold_of_each_clock_once(desk: Desk) -> None:
    async with desk.runtime.uow(SYSTEM, now=NINE) as uow:
        await create_records(uow, "ticket", [{"subject": f"ticket {n}"} for n in range(200)])
    results = await asyncio.gather(*(sweep(desk.runtime, limit=20, now=after(6)) for _ in range(4)))
    assert (sum(r.recorded for r in results), sum(r.announced for r in results)) == (800, 200)
    async with desk.runtime.uow(SYSTEM) as uow:
        counts = await uow.execute(text("SELECT threshold, count(*) AS n FROM sla_event GROUP BY 1"))
        assert {row.threshold: row.n for row in counts} == {"half": 200, "warning": 200, "breach": 200, "lead": 200}


async def test_a_thousand_steps_are_looked_at_with_two_statements_and_others_with_none(desk: Desk) -> None:
    async with desk.runtime.uow(SYSTEM, now=NINE) as uow:
        made = await create_records(uow, "ticket", [{"subject": f"ticket {n}"} for n in range(1_000)])
    commands = [StepCommand(record["id"], "answer", at=after(1)) for record in made]
    async with statements(desk.runtime) as sent, desk.runtime.uow(SYSTEM, now=after(1)) as uow:
        await transition_records(uow, entity="ticket", commands=commands)
    assert sum("sla_clock" in statement for statement in sent) == 2
    async with statements(desk.runtime) as sent, desk.runtime.uow(SYSTEM, now=after(1)) as uow:
        await create_record(uow, "parameter", {"code": "X", "label": "X", "value": "1"})
    assert not any("sla_" in statement for statement in sent)


async def test_steps_of_one_transaction_count_each_at_its_own_time(desk: Desk) -> None:
    id_ = await desk.report()
    commands = [
        StepCommand(id_, "answer", at=after(1)), StepCommand(id_, "ask_again", at=after(2)),
        StepCommand(id_, "answer", at=after(8)),
    ]  # fmt: skip
    async with desk.runtime.uow(SYSTEM, now=after(9)) as uow:
        await transition_records(uow, entity="ticket", commands=commands)
    clock = await desk.response(id_)
    assert (clock["generation"], clock["state"], clock["stopped_at"], clock["breached_at"]) == (
        2, "stopped", after(8), after(6),
    )  # fmt: skip


async def test_records_of_before_the_policy_get_their_clocks_once(desk: Desk) -> None:
    for number in range(3):
        await desk.report(subject=str(number))
    async with desk.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("DELETE FROM sla_clock"))
        version = await uow.scalar(
            text("SELECT v.id FROM sla_policy_version v JOIN sla_policy p ON p.id = v.policy_id WHERE p.code = :c"),
            {"c": "ticket-response"},
        )
        found = await reach_of(uow, version_id=version)
    assert (found.records, found.applies, found.starts) == (3, 3, 3)
    for expected in (3, 0):
        async with desk.runtime.uow(SYSTEM, now=after(1)) as uow:
            assert await backfill_portion(uow, version_id=version) == (expected, None)
