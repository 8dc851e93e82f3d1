"""Random acyclic graphs with every type of dependency, under random commands of four at once, on a clock of their own.

However the commands fall together: nothing begins or is completed before its hard edges allow, everything is released
once, the counters agree with the edges and the edges with the model, and whatever stands still says why.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from app.bootstrap import Runtime
from app.core.errors import StaleVersion, TransitionRefused
from app.domain.calendars.calendars import WorkingCalendar
from app.domain.calendars.store import calendar_in_force
from app.domain.workflow.automation import begin_automatic, fail_automatic, finish_automatic, release_lagged
from app.domain.workflow.edges import LagTime, LagUnit
from app.domain.workflow.neighbours import why_blocked
from app.domain.workflow.runs import create_run
from app.domain.workflow.transitions import transition
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, automatic, manual, reviewed
from tests.service.workflow.gate_model import Event, ModelEdge, broken, lives, satisfied

WORKERS = 4
STEPS = 130
CHECKERS = 12
BEGIN = datetime(2030, 10, 30, 8, 0, tzinfo=UTC)
ACCEPTS = (
    ("done", "skipped"),
    ("done",),
    ("done", "skipped", "cancelled"),
    ("done", "failed"),
    ("skipped", "cancelled"),
)
LAGS = ((5, "minutes"), (1, "hours"), (20, "working_minutes"), (1, "days"))
CLOSED = ("done", "skipped", "cancelled")
UNSATISFIED = """
SELECT p.code, p.waiting_on, coalesce(p.finish_waiting_on, 0) AS ends, coalesce(p.soft_waiting_on, 0) AS softs,
       count(e.id) FILTER (WHERE e.hardness = 'hard' AND e.edge_type IN ('FS', 'SS')) AS starts_open,
       count(e.id) FILTER (WHERE e.hardness = 'hard' AND e.edge_type IN ('FF', 'SF')) AS ends_open,
       count(e.id) FILTER (WHERE e.hardness = 'soft') AS softs_open
FROM process_run p LEFT JOIN process_edge e ON e.successor_id = p.id AND e.satisfied_at IS NULL
GROUP BY p.id
"""
HISTORY = """
SELECT p.code, t.name, t.to_state, t.at FROM process_transition t JOIN process_run p ON p.id = t.process_run_id
ORDER BY t.id
"""
RELEASED_TWICE = """
SELECT count(*) FROM (SELECT FROM process_transition WHERE name = 'release' GROUP BY process_run_id
                      HAVING count(*) > 1) doubled
