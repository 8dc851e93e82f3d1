"""Laws of forecasts, and small graphs whose forecasts can be told by hand."""

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.prediction.curves import PROBABILITIES, Curve, curve_of, guessed_curve
from app.domain.prediction.forecast import Forecast, Reason, forecast
from app.domain.prediction.hours import ALWAYS_OPEN, OpenHours
from app.domain.prediction.picture import Gate, Habit, Link, Measure, Picture, Source, StageOfRun, Work
from app.domain.workflow.states import ProcessState as S

NOW = datetime(2026, 10, 30, 12, tzinfo=UTC)
MIDNIGHT = NOW.replace(hour=0)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def around(median: float, *, observations: int = 100, working: bool = False) -> Curve:
    """A curve about this many minutes, from 80 % to 140 % of it."""
    shares = (0.9, 0.95, 1.0, 1.05, 1.15, 1.2)
    seconds = [median * 60 * share for share in shares]
    return curve_of(median * 48, seconds, median * 84, observations=observations, working=working)


def work(number: int, state: S, usual: float = 10, **values: object) -> Work:
    curve = around(usual)
    habit = Habit({Measure.READY_TO_DONE: curve, Measure.START_TO_DONE: curve}, Source.NODE, 100)
    return replace(Work(UUID(int=number), state, None, habit), **values)  # type: ignore[arg-type]


def picture(works: Sequence[Work], links: Sequence[Link] = (), **values: object) -> Picture:
    return replace(
        Picture(UUID(int=99), NOW, MIDNIGHT, None, works, links, (), ALWAYS_OPEN),
        **values,  # type: ignore[arg-type]
    )


def link(before: int, after: int, gate: Gate = Gate.FS, **values: object) -> Link:
    return replace(Link(UUID(int=before), UUID(int=after), gate), **values)  # type: ignore[arg-type]


def ahead(works: Sequence[Work], links: Sequence[Link] = (), **values: object) -> Forecast:
    found = forecast(picture(works, links, **values))
    assert found is not None
    return found


def finish(found: Forecast, number: int) -> float:
    """Expected finish of a process in minutes from now."""
    at = found.processes[UUID(int=number)].finish.finish_p50
    assert at is not None
    return (at - NOW) / minutes(1)


def test_a_chain_takes_the_sum_and_a_fork_the_longer_way() -> None:
    works = [work(1, S.READY, 10, ready_at=NOW), work(2, S.BLOCKED, 20), work(3, S.BLOCKED, 60), work(4, S.BLOCKED, 5)]
    found = ahead(works, [link(1, 2), link(1, 3), link(2, 4), link(3, 4)])
    assert finish(found, 2) == pytest.approx(30, abs=2)
    assert finish(found, 4) == pytest.approx(75, abs=4)
    assert found.critical_path == (UUID(int=1), UUID(int=3), UUID(int=4))
    assert found.processes[UUID(int=3)].criticality == 1.0
    assert found.processes[UUID(int=2)].criticality == 0.0


def test_each_type_of_dependency_holds_back_what_it_ties() -> None:
    going = work(1, S.IN_PROGRESS, 60, ready_at=NOW, started_at=NOW)
    waits = work(2, S.BLOCKED, 5)
    for gate, expected in ((Gate.FS, 65), (Gate.SS, 5), (Gate.FF, 60), (Gate.SF, 5)):
        found = ahead([going, waits], [link(1, 2, gate)])
        assert finish(found, 2) == pytest.approx(expected, abs=4), gate
        found = ahead([going, waits], [link(1, 2, gate, lag=3_600.0)])
        assert finish(found, 2) == pytest.approx(expected + 60 if gate is not Gate.SF else 60, abs=4), gate


def test_an_advisory_dependency_delays_the_forecast_and_does_not_forbid() -> None:
    works = [work(1, S.IN_PROGRESS, 60, ready_at=NOW, started_at=NOW), work(2, S.READY, 10, ready_at=NOW)]
    assert finish(ahead(works), 2) == pytest.approx(10, abs=1)
    assert finish(ahead(works, [link(1, 2, hard=False)]), 2) == pytest.approx(70, abs=4)
    closed = [replace(works[0], state=S.CANCELLED, finished_at=NOW), works[1]]
    assert finish(ahead(closed, [link(1, 2, hard=False, hopeless=True)]), 2) == pytest.approx(10, abs=1)


def test_nothing_is_expected_before_its_earliest_start_or_the_end_of_a_lag() -> None:
    planned = work(1, S.PLANNED, 10, earliest_start=NOW + minutes(90))
    assert finish(ahead([planned]), 1) == pytest.approx(100, abs=1)
    done = work(2, S.DONE, 10, ready_at=NOW - minutes(10), finished_at=NOW)
    lagged = ahead([done, work(3, S.BLOCKED, 10)], [link(2, 3, met_by=NOW + minutes(45))])
    assert finish(lagged, 3) == pytest.approx(55, abs=1)


