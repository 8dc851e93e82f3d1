"""A changed calendar moves the open deadlines that stand where it had put them, and nothing else."""

from datetime import UTC, date, datetime, time, timedelta
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.domain.calendars import drafts
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_in_force
from app.domain.calendars.versions import publish_version
from app.domain.jobs.attempts import JobState
from app.domain.sla import recalculation
from app.domain.sla.durations import start_duration
from app.domain.sla.recalculation_preview import preview_of
from app.domain.sla.sweep import sweep
from models.base import uuid7
from tests.factories import SYSTEM, add_row
from tests.service.sla.close import DUE, Close
from tests.service.workflow.bank import DAY, manual, reviewed

MONDAY = datetime(2026, 11, 2, 17, 0, tzinfo=UTC)


async def _draft(close: Close, *days: date) -> UUID:
    async with close.runtime.uow(SYSTEM) as uow:
        calendar = await uow.scalar(text("SELECT id FROM calendar WHERE code = 'TARGET'"))
        version = await drafts.new_draft(uow, calendar_id=calendar)
        for day in days:
            await drafts.add_days(uow, version_id=version, first=day, kind="holiday", label="Bank closed")
    return version


async def _publish(close: Close, version: UUID, reason: str = "Closed by decree") -> None:
    async with close.runtime.uow(SYSTEM) as uow:
        await publish_version(uow, version_id=version, reason=reason)


async def _dues(close: Close) -> dict[str, datetime]:
    found = await close.rows("SELECT code, due_at FROM process_run")
    return {row["code"]: row["due_at"] for row in found}


async def test_an_open_deadline_moves_with_its_clock_its_run_and_an_entry_each(close: Close) -> None:
    await close.run(
        [manual("load"), manual("check", deadline="BD+1 18:00 Europe/Berlin"), manual("tidy", deadline=None)]
    )
    await _publish(close, await _draft(close, DAY))
    assert await _dues(close) == {"load": MONDAY, "check": MONDAY, "tidy": None}
    load = await close.clock("load")
    assert (load["due_at"], load["warn_at"], load["next_fire_at"]) == (MONDAY, *[MONDAY - timedelta(minutes=30)] * 2)
    assert (load["generation"], load["next_threshold"], load["target"]) == (2, "warning", MONDAY - load["started_at"])
    assert (await close.the_run())["due_at"] == MONDAY
    entries = await close.rows(
        "SELECT entity, record_id, before, after, reason FROM audit_entry WHERE command = 'calendar.recalculate'"
        " ORDER BY sequence"
    )
    told = [(row["entity"], row["record_id"]) for row in entries]
    process = (await close.row("load"))["id"]
    assert told.count(("process_run", process)) == 2  # the process, and its clock
    assert entries[0]["reason"] == "Closed by decree"
    assert (entries[0]["before"], entries[0]["after"]) == (
        {"due_at": DUE.isoformat()}, {"due_at": MONDAY.isoformat()},
    )  # fmt: skip
    assert told[-1][0] == "calendar_version"


async def test_the_preview_says_what_publishing_then_does(close: Close) -> None:
    await close.run([manual("load"), manual("check", deadline="BD+1 18:00 Europe/Berlin")])
    version = await _draft(close, DAY)
    async with close.runtime.uow(SYSTEM) as uow:
        preview = await preview_of(uow, version_id=version)
    assert (preview.total, preview.later, preview.earlier, preview.late_at_once) == (1, 1, 0, 0)
    assert preview.first_day == DAY
    (row,) = preview.rows
    assert (row.entity, row.old, row.new, row.minutes) == ("process_run", DUE, MONDAY, 3 * 1440)
    assert row.label.startswith("Load")
    assert await _dues(close) == {"load": DUE, "check": MONDAY}  # to look moves nothing


async def test_who_may_not_see_a_record_learns_of_it_as_a_number_only(close: Close) -> None:
    await close.run([manual("load")])
    version = await _draft(close, DAY)
    async with close.runtime.uow(close.actor("preparer", application="PLATFORM")) as uow:
        preview = await preview_of(uow, version_id=version)
    assert (preview.total, preview.hidden, preview.rows) == (1, 1, ())
    async with close.runtime.uow(close.people["operations"]) as uow:
        preview = await preview_of(uow, version_id=version)
    assert (preview.total, preview.hidden, len(preview.rows)) == (1, 0, 1)


