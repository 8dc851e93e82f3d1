"""The lifecycle of processes, as administrators read it, says what the workflow engine does."""

import pytest

from app.domain.workflow.states import CLOSED, TRANSITIONS, Input, ProcessState
from models.lifecycle import CLOSED as CLOSED_CATEGORIES
from models.lifecycle import LifecycleDef
from models.registry import Registry
from scripts.engine_lifecycle import DEFINITION, steps, targets, written

RUN_IT = "the engine has changed: run `python scripts/engine_lifecycle.py`"


@pytest.fixture
def shipped(registry: Registry) -> LifecycleDef:
    entity = registry.entity("process_run")
    assert (entity.state_field, entity.managed) == ("state", True)
    return entity.lifecycles[0]


def test_it_is_protected_and_has_the_states_of_the_engine_by_their_labels(shipped: LifecycleDef) -> None:
    assert shipped.protected
    assert [(state.name, state.label) for state in shipped.states] == [(s.value, s.label) for s in ProcessState], RUN_IT
    closed = {state.name for state in shipped.states if state.category in CLOSED_CATEGORIES}
    assert closed == {state.value for state in CLOSED}
    assert all(state.editable_by == () for state in shipped.states)


def test_it_has_every_transition_with_its_label_sources_targets_and_who_does_it(shipped: LifecycleDef) -> None:
    described = {step.name: step for step in shipped.transitions}
    assert list(described) == [transition.name.value for transition in steps()], RUN_IT
    for transition in steps():
        step = described[transition.name.value]
        assert step.label == transition.label
        assert set(step.sources) == {state.value for state in transition.sources}, transition.name
        assert set(step.targets) == {state.value for state in targets(transition)}, transition.name
        assert step.roles == (transition.who.value,)
        assert step.require_comment is (Input.REASON in transition.inputs)


def test_what_it_leaves_out_is_never_asked_for_by_itself() -> None:
    left_out = {transition.name for transition in TRANSITIONS.values()} - {transition.name for transition in steps()}
    assert all(not TRANSITIONS[name].sources for name in left_out)


def test_the_definition_is_written_by_the_script() -> None:
    assert DEFINITION.read_text("utf-8") == written(), RUN_IT