def test_what_waits_for_something_that_will_never_come_is_never_expected() -> None:
    works = [work(1, S.CANCELLED, finished_at=NOW), work(2, S.BLOCKED), work(3, S.BLOCKED)]
    due = NOW + minutes(600)
    found = ahead(works, [link(1, 2, hopeless=True), link(2, 3)], due_at=due)
    assert found.run.finish_p50 is None
    assert (found.run.miss, found.run.reason) == (1.0, Reason.IMPOSSIBLE)
    assert found.run.driver == UUID(int=2)
    rejected = ahead([work(1, S.REJECTED, ready_at=NOW), work(2, S.BLOCKED)], [link(1, 2)], due_at=due)
    assert (rejected.run.miss, rejected.run.driver) == (1.0, UUID(int=1))


def test_held_work_goes_on_when_it_is_looked_at_again() -> None:
    held = work(1, S.ON_HOLD, 10, ready_at=NOW - minutes(5), review_by=NOW + minutes(120))
    found = ahead([held], due_at=NOW + minutes(60))
    assert finish(found, 1) == pytest.approx(130, abs=2)
    assert (found.run.miss, found.run.reason) == (1.0, Reason.HELD)


def test_failed_work_is_named_as_failed() -> None:
    found = ahead([work(1, S.FAILED, 30, ready_at=NOW - minutes(90))], due_at=NOW + minutes(10))
    assert (found.run.miss, found.run.reason, found.run.driver) == (1.0, Reason.FAILED, UUID(int=1))


def test_the_driver_is_the_one_that_is_late_and_the_rest_is_what_would_be_without_it() -> None:
    works = [
        work(1, S.DONE, 10, ready_at=NOW - minutes(60), finished_at=NOW - minutes(8)),  # 42 minutes late
        work(2, S.IN_PROGRESS, 10, ready_at=NOW - minutes(8), started_at=NOW - minutes(8)),
        work(3, S.BLOCKED, 20),
    ]
    found = ahead(works, [link(1, 2, satisfied=True), link(2, 3)], due_at=NOW + minutes(15))
    assert found.run.miss == 1.0
    assert (found.run.driver, found.run.reason) == (UUID(int=1), Reason.LATE)
    assert found.run.late == pytest.approx(minutes(42), abs=minutes(0.5))
    assert found.miss_otherwise == 0.0


def test_a_plan_that_is_too_tight_blames_nobody() -> None:
    works = [work(1, S.READY, 60, ready_at=NOW), work(2, S.BLOCKED, 60)]
    found = ahead(works, [link(1, 2)], due_at=NOW + minutes(60))
    assert (found.run.miss, found.run.reason, found.run.driver) == (1.0, Reason.TIGHT, None)


def test_work_that_is_overdue_is_expected_later_the_longer_it_lasts() -> None:
    left = []
    for overdue in (0, 15, 30, 60, 120):
        begun = NOW - minutes(10 + overdue)
        left.append(finish(ahead([work(1, S.IN_PROGRESS, 10, ready_at=begun, started_at=begun)]), 1))
    assert left[1:] == sorted(left[1:])
    assert left[0] > 0


def test_a_feed_is_expected_by_the_clock_and_not_by_how_long_it_was_waited_for() -> None:
    clock = curve_of(57_000, [57_300, 57_450, 57_600, 57_750, 57_900, 58_000], 58_200, observations=60, of_day=True)
    habit = Habit({Measure.READY_TO_DONE: around(300), Measure.FINISH_OF_DAY: clock}, Source.NODE, 60)
    feed = replace(work(1, S.WAITING_EXTERNAL, ready_at=NOW - minutes(60)), habit=habit)
    found = ahead([feed], due_at=MIDNIGHT + minutes(17 * 60))
    assert finish(found, 1) == pytest.approx(4 * 60, abs=3)  # 57,600 seconds are 16:00
    late = forecast(replace(picture([feed], due_at=MIDNIGHT + minutes(17 * 60)), now=MIDNIGHT + minutes(16 * 60 + 40)))
    assert late is not None
    assert late.run.reason is Reason.WAITS
    assert late.run.late == minutes(40)


def test_working_time_passes_over_the_night() -> None:
    hours = OpenHours([-10_800.0, 68_400.0], [10_800.0, 100_800.0], [0.0, 21_600.0])  # until 15:00, from 7:00 on
    habit = Habit({Measure.READY_TO_DONE: around(240, working=True)}, Source.NODE, 100)
    found = ahead([replace(work(1, S.READY, ready_at=NOW), habit=habit)], hours=hours)
    assert finish(found, 1) == pytest.approx(19 * 60 + 60, abs=12)


def test_stages_end_with_what_is_below_them() -> None:
    top, below = UUID(int=50), UUID(int=51)
    works = [
        replace(work(1, S.READY, 10, ready_at=NOW), stage_id=top),
        replace(work(2, S.READY, 40, ready_at=NOW), stage_id=below),
    ]
    due = NOW + minutes(30)
    found = ahead(works, stages=[StageOfRun(top, None, due), StageOfRun(below, top, due)])
    assert found.stages[top].finish_p50 == found.stages[below].finish_p50
    assert found.stages[top].miss == 1.0
    assert found.run.finish_p50 == found.stages[top].finish_p50


