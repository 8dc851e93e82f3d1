"""How long a forecast takes, and whether the forecasts of past runs would have been right.

Run with `python -m bench.prediction`; prints one JSON object a line. With STEPS_DATABASE_URL and a workflow's code,
`python -m bench.prediction DFX`, its latest runs are replayed too, each seen with the history before it.
"""

import asyncio
import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.bootstrap import build
from app.core.actor import system_actor
from app.core.settings import Settings
from app.domain.prediction.backtest import backtest
from app.domain.prediction.curves import curve_of
from app.domain.prediction.forecast import forecast
from app.domain.prediction.hours import ALWAYS_OPEN
from app.domain.prediction.past import past_runs
from app.domain.prediction.picture import Habit, Link, Measure, Picture, Source, Work
from app.domain.workflow.states import ProcessState

TARGETS_MS = {16: 20, 500: 100, 10_000: 2_000}
ROUNDS = 5
REPLAYED, LEARNED_FROM = 40, 20
NOW = datetime(2026, 10, 30, 16, tzinfo=UTC)


def picture(count: int) -> Picture:
    """A run in which each process waits for two others; a tenth of it is under way."""
    dice, width = random.Random(count), max(3, count // 50)
    works, links = [], []
    for number in range(1, count + 1):
        median = dice.uniform(60, 900)
        curve = curve_of(median / 2, [median * x for x in (0.6, 0.8, 1, 1.3, 1.7, 2)], median * 4, observations=60)
        habit = Habit({Measure.READY_TO_DONE: curve, Measure.START_TO_DONE: curve}, Source.NODE, 60)
        going = number <= width
        begun = NOW - timedelta(minutes=5) if going else None
        state = ProcessState.IN_PROGRESS if going else ProcessState.BLOCKED
        due = NOW + timedelta(minutes=9 * (number // width) + 20)
        works.append(Work(UUID(int=number), state, None, habit, due_at=due, ready_at=begun, started_at=begun))
        before = {number - width, number - width - dice.randrange(width)}
        links += [Link(UUID(int=each), UUID(int=number)) for each in before if each > 0]
    return Picture(UUID(int=1), NOW, NOW.replace(hour=0), NOW + timedelta(hours=6), works, links, (), ALWAYS_OPEN)


def measure(count: int) -> dict[str, object]:
    """The quickest of some forecasts, in milliseconds of processor time."""
    given = picture(count)
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        forecast(given)
        taken.append(time.process_time() - begun)
    name = f"forecast of {count} processes"
    return {"name": name, "ours_ms": round(min(taken) * 1_000, 1), "target_ms": TARGETS_MS[count]}


async def replay(workflow: str) -> dict[str, object]:
    """What the forecasts of a workflow's latest runs would have been worth."""
    runtime = await build(Settings())
    try:
        async with runtime.uow(system_actor("Bench")) as uow:
            runs = await past_runs(uow, workflow=workflow, limit=REPLAYED + LEARNED_FROM)
    finally:
        await runtime.aclose()
    report = backtest(runs, last=min(REPLAYED, len(runs) - 1))
    return {
        "name": f"forecasts of {workflow}",
        "compared": len(report.said),
        "missed": round(report.base_rate, 4),
        "brier": round(report.brier, 4),
        "brier_of_base_rate": round(report.brier_of_base_rate, 4),
        "within_p50": round(report.coverage_p50, 3),
        "within_p90": round(report.coverage_p90, 3),
        "buckets": [[b.count, round(b.said, 2), round(b.happened, 2)] for b in report.buckets()],
    }


def main() -> None:
    for count in TARGETS_MS:
        print(json.dumps(measure(count)), flush=True)
    for workflow in sys.argv[1:]:
        print(json.dumps(asyncio.run(replay(workflow))), flush=True)


if __name__ == "__main__":
    main()