async def test_what_is_done_or_was_set_by_hand_stays_where_it_is(close: Close) -> None:
    await close.run([manual("done"), manual("agreed"), manual("open")])
    await close.do("submit", "done", "preparer")
    agreed = DUE + timedelta(hours=1)
    async with close.runtime.uow(SYSTEM) as uow:
        for table, column in (("process_run", "id"), ("sla_clock", "record_id")):
            await uow.execute(
                text(f"UPDATE {table} SET due_at = :due WHERE {column} = :id"),
                {"due": agreed, "id": (await close.row("agreed"))["id"]},
            )
    frozen = await close.clock("done")
    await _publish(close, await _draft(close, DAY))
    assert await _dues(close) == {"done": DUE, "agreed": agreed, "open": MONDAY}
    assert await close.clock("done") == frozen
    assert (await close.clock("agreed"))["due_at"] == agreed


async def test_a_deadline_that_moves_into_the_past_is_breached_by_the_next_sweep(close: Close) -> None:
    await close.run([manual("load", deadline="WD+1 18:00 Europe/Berlin")])
    due = (await close.row("load"))["due_at"]
    assert due == MONDAY
    version = await _draft(close)
    async with close.runtime.uow(SYSTEM) as uow:
        await drafts.add_days(
            uow, version_id=version, first=date(2026, 10, 31), kind="special_hours", label="Quarter end",
            opens_at=time(9, 0), closes_at=time(18, 0),
        )  # fmt: skip
        await drafts.add_days(
            uow, version_id=version, first=date(2026, 11, 1), kind="special_hours", label="Quarter end",
            opens_at=time(9, 0), closes_at=time(18, 0),
        )  # fmt: skip
    await close.at(datetime(2026, 11, 1, 18, 0, tzinfo=UTC))
    async with close.runtime.uow(SYSTEM) as uow:
        assert (await preview_of(uow, version_id=version)).late_at_once == 1
    await _publish(close, version)
    assert (await close.row("load"))["due_at"] == MONDAY - timedelta(days=1)
    await sweep(close.runtime)
    clock = await close.clock("load")
    assert clock["breached_at"] == MONDAY - timedelta(days=1)


async def test_a_breach_stays_on_record_when_the_deadline_moves_later(close: Close) -> None:
    await close.run([manual("load")])
    await close.at(DUE + timedelta(hours=1))
    await sweep(close.runtime)
    await _publish(close, await _draft(close, DAY))
    clock = await close.clock("load")
    assert (clock["due_at"], clock["breached_at"], clock["generation"]) == (MONDAY, DUE, 2)
    assert clock["next_fire_at"] == MONDAY - timedelta(minutes=30)
    await close.at(MONDAY + timedelta(minutes=1))
    await sweep(close.runtime)
    assert ("breach", 2, True) in await close.passed("load")


async def _duration(close: Close, target: timedelta, label: str = "Response") -> UUID:
    async with close.runtime.uow(SYSTEM) as uow:
        calendar = await uow.scalar(text("SELECT id FROM calendar WHERE code = 'TARGET'"))
        policies = uow.table("sla_policy")
        if await uow.scalar(select(policies.c.id).where(policies.c.code == "response")) is None:
            await add_row(
                uow, "sla_policy", code="response", label="Response", measure="duration", target=target,
                pause_on_hold=True, warn_minutes=60, active=True, protected=False, calendar_id=calendar,
            )  # fmt: skip
        return await start_duration(uow, policy="response", record_entity="process_run", record_id=uuid7(), label=label)


async def test_a_clock_of_working_time_is_due_after_what_is_left_of_its_target(close: Close) -> None:
    clock = await _duration(close, timedelta(hours=8))  # from Friday 13:00 in Frankfurt: Monday 12:00
    (before,) = await close.rows("SELECT * FROM sla_clock WHERE id = :id", id=clock)
    assert before["due_at"].replace(second=0, microsecond=0) == datetime(2026, 11, 2, 11, 0, tzinfo=UTC)
    version = await _draft(close, date(2026, 11, 2))
    async with close.runtime.uow(SYSTEM) as uow:
        assert (await preview_of(uow, version_id=version)).total == 1
    await _publish(close, version)
    (after,) = await close.rows("SELECT * FROM sla_clock WHERE id = :id", id=clock)
    assert after["due_at"] == before["due_at"] + timedelta(days=1)
    assert after["warn_at"] == after["next_fire_at"] == before["warn_at"] + timedelta(days=1)
    assert (after["target"], after["generation"]) == (before["target"], 2)


