"""The rules of a ladder: when each step is told, and what acknowledging and going on do to it."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.calendars.calendars import Window
from app.domain.escalation import ladders
from app.domain.escalation.ladders import EscalationState, Position, Step, Target, course, read_plan
from tests.unit.calendars.samples import office

OFFICE = UUID(int=1)
CALENDARS = {OFFICE: office(windows=(Window(time(9), time(18)),))}
FRIDAY_SIX = datetime(2026, 10, 30, 17, 0, tzinfo=UTC)  # 18:00 in Frankfurt: the office closes

minutes = st.integers(0, 300).map(lambda count: timedelta(minutes=count))
steps = st.builds(
    lambda wait, times, every, calendar: Step(
        wait=wait, target=Target.ROLE, role=UUID(int=9), repeat_times=times, repeat_every=every, calendar=calendar
    ),
    minutes,
    st.integers(0, 3),
    st.integers(1, 120).map(lambda count: timedelta(minutes=count)),
    st.sampled_from([None, OFFICE]),
)
plans = st.lists(steps, min_size=1, max_size=5).map(tuple)
moments = st.integers(0, 1_200_000).map(lambda count: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=count))


def step(wait: int, *, calendar: UUID | None = None, times: int = 0, every: int = 15) -> Step:
    return Step(
        wait=timedelta(minutes=wait),
        target=Target.ROLE,
        role=UUID(int=9),
        calendar=calendar,
        repeat_times=times,
        repeat_every=timedelta(minutes=every),
    )


def test_steps_are_told_one_after_the_other_and_repeated_in_between() -> None:
    plan = (step(0), step(30, times=2, every=10), step(20))
    since = datetime(2026, 10, 30, 18, 0, tzinfo=UTC)
    told = [((t.at - since) // timedelta(minutes=1), t.step, t.told) for t in course(plan, since=since, calendars={})]
    assert told == [(0, 0, 0), (30, 1, 0), (40, 1, 1), (50, 1, 2), (70, 2, 0)]


def test_a_wait_in_working_hours_goes_on_where_the_office_opens_again() -> None:
    plan = (step(30, calendar=OFFICE), step(0, calendar=OFFICE))
    told = course(plan, since=FRIDAY_SIX - timedelta(minutes=10), calendars=CALENDARS)
    assert [t.at for t in told] == [datetime(2026, 11, 2, 8, 20, tzinfo=UTC)] * 2


def test_nobody_is_told_at_the_moment_at_which_the_office_closes() -> None:
    told = course((step(30, calendar=OFFICE),), since=FRIDAY_SIX - timedelta(minutes=30), calendars=CALENDARS)
    assert [t.at for t in told] == [datetime(2026, 11, 2, 8, 0, tzinfo=UTC)]


def test_after_an_outage_the_next_step_waits_from_when_the_late_one_was_told() -> None:
    plan = (step(0), step(30))
    since = datetime(2026, 10, 30, 18, 0, tzinfo=UTC)
    position = ladders.begin(plan, ladders.started(since), {})
    late = since + timedelta(hours=3)
    assert ladders.told(plan, position, now=late, calendars={}).next_at == late + timedelta(minutes=30)
    soon = since + timedelta(seconds=8)
    assert ladders.told(plan, position, now=soon, calendars={}).next_at == since + timedelta(minutes=30)


def test_a_step_that_reaches_nobody_hands_over_at_once() -> None:
    plan = (step(0, times=3), step(30))
    now = datetime(2026, 10, 30, 18, 0, tzinfo=UTC)
    position = ladders.reached_nobody(plan, ladders.begin(plan, ladders.started(now), {}), now=now, calendars={})
    assert (position.step, position.told, position.next_at) == (1, 0, now)
    assert ladders.reached_nobody(plan, position, now=now, calendars={}).next_at is None


@pytest.mark.parametrize(("step_", "told", "again"), [(1, 0, 0), (1, 2, 1), (3, 0, 2), (0, 1, 0)])
def test_it_goes_on_with_the_step_that_was_told_last(step_: int, told: int, again: int) -> None:
    plan = (step(0), step(5, times=3), step(5))
    now = datetime(2026, 10, 30, 18, 0, tzinfo=UTC)
    held = Position(state=EscalationState.ACKNOWLEDGED, step=step_, told=told, round=1, next_at=now)
    position = ladders.rearmed(plan, held, now=now, calendars={})
    expected = Position(state=EscalationState.RUNNING, step=again, told=0, round=2, next_at=now)
    assert position == expected


def test_a_plan_is_read_as_it_was_written() -> None:
    (found,) = read_plan(
        [{"wait_minutes": 5, "target": "group", "group": str(OFFICE), "repeat_times": 2, "repeat_minutes": 7}]
    )
    assert found == Step(
        wait=timedelta(minutes=5),
        target=Target.GROUP,
        group=OFFICE,
        repeat_times=2,
        repeat_every=timedelta(minutes=7),
    )


@given(plan=plans, since=moments)
def test_every_step_is_told_once_and_again_as_often_as_it_says_in_order_and_in_its_hours(
    plan: tuple[Step, ...], since: datetime
) -> None:
    tellings = course(plan, since=since, calendars=CALENDARS)
    expected = [(number, told) for number, each in enumerate(plan) for told in range(each.repeat_times + 1)]
    assert [(t.step, t.told) for t in tellings] == expected
    times = [since, *(t.at for t in tellings)]
    assert times == sorted(times)
    assert all(ladders.within_hours(plan[t.step], t.at, CALENDARS) for t in tellings)


@given(plan=plans, since=moments, data=st.data())
def test_acknowledging_and_going_on_never_skips_a_step_and_never_tells_one_twice_in_a_round(
    plan: tuple[Step, ...], since: datetime, data: st.DataObject
) -> None:
    """Whatever people do in between, who has been told rises by one step at a time, and each telling is its own."""
    now, position = since, ladders.begin(plan, ladders.started(since), CALENDARS)
    seen: set[tuple[int, int, int]] = set()
    highest = -1
    for _ in range(30):
        match data.draw(st.sampled_from(["tick", "tick", "acknowledge", "nobody"])):
            case "acknowledge" if position.state is EscalationState.RUNNING:
                rearm = data.draw(st.none() | st.integers(1, 90).map(lambda m: timedelta(minutes=m)))
                position = ladders.acknowledged(position, now=now, rearm=rearm)
                assert position.next_at == (None if rearm is None else now + rearm)
            case "nobody" | "tick" as what if position.next_at is not None:
                now = max(now, position.next_at)
                if position.state is EscalationState.ACKNOWLEDGED:
                    before = position
                    position = ladders.rearmed(plan, position, now=now, calendars=CALENDARS)
                    assert position.round == before.round + 1
                    assert position.step <= max(before.step, 0)
                    continue
                token = (position.round, position.step, position.told)
                assert token not in seen
                seen.add(token)
                assert position.step <= highest + 1
                highest = max(highest, position.step)
                move = ladders.reached_nobody if what == "nobody" else ladders.told
                position = move(plan, position, now=now, calendars=CALENDARS)
            case _:
                pass
        assert position.next_at is None or position.next_at >= now
    over = ladders.ended(position)
    assert (over.state, over.next_at) == (EscalationState.ENDED, None)
    assert replace(over, state=position.state, next_at=position.next_at) == position
