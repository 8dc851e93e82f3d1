"""The table of transitions, and the pure decisions that follow from it."""

from app.domain.workflow import states
from app.domain.workflow.states import BY_PEOPLE, CLOSED, TRANSITIONS, Input, Name, ProcessState, Who


def test_every_state_and_every_transition_is_described() -> None:
    described = {line.split()[0] for line in (states.__doc__ or "").splitlines()[2:] if line.strip()}
    assert described >= {state.value for state in ProcessState}
    assert set(TRANSITIONS) == set(Name)


def test_nothing_but_opening_it_again_leads_out_of_a_closed_state_and_nothing_at_all_out_of_a_cancelled_one() -> None:
    leading_out = {transition.name for transition in TRANSITIONS.values() if transition.sources & CLOSED}
    assert leading_out == {Name.REOPEN}
    assert ProcessState.CANCELLED not in TRANSITIONS[Name.REOPEN].sources


def test_every_way_to_stop_or_refuse_work_needs_a_reason() -> None:
    for name in (Name.REJECT, Name.HOLD, Name.SKIP, Name.CANCEL, Name.FAIL):
        assert Input.REASON in TRANSITIONS[name].inputs


def test_people_and_the_platform_have_their_own_transitions() -> None:
    engine = {name for name, transition in TRANSITIONS.items() if transition.who is Who.ENGINE}
    own = {Name.RELEASE, Name.BEGIN, Name.FINISH, Name.FAIL, Name.MIGRATE, Name.BLOCK}
    assert engine == own | {Name.REOPEN, Name.STALE, Name.REVALIDATE, Name.REDO}
    assert {transition.name for transition in BY_PEOPLE} == set(Name) - engine