def test_a_finished_run_has_no_forecast() -> None:
    assert forecast(picture([work(1, S.DONE, ready_at=NOW, finished_at=NOW)])) is None


def test_the_same_picture_gives_the_same_forecast() -> None:
    works = [work(1, S.READY, 10, ready_at=NOW), *(work(number, S.BLOCKED, 10) for number in range(2, 9))]
    links = [link(number, number + 1) for number in range(1, 8)]
    assert ahead(works, links) == ahead(works, links)


@st.composite
def graphs(draw: st.DrawFn) -> Picture:
    count = draw(st.integers(2, 9))
    works, links = [], []
    for number in range(1, count + 1):
        before = draw(st.lists(st.integers(1, number - 1), unique=True, max_size=3)) if number > 1 else []
        gates = [draw(st.sampled_from(list(Gate))) for _ in before]
        links += [link(b, number, gate) for b, gate in zip(before, gates, strict=True)]
        state = S.BLOCKED if before else S.READY
        ready = None if before else NOW - minutes(draw(st.integers(0, 60)))
        due = NOW + minutes(draw(st.integers(1, 240)))
        works.append(work(number, state, draw(st.integers(1, 90)), ready_at=ready, due_at=due))
    return picture(works, links, due_at=NOW + minutes(draw(st.integers(1, 400))))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_laws_of_every_graph(given_picture: Picture) -> None:
    found = forecast(given_picture)
    assert found is not None
    latest = max(each.finish.finish_p50 for each in found.processes.values() if each.finish.finish_p50)
    assert found.run.finish_p50 is not None
    assert found.run.finish_p90 is not None
    assert latest <= found.run.finish_p50 <= found.run.finish_p90
    for each in found.processes.values():
        assert each.finish.finish_p50 is not None
        assert each.finish.finish_p50 >= NOW
        assert each.finish.miss is not None
        assert 0.0 <= each.finish.miss <= 1.0
        assert 0.0 <= each.criticality <= 1.0
    ends = {UUID(int=0): NOW} | {id_: each.finish.finish_p50 for id_, each in found.processes.items()}
    for each_link in given_picture.links:
        if each_link.gate in (Gate.FS, Gate.FF) and each_link.predecessor is not None:
            assert ends[each_link.successor] >= ends[each_link.predecessor]  # type: ignore[operator]
    assert len(set(found.critical_path)) == len(found.critical_path) >= 1


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 120))
def test_a_later_deadline_is_never_missed_more_often(given_picture: Picture, later: int) -> None:
    assert given_picture.due_at is not None
    first = forecast(given_picture)
    second = forecast(replace(given_picture, due_at=given_picture.due_at + minutes(later)))
    assert first is not None
    assert second is not None
    assert first.run.miss is not None
    assert second.run.miss is not None
    assert second.run.miss <= first.run.miss


spans = st.lists(st.floats(1, 100_000), min_size=5, max_size=60)


@given(spans, st.floats(0, 200_000))
def test_laws_of_every_curve(seconds: list[float], passed: float) -> None:
    rising = sorted(seconds)
    quantiles = [rising[int(p * (len(rising) - 1))] for p in PROBABILITIES]
    curve = curve_of(rising[0], quantiles, rising[-1], observations=len(rising))
    points = curve.points(64)
    assert len(points) == 64
    assert points == sorted(points)
    assert points[0] >= rising[0]
    left = curve.points(64, after=passed)
    assert len(left) == 64
    assert all(one <= other * (1 + 1e-9) for one, other in pairwise(left))
    assert left[0] >= passed or passed <= rising[0]
    # Knowing that it lasts already never brings its end forward.
    assert all(later >= earlier * (1 - 1e-6) for earlier, later in zip(points, left, strict=True))
    assert curve.share_below(curve.quantile(0.5)) == pytest.approx(0.5, abs=0.02)


def test_work_without_history_is_expected_about_as_long_as_planned() -> None:
    curve = guessed_curve(1_800)
    assert curve.median == pytest.approx(1_800)
    assert curve.quantile(0.9) > 3_000


def _large(count: int, width: int) -> Picture:
    dice = random.Random(1)
    works, links = [], []
    for number in range(1, count + 1):
        going = number <= width
        due = NOW + minutes(8 * (number // width) + 30)
        begun = NOW - minutes(5) if going else None
        state = S.IN_PROGRESS if going else S.BLOCKED
        works.append(work(number, state, dice.uniform(1, 15), ready_at=begun, started_at=begun, due_at=due))
        links += [link(b, number) for b in {number - width, number - width - dice.randrange(width)} if b > 0]
    return picture(works, links, due_at=NOW + minutes(300))


@pytest.mark.parametrize(("count", "width", "seconds"), [(500, 25, 0.25), (10_000, 100, 4.0)])
def test_large_runs_are_forecast_in_time(count: int, width: int, seconds: float) -> None:
    # Twice what it takes on a machine that has nothing else to do.
    given_picture = _large(count, width)
    forecast(given_picture)
    taken = []
    for _ in range(3):
        begun = time.process_time()
        forecast(given_picture)
        taken.append(time.process_time() - begun)
    assert min(taken) < seconds
