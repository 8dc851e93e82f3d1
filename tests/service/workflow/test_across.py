"""Dependencies on runs of other workflows: binding, passing, alerts, and many at once."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from app.core.errors import ValidationFailed
from app.domain.jobs.outbox import OutboxClaim
from app.domain.workflow.across import settle, take_missing
from app.domain.workflow.automation import release_lagged
from app.domain.workflow.neighbours import Blocked, why_blocked
from app.domain.workflow.run_commands import cancel_run
from app.domain.workflow.runs import create_run
from app.domain.workflow.transitions import transition
from app.domain.workflow.writing import SETTLE_ACROSS
from jobs import dependencies
from models.base import uuid7
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, Bank, Edge, automatic, manual

BEFORE = date(2026, 10, 29)
MONTH_END = date(2026, 9, 30)
AHEAD = date(2030, 10, 30)  # when the grants of the bank are in force


RELEASED_TWICE = """SELECT count(*) FROM (SELECT FROM process_transition WHERE name = 'release'
                    GROUP BY process_run_id HAVING count(*) > 1) doubled"""


def other(process: str = "p", **values: Any) -> Mapping[str, Any]:
    return {"from": process, "to": "s", "workflow": "UP", **values}


async def publish_both(bank: Bank, *edges: Mapping[str, Any], up: Any = None) -> None:
    await bank.publish(up or [manual("p", skip_allowed=True)], code="UP")
    await bank.publish([manual("s"), manual("t")], edges or [other()], code="DOWN")


async def create(bank: Bank, code: str, day: date = DAY, **values: Any) -> UUID:
    async with bank.runtime.uow(SYSTEM) as uow:
        return await create_run(uow, workflow=code, business_date=day, **values)


async def do(bank: Bank, run_id: UUID, name: str, code: str, who: str = "preparer", **values: Any) -> None:
    bank.run_id = run_id
    await bank.do(name, code, who, **values)


async def state(bank: Bank, run_id: UUID, code: str = "s") -> str:
    bank.run_id = run_id
    return await bank.state(code)


async def why(bank: Bank, run_id: UUID, code: str = "s") -> Blocked:
    bank.run_id = run_id
    async with bank.runtime.uow(SYSTEM) as uow:
        return await why_blocked(uow, (await bank.row(code))["id"])


async def work(bank: Bank, *, times: int = 1) -> int:
    """Do the jobs that settle runs, as the worker would, each `times` times; returns how many there were."""
    async with bank.runtime.uow(SYSTEM) as uow:
        rows = (
            await uow.execute(
                text("DELETE FROM outbox WHERE job = :job RETURNING payload::text"), {"job": SETTLE_ACROSS}
            )
        ).scalars()
        payloads = [orjson.loads(row) for row in rows]
    for payload in payloads:
        for _ in range(times):
            claim = OutboxClaim(uuid7(), SETTLE_ACROSS, payload, 1, 5, uuid7(), timedelta(seconds=20))
            await dependencies.settle_across(bank.runtime, payload, claim)
    return len(payloads)


async def test_a_run_that_exists_is_found_and_its_process_releases_when_it_ends(bank: Bank) -> None:
    await publish_both(bank)
    up = await create(bank, "UP")
    down = await create(bank, "DOWN")
    assert await state(bank, down) == "blocked"
    (open_,) = (await why(bank, down)).predecessors
    assert (open_.workflow, open_.run, open_.label, open_.state) == ("Close", "UP-20261030", "P", "ready")
    await work(bank)
    assert await state(bank, down) == "blocked"
    await do(bank, up, "submit", "p")
    assert await state(bank, down) == "blocked"  # another run is never touched in the same transaction
    assert await work(bank, times=2) == 1
    assert await state(bank, down) == "ready"
    assert await bank.count(RELEASED_TWICE) == 0


async def test_a_run_that_does_not_exist_is_waited_for_and_bound_when_it_comes(bank: Bank) -> None:
    await publish_both(bank, other(expected_by="BD+0 18:00 Europe/Berlin"))
    down = await create(bank, "DOWN")
    await work(bank)
    (open_,) = (await why(bank, down)).predecessors
    assert open_.id is None
    said = open_.sentence(lambda at: f"{at:%H:%M}")
    assert said == "No run of Close for 2026-10-30 yet; expected by 17:00."
    up = await create(bank, "UP", BEFORE)
    await work(bank)
    assert (await why(bank, down)).predecessors[0].id is None
    up = await create(bank, "UP")
    await work(bank)
    assert (await why(bank, down)).predecessors[0].state == "ready"
    await do(bank, up, "submit", "p")
    await work(bank)
    assert await state(bank, down) == "ready"


async def test_what_has_ended_already_releases_at_once(bank: Bank) -> None:
    await publish_both(bank)
    up = await create(bank, "UP")
    await do(bank, up, "submit", "p")
    await work(bank)
    down = await create(bank, "DOWN")
    assert await state(bank, down) == "ready"
    assert await work(bank) == 0


@pytest.mark.parametrize(
    ("edge", "day"),
    [
        (other(run_selector="same_date"), DAY),
        (other(run_selector="previous_date"), BEFORE),
        (other(run_selector="period_end"), DAY),  # the last working day of October 2026
    ],
)
async def test_the_selector_says_which_run_is_meant(bank: Bank, edge: Mapping[str, Any], day: date) -> None:
    await publish_both(bank, edge)
    runs = {when: await create(bank, "UP", when) for when in (MONTH_END, BEFORE, DAY)}
    down = await create(bank, "DOWN")
    for when, run_id in runs.items():
        if when != day:
            await do(bank, run_id, "submit", "p")
    await work(bank)
    assert await state(bank, down) == "blocked"
    await do(bank, runs[day], "submit", "p")
    await work(bank)
    assert await state(bank, down) == "ready"


async def test_within_the_month_the_period_end_is_that_of_the_month_before(bank: Bank) -> None:
    await publish_both(bank, other(run_selector="period_end"))
    up = await create(bank, "UP", MONTH_END)
    down = await create(bank, "DOWN", BEFORE)
    await do(bank, up, "submit", "p")
    await work(bank)
    assert await state(bank, down) == "ready"


async def test_the_latest_that_is_done_is_waited_for_until_there_is_one(bank: Bank) -> None:
    await publish_both(bank, other(run_selector="latest_signed"))
    down = await create(bank, "DOWN")
    await work(bank)
    assert "is done yet" in (await why(bank, down)).predecessors[0].sentence(str)
    up = await create(bank, "UP", MONTH_END)
    await work(bank)
    assert await state(bank, down) == "blocked"
    await do(bank, up, "submit", "p")
    await work(bank)
    assert await state(bank, down) == "ready"
    newer = await create(bank, "UP", BEFORE)
    await do(bank, newer, "submit", "p")
    await work(bank)
    second = await create(bank, "DOWN", date(2026, 11, 2))
    bank.run_id = second
    bound = "SELECT count(*) FROM awaited_run WHERE bound_run_id = :run"
    assert (await state(bank, second), await bank.count(bound, run=newer)) == ("ready", 1)


async def test_a_process_may_wait_for_yesterdays_run_of_its_own_workflow(bank: Bank) -> None:
    edges: list[Edge] = [{"from": "b", "to": "a", "workflow": "W", "run_selector": "previous_date"}, ("a", "b")]
    await bank.publish([manual("a"), manual("b")], edges)
    yesterday = await create(bank, "W", BEFORE)
    assert await state(bank, yesterday, "a") == "blocked"
    today = await create(bank, "W")
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE process_edge SET satisfied_at = now() WHERE predecessor_id IS NULL"))
        await uow.execute(text("UPDATE process_run SET state = 'ready', waiting_on = 0 WHERE code = 'a' "
                               "AND run_id = :id"), {"id": yesterday})  # fmt: skip
    await do(bank, yesterday, "submit", "a")
    await do(bank, yesterday, "submit", "b")
    await work(bank)
    assert await state(bank, today, "a") == "ready"


async def test_the_node_of_this_run_is_meant_where_the_dependency_says_so(bank: Bank) -> None:
    await publish_both(bank, other(run_node="same"))
    whole = await create(bank, "UP")
    g10 = await create(bank, "UP", node_id=bank.nodes["G10"])
    down = await create(bank, "DOWN", node_id=bank.nodes["G10"])
    await do(bank, whole, "submit", "p")
    await work(bank)
    assert await state(bank, down) == "blocked"
    await do(bank, g10, "submit", "p")
    await work(bank)
    assert await state(bank, down) == "ready"


async def test_what_the_dependency_does_not_accept_never_passes_and_says_so(bank: Bank) -> None:
    await publish_both(bank, other(accepts=["done"]))
    up = await create(bank, "UP")
    down = await create(bank, "DOWN")
    await do(bank, up, "skip", "p", "operations", reason="Not needed")
    await work(bank)
    (open_,) = (await why(bank, down)).predecessors
    assert (await state(bank, down), open_.impossible) == ("blocked", True)
    assert "waiting will not help" in open_.sentence(str)


async def test_a_cancelled_run_releases_those_that_accept_it(bank: Bank) -> None:
    await publish_both(bank, other(accepts=["done", "cancelled"]))
    up = await create(bank, "UP")
    down = await create(bank, "DOWN")
    async with bank.runtime.uow(SYSTEM) as uow:
        await cancel_run(uow, run_id=up, expected_version=1, reason="No business")
    await work(bank)
    assert await state(bank, down) == "ready"


async def test_a_lag_counts_from_when_the_other_run_was_as_far(bank: Bank) -> None:
    await publish_both(bank, other(lag={"amount": 2, "unit": "hours"}))
    up = await create(bank, "UP")
    await do(bank, up, "submit", "p")
    down = await create(bank, "DOWN")
    (open_,) = (await why(bank, down)).predecessors
    assert open_.lag_ends_at is not None
    assert open_.lag_ends_at - datetime.now(UTC) < timedelta(hours=2)
    async with bank.runtime.uow(SYSTEM, now=open_.lag_ends_at) as uow:
        assert await release_lagged(uow) == 1


@pytest.mark.parametrize(
    ("type_", "name", "free"), [("SS", "start", "begin"), ("FF", "submit", "end"), ("SF", "start", "end")]
)
async def test_the_other_types_reach_across_as_well(bank: Bank, type_: str, name: str, free: str) -> None:
    await publish_both(bank, other(type=type_))
    up = await create(bank, "UP")
    down = await create(bank, "DOWN")
    bank.run_id = down
    column = "waiting_on" if free == "begin" else "finish_waiting_on"
    assert (await bank.row("s"))[column] == 1
    await do(bank, up, name, "p")
    await work(bank)
    bank.run_id = down
    assert ((await bank.row("s"))["waiting_on"], (await bank.row("s"))["finish_waiting_on"]) == (0, 0)


async def test_a_condition_is_asked_of_the_process_in_the_other_run(bank: Bank) -> None:
    condition = {"critical": {"eq": True}}
    await publish_both(bank, other(condition=condition))
    down = await create(bank, "DOWN")
    assert await state(bank, down) == "blocked"  # nobody knows yet
    await create(bank, "UP")
    await work(bank)
    assert await state(bank, down) == "ready"  # there it is not critical, so the dependency does not bind


async def test_a_run_that_does_not_come_is_told_of_once(bank: Bank) -> None:
    await publish_both(bank, other(expected_by="BD+0 18:00 Europe/Berlin"))
    await create(bank, "DOWN", AHEAD)
    late = datetime(2030, 10, 30, 17, 0, tzinfo=UTC)
    for now, told in ((late - timedelta(minutes=1), 0), (late, 1), (late + timedelta(hours=1), 0)):
        async with bank.runtime.uow(SYSTEM, now=now) as uow:
            assert await take_missing(uow) == told
    notices = text("SELECT u.name, n.title, n.body FROM notification n JOIN app_user u ON u.id = n.user_id "
                   "WHERE n.kind = 'warning'")  # fmt: skip
    async with bank.runtime.uow(SYSTEM) as uow:
        rows = (await uow.execute(notices)).all()
    assert {row.title for row in rows} == {"Waits for a run that does not exist: S"}
    assert "No run of Close for 2030-10-30 yet; it was expected by 2030-10-30 17:00 UTC." in rows[0].body
    assert sorted(row.name for row in rows) == ["operations", "preparer", "preparer2"]


async def test_nobody_is_told_of_a_run_that_has_come(bank: Bank) -> None:
    await publish_both(bank, other(expected_by="BD+0 18:00 Europe/Berlin"))
    await create(bank, "DOWN")
    await create(bank, "UP")
    await work(bank)
    async with bank.runtime.uow(SYSTEM, now=datetime(2026, 11, 30, tzinfo=UTC)) as uow:
        assert await take_missing(uow) == 0


async def test_a_renamed_process_is_not_taken_for_done(bank: Bank) -> None:
    await publish_both(bank)
    down = await create(bank, "DOWN")
    await bank.publish([manual("other")], code="UP")
    up = await create(bank, "UP")
    await work(bank)
    await do(bank, up, "submit", "other")
    await work(bank)
    (open_,) = (await why(bank, down)).predecessors
    assert (await state(bank, down), open_.impossible) == ("blocked", True)
    assert open_.sentence(str) == "The run UP-20261030 has no process p: waiting will not help."


async def test_a_circle_through_another_workflow_is_refused(bank: Bank) -> None:
    await bank.publish([manual("p"), manual("q")], [("p", "q")], code="UP")
    await bank.publish([manual("s"), manual("t")], [("s", "t"), other("q")], code="DOWN")
    back = {"from": "t", "to": "p", "workflow": "DOWN"}
    with pytest.raises(ValidationFailed, match="wait for each other") as refused:
        await bank.publish([manual("p"), manual("q")], [("p", "q"), back], code="UP")
    assert "DOWN.t" in refused.value.detail
    yesterday = {**back, "run_selector": "previous_date"}
    await bank.publish([manual("p"), manual("q")], [("p", "q"), yesterday], code="UP")


@pytest.mark.parametrize("round_", range(4))
async def test_however_creation_and_completion_fall_together_each_successor_is_released_once(
    bank: Bank, round_: int
) -> None:
    """Both runs come at once and the predecessor ends at once; whoever commits last leaves the job that finds it."""
    await publish_both(bank, other(), {**other(), "to": "t"}, up=[manual("p"), automatic("x")])
    days = [DAY + timedelta(days=7 * number) for number in range(6)]

    async def upstream(day: date) -> None:
        run_id = await create(bank, "UP", day)
        async with bank.runtime.uow(SYSTEM) as uow:
            id_ = await uow.scalar(
                text("SELECT id FROM process_run WHERE run_id = :run AND code = 'p'"), {"run": run_id}
            )
        async with bank.runtime.uow(bank.people["preparer"]) as uow:
            await transition(uow, process_run_id=id_, name="submit", expected_version=None)

    async def downstream(day: date) -> None:
        await create(bank, "DOWN", day)

    async def worker() -> None:
        for _ in range(30):
            await work(bank)
            await asyncio.sleep(0.005)

    jobs = [run(day) for day in days for run in ((upstream, downstream) if round_ % 2 else (downstream, upstream))]
    await asyncio.gather(*jobs, worker(), worker())
    await work(bank)
    await work(bank)
    released = """SELECT count(*) FROM process_run p JOIN workflow_run r ON r.id = p.run_id
                  WHERE r.reference LIKE 'DOWN%' AND p.state = 'ready' AND p.waiting_on = 0"""
    assert await bank.count(released) == 2 * len(days)
    assert await bank.count(RELEASED_TWICE) == 0


async def test_settling_again_finds_nothing_to_do(bank: Bank) -> None:
    await publish_both(bank)
    up = await create(bank, "UP")
    down = await create(bank, "DOWN")
    await do(bank, up, "submit", "p")
    for released in (1, 0):
        async with bank.runtime.uow(SYSTEM) as uow:
            assert await settle(uow, run_id=down) == released
