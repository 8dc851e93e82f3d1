"""Clocks start with the run and follow what happens to its processes."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.core.errors import NotFound
from app.domain.sla.durations import start_duration
from app.domain.sla.policies import PROCESS_DEADLINE, ensure_shipped_policies
from app.domain.sla.queries import Urgency, clocks_of, thresholds_passed
from app.domain.sla.sweep import sweep
from tests.factories import SYSTEM, add_row
from tests.service.sla.close import DUE, NOON, WARN, Close, statements
from tests.service.workflow.bank import manual, reviewed

LATE = DUE + timedelta(minutes=10)


async def test_a_run_has_its_deadlines_and_clocks_from_the_start(close: Close) -> None:
    early = "BD+0 16:00 Europe/London"
    await close.run([manual("load"), manual("check", deadline=early, warn_minutes=0), manual("tidy", deadline=None)])
    load, check = await close.clock("load"), await close.clock("check")
    assert (await close.row("load"))["due_at"] == load["due_at"] == DUE
    assert (load["warn_at"], load["next_fire_at"], load["next_threshold"]) == (WARN, WARN, "warning")
    assert check["due_at"] == DUE - timedelta(hours=1)
    assert (check["warn_at"], check["next_fire_at"], check["next_threshold"]) == (None, check["due_at"], "breach")
    assert load["node_id"] == close.nodes["FX"]
    assert load["application_id"] == close.applications["PNL"]
    assert (await close.row("tidy"))["due_at"] is None
    assert await close.count("SELECT count(*) FROM sla_clock") == 2
    assert (await close.the_run())["due_at"] == DUE


async def test_working_days_are_those_of_the_workflows_calendar(close: Close) -> None:
    await close.run([manual("load", deadline="BD+1 18:00 Europe/Berlin")])
    assert (await close.row("load"))["due_at"] == DUE + timedelta(days=3)  # from Friday to Monday


async def test_starting_clocks_takes_as_many_statements_for_300_processes_as_for_3(close: Close) -> None:
    counts = []
    for size in (3, 300):
        await close.publish([manual(f"p{number}") for number in range(size)], code=f"W{size}")
        async with statements(close.runtime) as sent:
            await close.run_of(f"W{size}")
        counts.append(sum("sla_clock" in statement for statement in sent))
    assert counts == [1, 1]
    assert await close.count("SELECT count(*) FROM sla_clock WHERE state = 'running'") == 303


async def test_a_policy_that_is_switched_off_measures_nothing(close: Close) -> None:
    async with close.runtime.uow(SYSTEM) as uow:
        await ensure_shipped_policies(uow)
        await uow.execute(text("UPDATE sla_policy SET active = false WHERE code = :code"), {"code": PROCESS_DEADLINE})
    await close.run([manual("load")])
    assert (await close.row("load"))["due_at"] == DUE
    assert await close.count("SELECT count(*) FROM sla_clock") == 0


async def test_shipped_policies_are_created_once_and_keep_what_an_administrator_changed(close: Close) -> None:
    async with close.runtime.uow(SYSTEM) as uow:
        first = await ensure_shipped_policies(uow)
        await uow.execute(text("UPDATE sla_policy SET warn_minutes = 5"))
        assert await ensure_shipped_policies(uow) == first
    assert await close.count("SELECT warn_minutes FROM sla_policy") == 5


async def test_without_a_published_calendar_no_run_is_created(close: Close) -> None:
    await close.publish([manual("load")])
    async with close.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE calendar_version SET state = 'draft'"))
    with pytest.raises(NotFound, match="publish"):
        await close.run_of("W")
    assert await close.count("SELECT count(*) FROM workflow_run") == 0


async def test_done_in_time_stops_the_clock_for_good(close: Close) -> None:
    await close.run([manual("load")])
    await close.do("submit", "load", "preparer")
    await close.at(LATE)
    await sweep(close.runtime)
    clock = await close.clock("load")
    assert (clock["state"], clock["next_fire_at"], clock["breached_at"]) == ("stopped", None, None)
    assert await close.passed() == []


async def test_done_late_is_a_breach_although_no_sweep_had_looked(close: Close) -> None:
    await close.run([manual("load")])
    await close.at(LATE)
    await close.do("submit", "load", "preparer")
    clock = await close.clock("load")
    assert (clock["state"], clock["breached_at"], clock["warned_at"]) == ("stopped", DUE, WARN)
    assert await close.passed("load") == [("warning", 1, False), ("breach", 1, False)]


async def test_a_breach_stays_when_the_work_is_done_at_last(close: Close) -> None:
    await close.run([manual("load")])
    await close.at(LATE)
    await sweep(close.runtime)
    await close.do("submit", "load", "preparer")
    clock = await close.clock("load")
    assert (clock["state"], clock["breached_at"]) == ("stopped", DUE)
    assert await close.passed("load") == [("warning", 1, False), ("breach", 1, True)]


async def test_skipped_and_cancelled_work_is_called_off(close: Close) -> None:
    await close.run([manual("load", skip_allowed=True), manual("check"), manual("tidy")])
    await close.do("skip", "load", "controller", reason="Holiday in London")
    await close.do("cancel", "check", "operations", reason="Not wanted")
    assert [(await close.clock(code))["state"] for code in ("load", "check", "tidy")] == [
        "cancelled",
        "cancelled",
        "running",
    ]


async def test_cancelling_the_run_calls_every_open_clock_off(close: Close) -> None:
    await close.run([manual("load"), manual("check"), manual("tidy")])
    await close.do("submit", "load", "preparer")
    await close.cancel_run()
    found = await close.rows("SELECT state, count(*) AS count FROM sla_clock GROUP BY state")
    assert {row["state"]: row["count"] for row in found} == {"stopped": 1, "cancelled": 2}


async def test_a_rejection_before_the_warning_starts_a_generation_that_warns_again(close: Close) -> None:
    await close.run([reviewed("comment")])
    await close.do("submit", "comment", "preparer")
    await close.do("reject", "comment", "controller", reason="Explain EURUSD")
    clock = await close.clock("comment")
    assert (clock["generation"], clock["state"], clock["next_fire_at"], clock["due_at"]) == (2, "running", WARN, DUE)


async def test_a_rejection_after_the_warning_does_not_warn_about_the_same_again(close: Close) -> None:
    await close.run([reviewed("comment")])
    await close.do("submit", "comment", "preparer")
    await close.at(WARN + timedelta(minutes=1))
    await sweep(close.runtime)
    await close.do("reject", "comment", "controller", reason="Explain EURUSD")
    assert (await close.clock("comment"))["next_threshold"] == "breach"
    await close.at(LATE)
    await sweep(close.runtime)
    assert await close.passed("comment") == [("warning", 1, True), ("breach", 2, True)]


async def test_a_rejection_after_the_breach_does_not_breach_twice(close: Close) -> None:
    await close.run([reviewed("comment")])
    await close.do("submit", "comment", "preparer")
    await close.at(LATE)
    await sweep(close.runtime)
    await close.do("reject", "comment", "controller", reason="Explain EURUSD")
    clock = await close.clock("comment")
    assert (clock["generation"], clock["next_fire_at"], clock["breached_at"]) == (2, None, DUE)
    assert (await sweep(close.runtime)).recorded == 0


async def test_a_rejection_in_the_gap_before_the_sweep_does_not_hide_the_breach(close: Close) -> None:
    await close.run([reviewed("comment")])
    await close.do("submit", "comment", "preparer")
    await close.at(LATE)
    await close.do("reject", "comment", "controller", reason="Explain EURUSD")
    await sweep(close.runtime)
    assert await close.passed("comment") == [("warning", 2, False), ("breach", 2, True)]
    assert (await close.clock("comment"))["breached_at"] == DUE


async def test_a_hold_moves_a_working_time_clock_and_no_deadline(close: Close) -> None:
    await close.run([manual("load")])
    row = await close.row("load")
    async with close.runtime.uow(SYSTEM) as uow:
        calendar_id = await uow.scalar(text("SELECT id FROM calendar"))
        for code, pauses in (("response", True), ("total", False)):
            await add_row(
                uow, "sla_policy", code=code, label=code, measure="duration", target=timedelta(hours=4),
                pause_on_hold=pauses, calendar_id=calendar_id, warn_minutes=30, active=True, protected=False,
            )  # fmt: skip
            await start_duration(uow, policy=code, record_entity="process_run", record_id=row["id"], label=code)
    before = await _durations(close)
    assert before["response"]["due_at"] - close.runtime.clock.now() > timedelta(hours=3, minutes=59)
    await close.at(NOON + timedelta(hours=1))
    await close.do("hold", "load", "operations", reason="Waiting for the desk", data={"review_by": LATE})
    paused = await _durations(close)
    assert (paused["response"]["state"], paused["response"]["next_fire_at"]) == ("paused", None)
    assert paused["total"]["state"] == "running"
    assert abs(paused["response"]["consumed"] - timedelta(hours=1)) < timedelta(seconds=20)
    await close.at(NOON + timedelta(hours=3))
    await close.do("resume", "load", "operations")
    after = await _durations(close)
    # Two hours on hold push four hours of work past 18:00 of that Friday into Monday morning.
    assert after["response"]["state"] == "running"
    moved = after["response"]["due_at"] - before["response"]["due_at"]
    assert abs(moved - timedelta(days=2, hours=17)) < timedelta(seconds=40)
    assert after["total"]["due_at"] == before["total"]["due_at"]
    assert (await close.clock("load"))["due_at"] == DUE
    await close.do("submit", "load", "preparer")
    done = await _durations(close)
    assert {row["state"] for row in done.values()} == {"stopped"}
    assert abs(done["response"]["consumed"] - timedelta(hours=1)) < timedelta(seconds=40)
    assert abs(done["total"]["consumed"] - timedelta(hours=3)) < timedelta(seconds=40)


async def _durations(close: Close) -> dict[str, dict[str, Any]]:
    rows = await close.rows("SELECT * FROM sla_clock WHERE measure = 'duration'")
    return {row["label"]: dict(row) for row in rows}


async def test_what_was_missed_while_nobody_looked_still_fires_after_a_hold(close: Close) -> None:
    await close.run([manual("load")])
    row = await close.row("load")
    async with close.runtime.uow(SYSTEM) as uow:
        calendar_id = await uow.scalar(text("SELECT id FROM calendar"))
        await add_row(
            uow, "sla_policy", code="response", label="response", measure="duration", target=timedelta(hours=1),
            pause_on_hold=True, calendar_id=calendar_id, warn_minutes=30, active=True, protected=False,
        )  # fmt: skip
        await start_duration(uow, policy="response", record_entity="process_run", record_id=row["id"], label="response")
    await close.at(NOON + timedelta(hours=2))
    await close.do("hold", "load", "operations", reason="Waiting", data={"review_by": LATE})
    await close.do("resume", "load", "operations")
    assert (await sweep(close.runtime)).recorded == 2
    assert await close.passed("load") == [("warning", 1, False), ("breach", 1, True)]


async def test_a_page_reads_urgency_as_it_is_now(close: Close) -> None:
    await close.run([manual("load"), manual("check")])
    load = (await close.row("load"))["id"]
    seen = []
    for moment in (NOON, WARN, DUE):
        await close.at(moment)
        async with close.runtime.uow(close.people["preparer"]) as uow:
            seen.append((await clocks_of(uow, record_entity="process_run", record_ids=[load]))[0].urgency)
    assert seen == [Urgency.CALM, Urgency.SOON, Urgency.LATE]
    await sweep(close.runtime)
    await close.do("submit", "load", "preparer")
    async with close.runtime.uow(close.people["preparer"]) as uow:
        view = (await clocks_of(uow, record_entity="process_run", record_ids=[load]))[0]
        history = await thresholds_passed(uow, record_entity="process_run", record_id=load)
    assert view.urgency is Urgency.MISSED
    assert [(item.threshold.value, item.announced) for item in history] == [("breach", True), ("warning", False)]


async def test_clocks_of_another_desk_are_not_seen(close: Close) -> None:
    await close.run([manual("load", node="G10"), manual("check", node="EM")])
    ids = [(await close.row(code))["id"] for code in ("load", "check")]
    trader = await close.person("g10", "preparer", node="G10")
    async with close.runtime.uow(trader) as uow:
        seen = await clocks_of(uow, record_entity="process_run", record_ids=ids)
    assert [view.record_id for view in seen] == [ids[0]]
