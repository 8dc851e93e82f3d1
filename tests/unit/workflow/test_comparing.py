"""Two versions of a workflow: what differs, by code, and nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.workflow.comparing import Kind, Part, VersionDiff, compare, in_words, summary
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.package_loader import read_workflow
from tests.unit.workflow.definitions import process


def _stage(code: str, *processes: dict[str, Any], stages: tuple[Any, ...] = (), **values: Any) -> dict[str, Any]:
    return {"code": code, "label": code.title(), "processes": list(processes), "stages": list(stages), **values}


def _workflow(*stages: dict[str, Any], edges: tuple[dict[str, Any], ...] = (), **values: Any) -> WorkflowDefinition:
    head = {"code": "W", "label": "W", "application": "PNL", "calendar": "TARGET"}
    return read_workflow({**head, "stages": list(stages), "dependencies": list(edges), **values})


def _said(diff: VersionDiff) -> list[tuple[str, str, str, list[tuple[str, Any, Any]]]]:
    return [(d.part, d.kind, d.code, [(c.field, c.before, c.after) for c in d.changes]) for d in diff.differences]


BASE = _workflow(
    _stage("s", process("a"), process("b"), process("c")),
    _stage("t", process("d")),
    edges=({"from": "a", "to": "b"},),
)


def test_equal_versions_do_not_differ() -> None:
    assert compare(BASE, BASE).is_empty
    assert summary(compare(BASE, BASE)) == "Nothing differs."


def test_added_and_removed_parts_are_named_with_their_place() -> None:
    after = _workflow(
        _stage("s", process("a"), process("b"), process("new")),
        _stage("t", process("d"), stages=(_stage("u", process("e")),)),
        edges=({"from": "b", "to": "new"},),
    )
    diff = compare(BASE, after)
    assert [(d.part, d.kind, d.code, d.place) for d in diff.differences] == [
        (Part.STAGE, Kind.ADDED, "u", ("", "T")),
        (Part.PROCESS, Kind.ADDED, "new", ("", "S")),
        (Part.PROCESS, Kind.ADDED, "e", ("", "T / U")),
        (Part.PROCESS, Kind.REMOVED, "c", ("S", "")),
        (Part.DEPENDENCY, Kind.ADDED, "b>new", ("", "")),
        (Part.DEPENDENCY, Kind.REMOVED, "a>b", ("", "")),
    ]
    assert summary(diff) == (
        "1 stage added: U. 2 processes added: New, E. 1 process removed: C. 1 dependency added: B → New. "
        "1 dependency removed: A → B."
    )


def test_changed_fields_are_told_one_by_one_with_both_values() -> None:
    changed = process(
        "b", deadline="BD+1 09:00 Europe/Berlin", retry={"max_attempts": 5},
        approval_levels=[{"level": 1, "role": "controller"}, {"level": 2, "role": "desk_head"}],
        evidence=[{"code": "tie_out", "label": "Tie-out"}],
    )  # fmt: skip
    before = _workflow(_stage("s", process("b", approval_levels=[{"level": 1, "role": "operations"}])))
    found = compare(before, _workflow(_stage("s", changed))).differences
    assert [(d.code, d.kind) for d in found] == [("b", Kind.CHANGED)]
    changes = {change.field: (change.before, change.after) for change in found[0].changes}
    assert changes["deadline"] == ("BD+0 18:00 Europe/Berlin", "BD+1 09:00 Europe/Berlin")
    assert changes["retry.max_attempts"] == (3, 5)
    assert changes["approval_levels.1"][0]["role"] == "operations"
    assert changes["approval_levels.1"][1]["role"] == "controller"
    assert changes["approval_levels.2"][0] is None
    assert changes["evidence.tie_out"][1]["label"] == "Tie-out"
    assert len(changes) == 5
    labels = {change.label for change in found[0].changes}
    assert {"Deadline", "Retry, max attempts", "Approval level 1", "Approval level 2", "Evidence tie_out"} == labels
    deadlines = compare(before, _workflow(_stage("s", changed))).deadlines()
    assert [(d.code, c.field) for d, c in deadlines] == [("b", "deadline")]


def test_what_stands_elsewhere_is_moved_and_what_was_pushed_aside_is_not() -> None:
    after = _workflow(
        _stage("t", process("d"), process("b")),
        _stage("s", process("c"), process("a")),
        edges=({"from": "a", "to": "b"},),
    )
    diff = compare(BASE, after)
    moved = {(d.part, d.code) for d in diff.differences if d.moved}
    assert (Part.PROCESS, "b") in moved
    assert len([1 for part, _ in moved if part is Part.STAGE]) == 1
    assert len([1 for part, code in moved if part is Part.PROCESS and code in ("a", "c")]) == 1
    assert all(d.kind is Kind.MOVED for d in diff.differences)
    assert next(d.place for d in diff.differences if d.code == "b") == ("S", "T")


def test_a_dependency_that_changes_is_one_change() -> None:
    before = _workflow(_stage("s", process("a"), process("b")), edges=({"from": "a", "to": "b"},))
    after = _workflow(_stage("s", process("a"), process("b")), edges=({"from": "a", "to": "b", "accepts": ["done"]},))
    found = _said(compare(before, after))
    assert found == [("dependency", "changed", "a>b", [("accepts", ["done", "skipped"], ["done"])])]


def test_the_head_of_the_workflow_is_compared_too() -> None:
    after = BASE.model_copy(update={"label": "New name", "calendar": "LONDON"})
    assert _said(compare(BASE, after)) == [
        ("workflow", "changed", "W", [("label", "W", "New name"), ("calendar", "TARGET", "LONDON")])
    ]


def test_lines_in_another_order_are_told_as_their_order() -> None:
    items = [{"code": "x", "label": "X"}, {"code": "y", "label": "Y"}]
    before = _workflow(_stage("s", process("a", kind="checklist", checklist=items)))
    after = _workflow(_stage("s", process("a", kind="checklist", checklist=items[::-1])))
    assert _said(compare(before, after)) == [("process", "changed", "a", [("checklist", ["x", "y"], ["y", "x"])])]


def test_values_are_said_in_words() -> None:
    assert in_words({"role": "controller", "needed": 2, "deadline": None}) == "role controller, needed 2"
    assert [in_words(v) for v in (None, "", [], True, False, 5, ["done", "skipped"])] == [
        "none", "none", "none", "yes", "no", "5", "done, skipped",
    ]  # fmt: skip


# -- laws --------------------------------------------------------------------------------------------------------------

CODES = ("a", "b", "c", "d", "e")


@st.composite
def definitions(draw: st.DrawFn) -> WorkflowDefinition:
    chosen = draw(st.permutations(CODES))
    used = chosen[: draw(st.integers(1, 5))]
    cut = draw(st.integers(0, len(used)))
    made = [process(code, critical=draw(st.booleans()), expected_minutes=draw(st.integers(1, 3))) for code in used]
    pairs = st.tuples(st.sampled_from(used), st.sampled_from(used)).filter(lambda pair: pair[0] != pair[1])
    edges = draw(st.lists(pairs, max_size=4, unique=True)) if len(used) > 1 else []
    nested = draw(st.booleans())
    inner = _stage("t", *made[cut:])
    stages = (_stage("s", *made[:cut], stages=(inner,)),) if nested else (_stage("s", *made[:cut]), inner)
    return _workflow(*stages, edges=tuple({"from": a, "to": b} for a, b in edges))


def _canonical(definition: WorkflowDefinition) -> Any:
    return definition.model_copy(
        update={"dependencies": tuple(sorted(definition.dependencies, key=lambda e: (e.predecessor, e.successor)))}
    )


@given(one=definitions(), other=definitions())
def test_versions_differ_exactly_where_a_difference_is_told(one: WorkflowDefinition, other: WorkflowDefinition) -> None:
    assert compare(one, other).is_empty == (_canonical(one) == _canonical(other))


@given(one=definitions(), other=definitions())
def test_the_other_way_round_added_is_removed(one: WorkflowDefinition, other: WorkflowDefinition) -> None:
    there, back = compare(one, other), compare(other, one)

    def codes(diff: VersionDiff, kind: Kind) -> set[tuple[Part, str]]:
        return {(d.part, d.code) for d in diff.differences if d.kind is kind}

    assert codes(there, Kind.ADDED) == codes(back, Kind.REMOVED)
    assert codes(there, Kind.REMOVED) == codes(back, Kind.ADDED)
    assert codes(there, Kind.CHANGED) == codes(back, Kind.CHANGED)
