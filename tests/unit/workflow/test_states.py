"""The table of transitions, and the pure decisions that follow from it."""

from app.domain.workflow import states
from app.domain.workflow.states import BY_PEOPLE, CLOSED, TRANSITIONS, Input, Name, ProcessState, Who


def test_every_state_and_every_transition_is_described() -> None:
    described = {line.split()[0] for line in (states.__doc__ or "").splitlines()[2:] if line.strip()}
    assert described >= {state.value for state in ProcessState}
    assert set(TRANSITIONS) == set(Name)


def test_nothing_leads_out_of_a_closed_state() -> None:
    for transition in TRANSITIONS.values():
        assert not transition.sources & CLOSED, transition.name


def test_every_way_to_stop_or_refuse_work_needs_a_reason() -> None:
    for name in (Name.REJECT, Name.HOLD, Name.SKIP, Name.CANCEL, Name.FAIL):
        assert Input.REASON in TRANSITIONS[name].inputs


def test_people_and_the_platform_have_their_own_transitions() -> None:
    engine = {name for name, transition in TRANSITIONS.items() if transition.who is Who.ENGINE}
    assert engine == {Name.RELEASE, Name.BEGIN, Name.FINISH, Name.FAIL, Name.MIGRATE, Name.BLOCK}
    assert {transition.name for transition in BY_PEOPLE} == set(Name) - engine
