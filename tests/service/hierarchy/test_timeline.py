"""Laws of a node's timeline, whatever is done to it and in which order."""

from datetime import date, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import Conflict
from app.domain.hierarchy.timeline import (
    Change,
    NewValues,
    Timeline,
    begun,
    changed,
    difference,
    end_after,
    ended,
    restored,
    version_at,
)

FIRST = date(2024, 1, 2)
PARENTS = [UUID(int=n) for n in range(1, 4)]
days = st.integers(0, 40).map(lambda n: FIRST + timedelta(days=n))
commands = st.lists(
    st.one_of(
        st.tuples(st.just("rename"), days, st.sampled_from(["A", "B", "C"])),
        st.tuples(st.just("move"), days, st.sampled_from(PARENTS)),
        st.tuples(st.just("attribute"), days, st.sampled_from(["EUR", "USD", None])),
        st.tuples(st.just("retire"), days, st.none()),
        st.tuples(st.just("restore"), days, st.sampled_from(PARENTS)),
    ),
    max_size=12,
)


def node(valid_to: date | None = None) -> Timeline:
    attributes = {"currency": "EUR"}
    return begun(parent_id=PARENTS[0], label="A", attributes=attributes, valid_from=FIRST, valid_to=valid_to)


def done(timeline: Timeline, command: tuple[str, date, object]) -> Timeline:
    name, at, value = command
    match name:
        case "rename":
            values, change = NewValues(label=str(value)), Change.RENAMED
        case "move":
            values, change = NewValues(moved=True, parent_id=value), Change.MOVED  # type: ignore[arg-type]
        case "attribute":
            values, change = NewValues(attributes={"currency": value}), Change.CHANGED
        case "retire":
            return ended(timeline, at=at, change=Change.RETIRED, reason=None, code="N")
        case _:
            return restored(timeline, at=at, parent_id=value, reason=None, code="N")  # type: ignore[arg-type]
    return changed(timeline, at=at, values=values, change=change, reason=None, code="N")


@given(commands)
def test_versions_follow_each_other_without_gap_or_overlap(todo: list[tuple[str, date, object]]) -> None:
    timeline = node()
    for command in todo:
        try:
            timeline = done(timeline, command)
        except Conflict:
            continue
        assert timeline[0].valid_from == FIRST
        assert timeline[-1].valid_to is None
        assert all(a.valid_to == b.valid_from > a.valid_from for a, b in pairwise(timeline))


@given(commands, days)
def test_what_was_before_a_change_stays_as_it_was(todo: list[tuple[str, date, object]], day: date) -> None:
    timeline = node()
    for command in todo:
        before = timeline
        try:
            timeline = done(timeline, command)
        except Conflict:
            continue
        if day < command[1]:
            old, new = version_at(before, day), version_at(timeline, day)
            assert old is not None
            assert new is not None
            assert (old.label, old.parent_id, old.attributes, old.in_force) == (
                new.label, new.parent_id, new.attributes, new.in_force
            )  # fmt: skip


def test_a_change_is_carried_into_later_versions_until_they_set_the_same_themselves() -> None:
    timeline = done(node(), ("rename", date(2024, 3, 1), "B"))
    timeline = done(timeline, ("move", date(2024, 4, 1), PARENTS[1]))
    timeline = done(timeline, ("rename", date(2024, 5, 1), "C"))
    timeline = done(timeline, ("attribute", date(2024, 2, 1), "USD"))
    timeline = done(timeline, ("rename", date(2024, 3, 15), "D"))
    shown = [(v.valid_from.isoformat(), v.label, v.parent_id, v.attributes["currency"]) for v in timeline]
    assert shown == [
        ("2024-01-02", "A", PARENTS[0], "EUR"),
        ("2024-02-01", "A", PARENTS[0], "USD"),
        ("2024-03-01", "B", PARENTS[0], "USD"),
        ("2024-03-15", "D", PARENTS[0], "USD"),
        ("2024-04-01", "D", PARENTS[1], "USD"),
        ("2024-05-01", "C", PARENTS[1], "USD"),
    ]


def test_setting_what_is_there_already_changes_nothing() -> None:
    assert done(node(), ("rename", date(2024, 3, 1), "A")) == node()


def test_an_end_lets_fall_what_was_planned_after_it() -> None:
    timeline = done(node(), ("rename", date(2024, 5, 1), "B"))
    timeline = done(timeline, ("retire", date(2024, 4, 1), None))
    assert [(v.change, v.label) for v in timeline] == [(Change.CREATED, "A"), (Change.RETIRED, "A")]
    assert end_after(timeline, FIRST) == date(2024, 4, 1)


def test_an_ended_node_does_not_change() -> None:
    with pytest.raises(Conflict, match="N is not in force on 2024-03-01: it was retired from 2024-02-01 on"):
        done(node(date(2024, 2, 1)), ("rename", date(2024, 3, 1), "B"))


def test_only_the_rows_that_differ_are_written() -> None:
    ids = [UUID(int=9), UUID(int=10)]
    stored = tuple(
        v.__class__(**{**{f: getattr(v, f) for f in v.__slots__}, "id": id_})
        for v, id_ in zip(done(node(), ("rename", date(2024, 3, 1), "B")), ids, strict=True)
    )
    rows = difference(stored, done(stored, ("move", date(2024, 4, 1), PARENTS[1])))
    assert rows.delete == ()
    assert [(v.id, v.valid_to) for v in rows.update] == [(ids[1], date(2024, 4, 1))]
    assert [(v.id, v.parent_id) for v in rows.insert] == [(None, PARENTS[1])]
    assert difference(stored, stored[:1]).delete == (ids[1],)
