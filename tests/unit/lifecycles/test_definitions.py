"""What a lifecycle can be, whatever the entity is, and what the linter finds for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from admin_views.lifecycle_diagram import diagram
from admin_views.lifecycle_form import code_of, definition_from, rows_of
from app.core.findings import Severity
from app.domain.lifecycles.linter import Surroundings, lint
from models.lifecycle import LifecycleDef
from models.registry import Registry

SIMPLE: dict[str, Any] = {
    "code": "simple",
    "states": [{"name": "open", "category": "draft"}, {"name": "closed", "category": "final"}],
    "transitions": [{"name": "close", "from": "open", "to": "closed"}],
}
EFFECTS: list[dict[str, Any]] = [
    {"kind": "set_field", "field": "late", "value": True},
    {"kind": "set_field", "field": "note", "value": "$now"},
    {"kind": "set_field", "field": "trader", "value": None},
    {"kind": "notify", "to": ["$creator", "controller"], "subject": "{title}"},
    {"kind": "create_record", "entity": "trade", "values": {"book": "$record.book", "late": False}},
    {"kind": "start_run", "workflow": "W", "business_date": "trade_date"},
    {"kind": "emit", "event": "x"},
]
CATEGORIES = ("draft", "active", "waiting", "final", "void")


@st.composite
def lifecycles(draw: st.DrawFn) -> LifecycleDef:
    """Any lifecycle of trades: states that can be reached or not, steps with all they can say."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True))
    some = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)
    states = [
        {"name": name, "label": draw(st.sampled_from((name.upper(), "A longer label of it"))),
         "category": draw(st.sampled_from(CATEGORIES)), "colour": draw(st.sampled_from((None, "done"))),
         "editable_by": draw(st.sampled_from((None, [], ["preparer"])))}
        for name in names
    ]  # fmt: skip
    one = st.sampled_from
    transitions = [
        {
            "name": f"t{number}",
            "label": f"Step {number}",
            "from": draw(some),
            "to": draw(one(names)),
            "roles": draw(one(([], ["preparer", "controller"]))),
            "tone": draw(one(("neutral", "danger"))),
            "guard": draw(one((None, {"quantity": {"gt": "0"}}, {"or": [{"late": True}, {"book.code": "X"}]}))),
            "rule": draw(one((None, "limits"))),
            "require_comment": draw(st.booleans()),
            "require_fields": draw(one(([], ["trader"]))),
            "activities": draw(one(([], ["X y", "Z"]))),
            "approvals": {"count": draw(st.integers(1, 20)), "distinct_from": draw(one(([], ["creator"])))},
            "effects": draw(one(([], EFFECTS))),
        }
        for number in range(draw(st.integers(0, 5)))
    ]
    return LifecycleDef.model_validate({"code": "any", "states": states, "transitions": transitions})


@given(lifecycle=lifecycles())
def test_a_lifecycle_that_goes_through_the_form_comes_back_the_same(
    registry: Registry, lifecycle: LifecycleDef
) -> None:
    head = {"code": lifecycle.code, "label": lifecycle.label, "priority": 0, "applies_when": None, "description": ""}
    again, problems = definition_from(rows_of(lifecycle), head, registry.entity("trade"), registry)
    assert problems == []
    assert again == lifecycle


@given(lifecycle=lifecycles())
def test_every_picture_has_each_state_once_and_stays_within_its_frame(lifecycle: LifecycleDef) -> None:
    drawn = diagram(lifecycle)
    assert sorted(node["name"] for node in drawn["nodes"]) == sorted(state.name for state in lifecycle.states)
    boxes = [(node["x"], node["y"], node["width"], node["height"]) for node in drawn["nodes"]]
    for x, y, width, height in boxes:
        assert x >= 0
        assert y >= 0
        assert x + width <= drawn["width"]
        assert y + height <= drawn["height"]
    assert len({(x, y) for x, y, _, _ in boxes}) == len(boxes)
    pairs = {(source, step.to) for step in lifecycle.transitions for source in step.sources}
    assert len(drawn["edges"]) == len(pairs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"initial": "nowhere"}, "initial names the state 'nowhere', which there is not"),
        ({"transitions": [{"name": "close", "from": "open", "to": "gone"}]}, "names the state 'gone'"),
        ({"states": ["open", "open"], "transitions": []}, "the state 'open' is there twice"),
        ({"transitions": [{"name": "close", "from": "open", "to": "open", "or_to": ["closed"]}]}, "leads to several"),
        ({"states": []}, "at least 1 item"),
    ],
)  # fmt: skip
def test_what_is_no_lifecycle_is_refused_in_words(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LifecycleDef.model_validate({**SIMPLE, **change})


@pytest.mark.parametrize(
    ("change", "rule", "place"),
    [
        ({"applies_when": {"nothing": 1}}, "condition", ""),
        ({"applies_when": {"book.code": "X"}}, "condition", ""),
        ({"applies_when": {"book": {"under": "01a20448-33b5-7060-92e9-7a7dbe648ed7"}}}, "condition", ""),
        ({"states": [*SIMPLE["states"], {"name": "lost", "category": "final"}]}, "unreachable", "lost"),
        ({"transitions": []}, "dead_end", "open"),
        ({"transitions": [{**SIMPLE["transitions"][0], "roles": ["nobody"]}]}, "unknown_role", "close"),
        ({"transitions": [{**SIMPLE["transitions"][0], "rule": "nothing"}]}, "unknown_rule", "close"),
        ({"transitions": [{**SIMPLE["transitions"][0], "require_fields": ["nothing"]}]}, "unknown_field", "close"),
        ({"transitions": [{**SIMPLE["transitions"][0], "guard": {"rate": {"contains": 1}}}]}, "condition", "close"),
    ],
)
def test_what_would_not_work_is_found_at_its_place(
    registry: Registry, change: dict[str, Any], rule: str, place: str
) -> None:
    around = Surroundings(
        registry.entity("trade"), registry, frozenset({"preparer"}), frozenset(), frozenset({"limits"})
    )
    found = lint(LifecycleDef.model_validate({**SIMPLE, **change}), around)
    assert (rule, place) in {(each.rule, each.place) for each in found if each.severity is Severity.ERROR}
    assert lint(LifecycleDef.model_validate(SIMPLE), around) == []


def test_names_are_made_of_labels_and_are_never_taken_twice() -> None:
    assert code_of("Sent back!", ()) == "sent_back"
    assert code_of("Sent back", {"sent_back"}) == "sent_back_2"
    assert code_of("3rd check", ()) == "x_3rd_check"
    assert code_of("?!", {"x"}) == "x_2"