"""


def random_graph(dice: random.Random) -> tuple[list[dict[str, Any]], list[Mapping[str, Any]]]:
    """Edges lead from earlier to later processes only, so that there is no circle, whatever their types."""
    makers = (manual, manual, reviewed, approval, automatic)
    codes = [f"p{number}" for number in range(dice.randint(6, 13))]
    processes = [
        dice.choice(makers)(code, skip_allowed=True, deadline=f"BD+{5 * number} 18:00 Europe/Berlin")
        for number, code in enumerate(codes)
    ]
    edges: list[Mapping[str, Any]] = []
    for number, after in enumerate(codes):
        for before in codes[:number]:
            for type_ in dice.sample(("FS", "SS", "FF", "SF"), dice.choice((0, 0, 0, 1, 1, 2))):
                edge: dict[str, Any] = {"from": before, "to": after, "type": type_}
                edge["hardness"] = dice.choice(("hard", "hard", "hard", "soft", "advisory"))
                edge["accepts"] = list(dice.choices(ACCEPTS, (8, 4, 4, 3, 1))[0])
                if set(edge["accepts"]) == {"done", "failed"} and dice.random() < 0.5:
                    edge["accepts"].append("skipped")
                if dice.random() < 0.3:
                    amount, unit = dice.choice(LAGS)
                    edge["lag"] = {"amount": amount, "unit": unit}
                edges.append(edge)
    return processes, edges


def model_of(edges: list[Mapping[str, Any]], calendar: WorkingCalendar) -> list[ModelEdge]:
    def lag_of(given: Mapping[str, Any] | None) -> Callable[[datetime], datetime] | None:
        if given is None:
            return None
        lag = LagTime(given["amount"], LagUnit(given["unit"]))
        return lambda at: lag.after(at, calendar)

    return [
        ModelEdge(e["from"], e["to"], e["type"], e["hardness"], frozenset(e["accepts"]), lag_of(e.get("lag")))
        for e in edges
    ]


class Desk:
    """Four workers on one run. The clock moves only while nobody is at work, so that each sees the time as it is."""

    def __init__(self, bank: Bank, dice: random.Random) -> None:
        self.bank = bank
        self.dice = dice
        self.now = BEGIN
        self.busy = asyncio.Semaphore(WORKERS)
        self.ticking = asyncio.Lock()

    async def work(self) -> None:
        for _ in range(STEPS):
            if self.dice.random() < 0.12:
                await self.tick(timedelta(minutes=self.dice.choice((1, 6, 61, 600))))
                continue
            rows = [row for row in await self.rows() if row["state"] not in (*CLOSED, "blocked")]
            if not rows:
                continue
            async with self.busy:
                # Somebody was faster, or a gate is closed: what must not be is looked for in the history.
                with suppress(StaleVersion, TransitionRefused):
                    await self.step(self.dice.choice(rows))

    async def tick(self, by: timedelta) -> None:
        async with self.ticking:
            for _ in range(WORKERS):
                await self.busy.acquire()
            self.now += by
            for _ in range(WORKERS):
                self.busy.release()
        async with self.busy, self.bank.runtime.uow(SYSTEM, now=self.now) as uow:
            await release_lagged(uow)

    async def rows(self) -> list[Mapping[str, Any]]:
        async with self.bank.runtime.uow(SYSTEM) as uow:
            table = uow.table("process_run")
            return [dict(row) for row in (await uow.execute(select(table).order_by(table.c.rank))).mappings()]

    async def step(self, row: Mapping[str, Any]) -> None:
        dice, state = self.dice, row["state"]
        if dice.random() < 0.06:
            await self.do(row, "skip", "operations", reason="By chance")
        elif dice.random() < 0.03:
            await self.do(row, "cancel", "operations", reason="By chance")
        elif row["kind"] == "automatic":
            await self.automatic(row)
        elif state == "in_review":
            who = self.checker(row)
            reason = dice.choice((None, "Cannot wait"))
            await (
                self.do(row, "reject", who, reason="By chance")
                if dice.random() < 0.2 and row["round"] < 4
                else self.do(row, "approve", who, reason=reason)
            )
        elif state in ("ready", "assigned", "in_progress"):
            name = "start" if state != "in_progress" and dice.random() < 0.5 else "submit"
            await self.do(row, name, "preparer", reason=dice.choice((None, "Cannot wait")))

    async def automatic(self, row: Mapping[str, Any]) -> None:
        if row["state"] == "failed":
            await self.do(row, "retry", "operations")
            return
        async with self.bank.runtime.uow(SYSTEM, now=self.now) as uow:
            if row["state"] == "ready":
                await begin_automatic(uow, row["id"])
            elif row["state"] == "in_progress" and self.dice.random() < 0.2:
                await fail_automatic(uow, row["id"], "By chance")
            elif row["state"] == "in_progress":
                await finish_automatic(uow, row["id"], "f")

    def checker(self, row: Mapping[str, Any]) -> str:
        """One who had no part in it: those further up the graph may have had."""
        taken = {*(row["makers"] or ()), *(row["signers"] or ())}
        return next(f"checker{n}" for n in range(CHECKERS) if str(self.bank.people[f"checker{n}"].id) not in taken)

    async def do(self, row: Mapping[str, Any], name: str, who: str, **values: Any) -> None:
        async with self.bank.runtime.uow(self.bank.people[who], now=self.now) as uow:
            await transition(uow, process_run_id=row["id"], name=name, expected_version=row["row_version"], **values)


@pytest.mark.parametrize("seed", range(8))
async def test_four_workers_on_a_random_graph_keep_every_law(runtime: Runtime, seed: int) -> None:
    dice = random.Random(seed)
    bank = await Bank(runtime).build()
    for number in range(CHECKERS):
        await bank.person(f"checker{number}", "controller")
    processes, edges = random_graph(dice)
    await bank.publish(processes, edges)
    async with runtime.uow(SYSTEM, now=BEGIN) as uow:
        bank.run_id = await create_run(uow, workflow="W", business_date=BEGIN.date())
        calendar = await calendar_in_force(uow, "TARGET")
    desk = Desk(bank, dice)
    await asyncio.gather(*(desk.work() for _ in range(WORKERS)))
    await desk.tick(timedelta(days=3))

    async with runtime.uow(SYSTEM) as uow:
        events: list[Event] = [tuple(row) for row in await uow.execute(text(HISTORY))]
        counted = (await uow.execute(text(UNSATISFIED))).all()
    assert isinstance(calendar, WorkingCalendar)
    model = model_of(edges, calendar)
    assert broken(model, events) == []
    assert await bank.count(RELEASED_TWICE) == 0
    for row in counted:
        assert (row.waiting_on, row.ends, row.softs) == (row.starts_open, row.ends_open, row.softs_open), row.code
    histories = lives(events)
    expected = sum(not satisfied(edge, histories, desk.now) for edge in model)
    assert await bank.count("SELECT count(*) FROM process_edge WHERE satisfied_at IS NULL") == expected
    await _what_stands_still_says_why(bank, desk)


async def _what_stands_still_says_why(bank: Bank, desk: Desk) -> None:
    rows = await desk.rows()
    for row in rows:
        if row["state"] not in ("blocked", "waiting_external"):
            continue
        async with bank.runtime.uow(SYSTEM) as uow:
            blocked = await why_blocked(uow, row["id"])
        assert blocked.predecessors, f"{row['code']} is {row['state']} and nobody can say why"
        assert all(each.sentence(str) for each in blocked.predecessors)
    run = await bank.the_run()
    assert run["open_count"] == sum(row["state"] not in CLOSED for row in rows)
    assert (run["state"] == "done") is (run["open_count"] == 0)
