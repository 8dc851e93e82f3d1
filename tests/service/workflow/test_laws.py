"""Random acyclic graphs under random valid commands: the database agrees with the pure rule at every step, and ends."""

import random
from typing import Any

import pytest

from app.bootstrap import Runtime
from app.domain.workflow.automation import begin_automatic, fail_automatic, finish_automatic
from app.domain.workflow.graph import Edge, ready_processes
from app.domain.workflow.states import ProcessState
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, automatic, manual, reviewed

CHECKERS = 15
ENDS = ("done", "skipped", "cancelled")


def _graph(dice: random.Random) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    makers = (manual, reviewed, approval, automatic)
    codes = [f"p{number}" for number in range(dice.randint(4, 14))]
    processes = [dice.choice(makers)(code, skip_allowed=True) for code in codes]
    edges = [
        (before, after, *dice.choice((ENDS, ("done", "skipped", "cancelled", "failed"))))
        for number, after in enumerate(codes)
        for before in codes[:number]
        if dice.random() < 0.3
    ]
    return processes, edges


async def _step(bank: Bank, dice: random.Random, code: str) -> None:
    """One valid command on a process that is not closed or blocked."""
    row = await bank.row(code)
    state, kind = row["state"], row["kind"]
    if state != "in_progress" or kind != "automatic":
        if dice.random() < 0.08:
            await bank.do("skip", code, "operations", reason="By chance")
            return
        if dice.random() < 0.05:
            await bank.do("cancel", code, "operations", reason="By chance")
            return
    if kind == "automatic":
        await _automatic_step(bank, dice, code, state)
    elif state == "in_review":
        if dice.random() < 0.25 and row["round"] < 4:
            await bank.do("reject", code, _checker(bank, row), reason="By chance")
        else:
            await bank.do("approve", code, _checker(bank, row))
    else:
        await bank.do("submit", code, "preparer")


def _checker(bank: Bank, row: Any) -> str:
    """A controller who had no part in it: those further up the graph may have had."""
    taken = {*(row["makers"] or ()), *(row["signers"] or ())}
    return next(f"checker{n}" for n in range(CHECKERS) if str(bank.people[f"checker{n}"].id) not in taken)


async def _automatic_step(bank: Bank, dice: random.Random, code: str, state: str) -> None:
    if state == "failed":
        await bank.do("retry", code, "operations")
        return
    id_ = (await bank.row(code))["id"]
    async with bank.runtime.uow(SYSTEM) as uow:
        if state == "ready":
            await begin_automatic(uow, id_)
        elif dice.random() < 0.2:
            await fail_automatic(uow, id_, "By chance")
        else:
            await finish_automatic(uow, id_, "f")


@pytest.mark.parametrize("seed", range(8))
async def test_an_acyclic_graph_completes_and_nothing_begins_before_its_predecessors(
    runtime: Runtime, seed: int
) -> None:
    dice = random.Random(seed)
    bank = await Bank(runtime).build()
    for number in range(CHECKERS):
        await bank.person(f"checker{number}", "controller")
    processes, edges = _graph(dice)
    await bank.run(processes, edges)
    pure = [Edge(e[0], e[1], frozenset(ProcessState(state) for state in e[2:])) for e in edges]
    satisfied: set[tuple[str, str]] = set()
    for _ in range(400):
        states = {code: ProcessState(state) for code, state in (await bank.states()).items()}
        # An edge stays satisfied once it was: a failure that was accepted is retried without taking anything back.
        satisfied |= {(e.predecessor, e.successor) for e in pure if states[e.predecessor] in e.accepts}
        left = [edge for edge in pure if (edge.predecessor, edge.successor) not in satisfied]
        assert ready_processes(states, left) == set(), "a process stays blocked although nothing blocks it"
        waiting = {edge.successor for edge in left}
        begun = {code for code, state in states.items() if state not in (ProcessState.BLOCKED, *_CLOSED)}
        assert not begun & waiting, "a process has begun before its predecessors have ended"
        if all(state.closed for state in states.values()):
            break
        await _step(bank, dice, dice.choice(sorted(begun)))
    run = await bank.the_run()
    assert (run["state"], run["open_count"]) == ("done", 0)
    unsatisfied = "SELECT count(*) FROM process_edge WHERE satisfied_at IS NULL"
    assert await bank.count(unsatisfied) == 0
    assert await bank.count("SELECT count(*) FROM process_run WHERE waiting_on <> 0") == 0
    releases = """SELECT count(*) FROM (SELECT process_run_id FROM process_transition WHERE name = 'release'
                  GROUP BY 1 HAVING count(*) > 1) doubled"""
    assert await bank.count(releases) == 0


_CLOSED = (ProcessState.DONE, ProcessState.SKIPPED, ProcessState.CANCELLED)
