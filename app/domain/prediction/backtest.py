"""Would the forecasts have been right? Past runs are replayed, each seen with the history before it and nothing later.

At each moment of a run at which something happened, every open process is forecast from what was known then, and
compared with what happened. What has missed its deadline already is left out: to predict that is no merit.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from app.domain.prediction.curves import PROBABILITIES, Curve, curve_of, guessed_curve
from app.domain.prediction.forecast import forecast
from app.domain.prediction.hours import OpenHours
from app.domain.prediction.picture import Habit, Link, Measure, Picture, Source, StageOfRun, Work
from app.domain.workflow.states import ProcessState

LEAST_OBSERVATIONS = 5
BUCKETS = 10
STEP = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class PastWork:
    """A process as it ended, with its changes of state in order."""

    work: Work
    code: str
    node_id: UUID | None
    expected_minutes: int | None
    changes: Sequence[tuple[datetime, ProcessState]]


@dataclass(frozen=True, slots=True)
class PastRun:
    run_id: UUID
    business_date: date
    midnight: datetime
    started_at: datetime
    finished_at: datetime
    due_at: datetime | None
    works: Sequence[PastWork]
    links: Sequence[Link]
    stages: Sequence[StageOfRun]
    hours: OpenHours


@dataclass(frozen=True, slots=True)
class Bucket:
    """Forecasts of about the same probability: how many there were, what they said, what happened."""

    count: int
    said: float
    happened: float


@dataclass(slots=True)
class Report:
    """`brier`: the mean squared error of P(miss); `brier_of_base_rate`: of always saying how often it happens."""

    said: list[tuple[float, bool]] = field(default_factory=list)
    within_p50: int = 0
    within_p90: int = 0
    finishes: int = 0

    @property
    def base_rate(self) -> float:
        return sum(missed for _, missed in self.said) / len(self.said)

    @property
    def brier(self) -> float:
        return sum((p - missed) ** 2 for p, missed in self.said) / len(self.said)

    @property
    def brier_of_base_rate(self) -> float:
        return self.base_rate * (1.0 - self.base_rate)

    @property
    def coverage_p50(self) -> float:
        return self.within_p50 / self.finishes

    @property
    def coverage_p90(self) -> float:
        return self.within_p90 / self.finishes

    def buckets(self) -> list[Bucket]:
        grouped: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
        for probability, missed in self.said:
            grouped[min(BUCKETS - 1, int(probability * BUCKETS))].append((probability, missed))
        return [
            Bucket(len(found), sum(p for p, _ in found) / len(found), sum(m for _, m in found) / len(found))
            for _, found in sorted(grouped.items())
        ]


def backtest(runs: Sequence[PastRun], *, last: int) -> Report:
    """Replay the `last` of these runs, which come oldest first."""
    report = Report()
    for number in range(max(1, len(runs) - last), len(runs)):
        habits = habits_of(runs[:number])
        for moment in _moments(runs[number]):
            _compare(runs[number], habits, moment, report)
    return report


Key = tuple[str, UUID | None]


def habits_of(runs: Iterable[PastRun]) -> dict[Key, Habit]:
    """How each process at each node has gone in these runs; the same figures as the profiles in the database."""
    seen: defaultdict[tuple[Key, Measure], list[float]] = defaultdict(list)
    for run in runs:
        for past in run.works:
            work = past.work
            if work.state is not ProcessState.DONE or work.finished_at is None:
                continue
            begun = {
                Measure.READY_TO_DONE: work.ready_at,
                Measure.START_TO_DONE: work.started_at,
                Measure.SUBMIT_TO_DONE: work.submitted_at,
                Measure.FINISH_OF_DAY: run.midnight,
            }
            for measure, moment in begun.items():
                if moment is not None and moment <= work.finished_at:
                    seconds = (work.finished_at - moment).total_seconds()
                    seen[(past.code, past.node_id), measure].append(seconds)
    curves: defaultdict[Key, dict[Measure, Curve]] = defaultdict(dict)
    counts: dict[Key, int] = {}
    for (key, measure), values in seen.items():
        if len(values) < LEAST_OBSERVATIONS:
            continue
        values.sort()
        quantiles = [quantile_of(values, probability) for probability in PROBABILITIES]
        of_day = measure is Measure.FINISH_OF_DAY
        curves[key][measure] = curve_of(values[0], quantiles, values[-1], observations=len(values), of_day=of_day)
        counts[key] = max(counts.get(key, 0), len(values))
    return {key: Habit(found, Source.NODE, counts[key]) for key, found in curves.items()}


def quantile_of(rising: Sequence[float], probability: float) -> float:
    """Between the two nearest values, as `percentile_cont` has it."""
    place = probability * (len(rising) - 1)
    below = int(place)
    above = min(below + 1, len(rising) - 1)
    return rising[below] + (rising[above] - rising[below]) * (place - below)


def _moments(run: PastRun) -> list[datetime]:
    changes = {at for past in run.works for at, _ in past.changes if run.started_at <= at < run.finished_at}
    moment = run.started_at
    while moment < run.finished_at:
        changes.add(moment)
        moment += STEP
    return sorted(changes)


def picture_at(run: PastRun, habits: Mapping[Key, Habit], now: datetime) -> Picture:
    """The run as it stood at a moment."""
    works = [_work_at(past, habits, now) for past in run.works]
    states = {work.id: work.state for work in works}
    links = [
        replace(link, satisfied=states[link.predecessor].closed, hopeless=False, met_by=None)
        for link in run.links
        if link.predecessor in states  # what other runs held back is not known any more
    ]
    return Picture(run.run_id, now, run.midnight, run.due_at, works, links, run.stages, run.hours)


def _work_at(past: PastWork, habits: Mapping[Key, Habit], now: datetime) -> Work:
    state = ProcessState.BLOCKED
    for at, to_state in past.changes:
        if at > now:
            break
        state = to_state
    known = habits.get((past.code, past.node_id)) or Habit(
        {Measure.READY_TO_DONE: guessed_curve(60.0 * (past.expected_minutes or 10))}, Source.EXPECTED, 0
    )
    work = past.work

    def so_far(at: datetime | None) -> datetime | None:
        return at if at is not None and at <= now else None

    return replace(
        work,
        state=state,
        habit=known,
        ready_at=so_far(work.ready_at),
        started_at=so_far(work.started_at),
        submitted_at=so_far(work.submitted_at),
        finished_at=so_far(work.finished_at),
    )


def _compare(run: PastRun, habits: Mapping[Key, Habit], now: datetime, report: Report) -> None:
    ahead = forecast(picture_at(run, habits, now))
    if ahead is None:
        return
    for past in run.works:
        work = past.work
        estimate = ahead.processes.get(work.id)
        if estimate is None or work.finished_at is None or work.state is not ProcessState.DONE:
            continue
        finish = estimate.finish
        report.finishes += 1
        report.within_p50 += finish.finish_p50 is None or work.finished_at <= finish.finish_p50
        report.within_p90 += finish.finish_p90 is None or work.finished_at <= finish.finish_p90
        if work.due_at is not None and work.due_at > now and finish.miss is not None:
            report.said.append((finish.miss, work.finished_at > work.due_at))