async def test_many_deadlines_are_moved_by_a_job_in_portions(close: Close, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalculation, "AT_ONCE", 3)
    await close.run([manual(f"p{number}") for number in range(7)])
    await _publish(close, await _draft(close, DAY))
    assert set((await _dues(close)).values()) == {DUE}
    (job,) = await close.rows("SELECT * FROM job_run WHERE function = 'sla.recalculate'")
    assert job["state"] == JobState.QUEUED
    async with close.runtime.uow(SYSTEM) as uow:
        arguments = {name: UUID(value) for name, value in job["arguments"].items() if name.endswith("_id")}
        change = await recalculation.change_of(
            uow, calendar_id=arguments["calendar_id"], before=arguments["previous_id"], after=arguments["version_id"]
        )
        work = recalculation.Recalculation(uow, change, "Closed", {})
        portions = []
        while (done := await work.next(3)).total:
            portions.append((done.processes, done.clocks))
            await uow.checkpoint()
    assert portions == [(3, 3), (3, 3), (1, 1)]
    assert set((await _dues(close)).values()) == {MONDAY}


async def test_the_levels_of_an_approval_move_with_their_process(close: Close) -> None:
    level = {"level": 1, "role": "controller", "deadline": "BD+0 12:00 Europe/Berlin"}
    await close.run([{**reviewed("check"), "approval_levels": [level]}])
    before = (await close.row("check"))["level_due"]
    await _publish(close, await _draft(close, DAY))
    after = (await close.row("check"))["level_due"]
    assert (before.keys(), after.keys()) == ({"1"}, {"1"})
    assert datetime.fromisoformat(after["1"]) - datetime.fromisoformat(before["1"]) == timedelta(days=3)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_change_moves_open_clocks_only_and_each_to_what_its_formula_says(close: Close, seed: int) -> None:
    """A law over drawn holidays: afterwards each open deadline is its formula under the new calendar."""
    random = Random(seed)
    formulas = [f"{anchor}{offset:+d} {at} {zone}" for anchor, offset, at, zone in _FORMULAS]
    await close.run([manual(f"p{n}", deadline=formula) for n, formula in enumerate(formulas)])
    for n in _DONE:
        await close.do("submit", f"p{n}", "preparer")
    stopped = "SELECT * FROM sla_clock WHERE state = 'stopped' ORDER BY id"
    frozen, kept = await close.rows(stopped), await _dues(close)
    for _ in range(2):
        drawn = random.sample([date(2026, 10, 20) + timedelta(days=n) for n in range(24)], 7)
        await _publish(close, await _draft(close, *drawn))
        async with close.runtime.uow(SYSTEM) as uow:
            calendar = await calendar_in_force(uow, "TARGET")
        dues = await _dues(close)
        clocks = {row["code"]: row["due_at"] for row in await close.rows(_CLOCKS)}
        for n, formula in enumerate(formulas):
            if n not in _DONE:
                wanted = parse_deadline(formula).resolve(DAY, calendar)
                assert (dues[f"p{n}"], clocks[f"p{n}"]) == (wanted, wanted), formula
        assert await close.rows(stopped) == frozen
        assert [dues[f"p{n}"] for n in _DONE] == [kept[f"p{n}"] for n in _DONE]


_DONE = (1, 4)
_CLOCKS = "SELECT c.due_at, p.code FROM sla_clock c JOIN process_run p ON p.id = c.record_id"
_FORMULAS: list[tuple[str, int, str, str]] = [
    ("BD", 0, "18:00", "Europe/Berlin"),
    ("BD", 0, "19:00", "Europe/London"),
    ("BD", 2, "09:00", "America/New_York"),
    ("BD", -3, "18:00", "Europe/Berlin"),
    ("WD", 1, "18:00", "Europe/Berlin"),
    ("WD", 3, "02:30", "Europe/Berlin"),
    ("WD", -1, "18:00", "Asia/Tokyo"),
    ("WD", -5, "18:00", "Europe/London"),
]
