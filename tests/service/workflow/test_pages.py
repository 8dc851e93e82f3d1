"""What pages read: verdicts equal to those of the commands, and a number of statements that does not grow."""

from datetime import timedelta
from typing import Any

import pytest

from app.core.actor import Actor
from app.core.errors import NotFound, StepsError
from app.domain.workflow.actions import ActionState, allowed_actions
from app.domain.workflow.my_work import Part, my_work
from app.domain.workflow.neighbours import why_blocked
from app.domain.workflow.process_page import process_detail
from app.domain.workflow.queries import get_run, list_runs, run_tree
from app.domain.workflow.states import ProcessState
from app.domain.workflow.transitions import transition
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, Bank, approval, automatic, manual, reviewed
from tests.service.workflow.statements import counted

EVIDENCE = [{"code": "explain", "label": "PnL explain", "required": True}]


async def _actions(bank: Bank, code: str, who: str) -> dict[str, ActionState]:
    row = await bank.row(code)
    async with bank.runtime.uow(bank.people[who]) as uow:
        return {str(action.name): action for action in await allowed_actions(uow, row["id"])}


async def test_a_page_shows_what_the_commands_decide(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    processes = [reviewed("a", "controller", "desk_head"), manual("b", evidence=EVIDENCE), automatic("load")]
    await bank.run(processes, [("a", "load")])
    until = bank.runtime.clock.now() + timedelta(hours=1)
    inputs: dict[str, Any] = {
        "reason": "Because",
        "data": {"review_by": until, "assignee_id": bank.people["preparer"].id},
    }

    async def agree(code: str) -> int:
        refused = 0
        for who in ("preparer", "both", "controller", "desk_head", "operations", "auditor", "admin"):
            for name, shown in (await _actions(bank, code, who)).items():
                error: StepsError | None = None
                row = await bank.row(code)
                try:
                    async with bank.runtime.uow(bank.people[who]) as uow:
                        await transition(
                            uow, process_run_id=row["id"], name=name, expected_version=row["row_version"], **inputs
                        )
                        raise _RolledBack
                except _RolledBack:
                    pass
                except StepsError as raised:
                    error = raised
                assert shown.allowed == (error is None), (code, who, name, shown, error)
                if error is not None:
                    refused += 1
                    assert shown.refusal
        return refused

    assert await agree("a") > 5
    await bank.do("submit", "a", "both")
    assert await agree("a") > 5
    assert await agree("b") > 5
    assert await agree("load") > 5


class _RolledBack(Exception):
    pass


async def test_a_refused_approval_names_the_rule_and_who_can(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "both")
    approve = (await _actions(bank, "a", "both"))["approve"]
    assert (approve.allowed, approve.guard) == (False, "maker_is_not_checker")
    assert [person.name for person in approve.who_can] == ["controller", "controller2"]
    assert (await _actions(bank, "a", "controller"))["approve"].allowed


async def test_what_blocks_a_process_is_told_with_state_owner_and_due_time(bank: Bank) -> None:
    await bank.run([manual("a", skip_allowed=True), manual("b"), manual("c")], [("a", "c", "done"), ("b", "c", "done")])
    await bank.do("claim", "b", "preparer")
    await bank.do("skip", "a", "operations", reason="No trades")
    row = await bank.row("c")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        blocked = await why_blocked(uow, row["id"])
    by_code = {p.code: p for p in blocked.predecessors}
    assert (by_code["a"].state, by_code["a"].impossible) == (ProcessState.SKIPPED, True)
    assert (by_code["b"].assignee, by_code["b"].owner_role, by_code["b"].impossible) == ("preparer", "preparer", False)


async def test_the_tree_counts_what_is_below_each_stage_and_hints_at_what_is_missing(bank: Bank) -> None:
    run_id = await bank.run([manual("a", evidence=EVIDENCE), manual("b"), approval("c")], [("a", "b"), ("b", "c")])
    async with bank.runtime.uow(bank.people["controller"]) as uow:
        tree = await run_tree(uow, run_id)
    (stage,) = tree.stages
    assert (stage.progress.total, stage.progress.closed) == (3, 0)
    assert stage.progress.counts == {ProcessState.READY: 1, ProcessState.BLOCKED: 2}
    assert [line.hint for line in stage.processes] == ["1 of 1 required documents missing", "Needs A", "Needs B"]
    assert (stage.processes[0].evidence_have, stage.processes[0].evidence_need) == (0, 1)
    assert tree.run.progress.counts == stage.progress.counts


async def test_lists_and_trees_show_only_what_is_in_scope(bank: Bank) -> None:
    em = await bank.person("em_preparer", "preparer", node="EM")
    run_id = await bank.run([manual("a", node="G10"), manual("b", node="EM"), manual("c")])
    async with bank.runtime.uow(em) as uow:
        tree = await run_tree(uow, run_id)
        (listed,) = await list_runs(uow, business_date=DAY)
    assert [line.code for line in tree.stages[0].processes] == ["b", "c"]
    assert (listed.progress.total, tree.run.progress.total) == (2, 2)
    g10 = await bank.row("a")
    for read in (process_detail, allowed_actions, why_blocked):
        with pytest.raises(NotFound):
            async with bank.runtime.uow(em) as uow:
                await read(uow, g10["id"])
    stranger = Actor(em.id, "stranger", grants=(bank.grant("preparer", application="PLATFORM"),))
    with pytest.raises(NotFound):
        async with bank.runtime.uow(stranger) as uow:
            await get_run(uow, run_id)


async def _work(bank: Bank, who: str) -> list[tuple[Part, str]]:
    async with bank.runtime.uow(bank.people[who]) as uow:
        return [(item.part, item.code) for item in await my_work(uow)]


async def test_my_work_is_what_is_mine_what_i_could_take_and_what_i_may_decide(bank: Bank) -> None:
    await bank.person("em_controller", "controller", node="EM")
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a", node="G10"), manual("b"), manual("c"), automatic("load")], [("b", "c")])
    await bank.do("claim", "b", "preparer")
    await bank.do("submit", "a", "both")
    assert await _work(bank, "preparer") == [(Part.ASSIGNED, "b")]
    assert await _work(bank, "preparer2") == []
    assert await _work(bank, "controller") == [(Part.TO_APPROVE, "a")]
    assert await _work(bank, "both") == []
    assert await _work(bank, "em_controller") == []
    await bank.do("submit", "b", "preparer")
    assert await _work(bank, "preparer2") == [(Part.CLAIMABLE, "c")]


async def test_the_page_of_a_process_has_everything_and_reads_it_in_a_fixed_number_of_statements(bank: Bank) -> None:
    many = [manual(f"p{number}") for number in range(40)]
    await bank.run(
        [*many, reviewed("few", evidence=EVIDENCE), reviewed("join", "controller", "desk_head", evidence=EVIDENCE)],
        [(f"p{number}", "join") for number in range(40)],
    )
    for number in range(40):
        await bank.do("submit", f"p{number}", "preparer")
    rows = {code: await bank.row(code) for code in ("few", "join")}
    details = {}
    sent = {}
    for code, row in rows.items():
        async with bank.runtime.uow(bank.people["preparer"]) as uow:
            with counted(bank.runtime) as statements:
                details[code] = await process_detail(uow, row["id"])
        sent[code] = len(statements)
    assert sent["few"] == sent["join"] <= 9
    join = details["join"]
    assert (len(join.predecessors), len(join.successors)) == (40, 0)
    assert all(predecessor.satisfied for predecessor in join.predecessors)
    assert [item.met for item in join.requirements] == [False]
    assert [line.name for line in join.history] == ["release"]
    assert {action.name for action in join.actions} >= {"claim", "start", "submit", "hold", "assign", "cancel"}


async def test_a_list_of_runs_is_one_statement(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    async with bank.runtime.uow(bank.people["controller"]) as uow:
        with counted(bank.runtime) as statements:
            (run,) = await list_runs(uow)
    assert len(statements) == 1
    assert (run.reference, run.progress.total, run.progress.closed) == ("W-20261030", 2, 0)
    async with bank.runtime.uow(SYSTEM) as uow:
        assert await list_runs(uow, business_date=DAY + timedelta(days=1)) == []
