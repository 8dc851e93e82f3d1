"""Every type of dependency, in its run: start and finish gates, lags, soft and advisory ones, conditions."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.core.errors import TransitionRefused
from app.domain.workflow.actions import allowed_actions
from app.domain.workflow.automation import begin_automatic, fail_automatic, finish_automatic, release_lagged
from app.domain.workflow.neighbours import Blocked, why_blocked
from app.domain.workflow.process_page import process_detail
from app.domain.workflow.queries import run_tree
from app.domain.workflow.transitions import transition
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, automatic, manual, reviewed

FRIDAY_EVENING = datetime(2026, 10, 30, 16, 30, tzinfo=UTC)  # 17:30 in Berlin, which closes at 18:00
LATER = "BD+5 18:00 Europe/Berlin"


def edge(type_: str = "FS", **values: Any) -> Mapping[str, Any]:
    return {"from": "p", "to": "s", "type": type_, **values}


async def why(bank: Bank, code: str) -> Blocked:
    row = await bank.row(code)
    async with bank.runtime.uow(SYSTEM) as uow:
        return await why_blocked(uow, row["id"])


async def worker(bank: Bank, code: str, step: Any, *more: Any) -> None:
    row = await bank.row(code)
    async with bank.runtime.uow(SYSTEM) as uow:
        await step(uow, row["id"], *more)


async def sweep(bank: Bank, now: datetime | None = None) -> int:
    async with bank.runtime.uow(SYSTEM, now=now) as uow:
        return await release_lagged(uow)


# What was done to the predecessor, whether the successor may begin then, and whether it may be completed.
NOTHING, START, DONE, SKIP, CANCEL = "nothing", "start", "done", "skip", "cancel"
TABLE = [
    ("FS", NOTHING, False, False), ("FS", START, False, False), ("FS", DONE, True, True), ("FS", SKIP, True, True),
    ("FS", CANCEL, False, False),
    ("SS", NOTHING, False, False), ("SS", START, True, True), ("SS", DONE, True, True), ("SS", SKIP, True, True),
    ("SS", CANCEL, False, False),
    ("FF", NOTHING, True, False), ("FF", START, True, False), ("FF", DONE, True, True), ("FF", SKIP, True, True),
    ("FF", CANCEL, True, False),
    ("SF", NOTHING, True, False), ("SF", START, True, True), ("SF", DONE, True, True), ("SF", SKIP, True, True),
    ("SF", CANCEL, True, False),
]  # fmt: skip


async def _do_to_predecessor(bank: Bank, what: str) -> None:
    if what == START:
        await bank.do("start", "p", "preparer")
    elif what == DONE:
        await bank.do("submit", "p", "preparer")
    elif what == SKIP:
        await bank.do("skip", "p", "operations", reason="Not needed")
    elif what == CANCEL:
        await bank.do("cancel", "p", "operations", reason="Not wanted")


@pytest.mark.parametrize(("type_", "what", "may_begin", "may_end"), TABLE)
async def test_each_type_holds_back_the_beginning_or_the_end_until_the_predecessor_is_as_far(
    bank: Bank, type_: str, what: str, may_begin: bool, may_end: bool
) -> None:
    await bank.run([manual("p", skip_allowed=True), manual("s")], [edge(type_)])
    await _do_to_predecessor(bank, what)
    assert (await bank.state("s") != "blocked") is may_begin
    if not may_begin:
        blocked = await why(bank, "s")
        assert [n.code for n in blocked.predecessors] == ["p"]
        assert blocked.predecessors[0].impossible is (what == CANCEL)
        return
    await bank.do("start", "s", "preparer")
    if may_end:
        assert (await bank.do("submit", "s", "preparer")).to_state == "done"
        return
    with pytest.raises(TransitionRefused, match="“S” cannot be completed yet: “P” has not") as refused:
        await bank.do("submit", "s", "preparer")
    assert refused.value.guard == "finish_gate"
    assert [n.code for n in (await why(bank, "s")).predecessors] == ["p"]
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        actions = {a.name.value: a for a in await allowed_actions(uow, (await bank.row("s"))["id"])}
    assert (actions["submit"].allowed, actions["submit"].guard) == (False, "finish_gate")


@pytest.mark.parametrize(("type_", "accepts", "released"), [
    ("FS", ["cancelled"], True), ("FS", ["skipped"], False), ("SS", ["cancelled"], True), ("SS", ["done"], False),
])  # fmt: skip
async def test_an_end_counts_where_it_is_accepted(bank: Bank, type_: str, accepts: list[str], released: bool) -> None:
    await bank.run([manual("p", skip_allowed=True), manual("s")], [edge(type_, accepts=accepts)])
    await bank.do("cancel", "p", "operations", reason="Not wanted")
    assert (await bank.state("s") == "ready") is released


async def test_a_start_counts_once_and_a_failure_only_where_it_is_accepted(bank: Bank) -> None:
    await bank.run(
        [automatic("p"), manual("s"), manual("t")],
        [edge("SS"), {"from": "p", "to": "t", "accepts": ["done", "failed"]}],
    )
    await worker(bank, "p", begin_automatic)
    assert (await bank.state("s"), await bank.state("t")) == ("ready", "blocked")
    await worker(bank, "p", fail_automatic, "No file")
    assert await bank.state("t") == "ready"
    await bank.do("retry", "p", "operations")
    await worker(bank, "p", begin_automatic)
    await worker(bank, "p", finish_automatic, "f")
    assert await bank.count("SELECT count(*) FROM process_transition WHERE name = 'release'") == 3  # p, s, t: once
    assert await bank.count("SELECT count(*) FROM process_run WHERE waiting_on <> 0") == 0


async def test_an_approval_begins_with_its_first_decision(bank: Bank) -> None:
    await bank.run([manual("w"), approval("p", "controller", "controller"), manual("s")], [("w", "p"), edge("SS")])
    await bank.do("submit", "w", "preparer")
    assert (await bank.state("p"), await bank.state("s")) == ("in_review", "blocked")
    await bank.do("approve", "p", "controller")
    assert (await bank.state("p"), await bank.state("s")) == ("in_review", "ready")


async def test_work_under_review_may_be_handed_in_and_is_approved_when_its_end_is_free(bank: Bank) -> None:
    await bank.run([manual("p"), reviewed("s")], [edge("FF")])
    await bank.do("submit", "s", "preparer")
    with pytest.raises(TransitionRefused, match="“P” has not ended"):
        await bank.do("approve", "s", "controller")
    await bank.do("submit", "p", "preparer")
    assert (await bank.do("approve", "s", "controller")).to_state == "done"


async def test_two_processes_may_be_tied_at_both_ends(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s")], [edge("SS"), edge("FF")])
    assert await bank.state("s") == "blocked"
    await bank.do("start", "p", "preparer")
    await bank.do("start", "s", "preparer")
    with pytest.raises(TransitionRefused):
        await bank.do("submit", "s", "preparer")
    await bank.do("submit", "p", "preparer")
    await bank.do("submit", "s", "preparer")
    assert (await bank.the_run())["state"] == "done"


async def test_one_end_may_pass_several_edges_to_the_same_successor(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s")], [edge("FS"), edge("SS"), edge("FF"), edge("SF")])
    row = await bank.row("s")
    assert (row["waiting_on"], row["finish_waiting_on"]) == (2, 2)
    await bank.do("submit", "p", "preparer")
    row = await bank.row("s")
    assert (row["state"], row["waiting_on"], row["finish_waiting_on"]) == ("ready", 0, 0)


async def test_automatic_work_that_may_not_end_waits_and_is_ended_by_the_engine(bank: Bank) -> None:
    await bank.run(
        [manual("p"), automatic("s"), automatic("t"), manual("u")],
        [edge("FF"), {"from": "s", "to": "t", "type": "FF"}, ("t", "u")],
    )
    for code in ("s", "t"):
        await worker(bank, code, begin_automatic)
        await worker(bank, code, finish_automatic, f"output of {code}")
    assert (await bank.state("s"), await bank.state("t"), await bank.state("u")) == (
        "waiting_external", "waiting_external", "blocked",
    )  # fmt: skip
    assert [n.code for n in (await why(bank, "t")).predecessors] == ["s"]
    async with bank.runtime.uow(SYSTEM) as uow:
        tree = await run_tree(uow, bank.run_id)  # type: ignore[arg-type]
    hints = {line.code: line.hint for line in tree.stages[0].processes}
    assert (hints["s"], hints["t"]) == ("Needs P", "Needs S")
    await bank.do("submit", "p", "preparer")
    assert await bank.states() == {"p": "done", "s": "done", "t": "done", "u": "ready"}
    assert (await bank.row("t"))["snapshot_hash"] == "output of t"
    assert (await bank.the_run())["open_count"] == 1


async def test_a_skipped_process_needs_no_leave_to_end(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s", skip_allowed=True)], [edge("FF")])
    await bank.do("skip", "s", "operations", reason="Not needed")
    assert await bank.state("s") == "skipped"


# -- lags --------------------------------------------------------------------------------------------------------------


async def test_a_lag_is_waited_out_and_then_let_go_by_the_sweep(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s", deadline=LATER)], [edge(lag={"amount": 30, "unit": "minutes"})])
    before = datetime.now(UTC)
    await bank.do("submit", "p", "preparer")
    blocked = await why(bank, "s")
    (open_,) = blocked.predecessors
    assert open_.lag_ends_at is not None
    assert timedelta(minutes=30) <= open_.lag_ends_at - before < timedelta(minutes=31)
    assert open_.sentence(lambda at: f"{at:%Y}").startswith("“P” has ended; 30 minutes after that is 20")
    assert await sweep(bank) == 0
    assert await bank.state("s") == "blocked"
    assert await sweep(bank, open_.lag_ends_at) == 1
    assert (await bank.state("s"), (await why(bank, "s")).predecessors) == ("ready", ())
    assert await sweep(bank, open_.lag_ends_at) == 0


@pytest.mark.parametrize(
    ("amount", "unit", "until"),
    [
        (2, "hours", datetime(2026, 10, 30, 18, 30, tzinfo=UTC)),
        (1, "days", datetime(2026, 10, 31, 16, 30, tzinfo=UTC)),
        (45, "working_minutes", datetime(2026, 11, 2, 8, 15, tzinfo=UTC)),
        (1, "working_hours", datetime(2026, 11, 2, 8, 30, tzinfo=UTC)),
        (2, "working_days", datetime(2026, 11, 3, 16, 30, tzinfo=UTC)),
    ],
)
async def test_a_lag_is_reckoned_in_its_unit(bank: Bank, amount: int, unit: str, until: datetime) -> None:
    await bank.run([manual("p"), manual("s", deadline=LATER)], [edge(lag={"amount": amount, "unit": unit})])
    row = await bank.row("p")
    async with bank.runtime.uow(bank.people["preparer"], now=FRIDAY_EVENING) as uow:
        await transition(uow, process_run_id=row["id"], name="submit", expected_version=row["row_version"])
    (open_,) = (await why(bank, "s")).predecessors
    assert open_.lag_ends_at == until
    assert await sweep(bank, until - timedelta(seconds=1)) == 0
    assert await sweep(bank, until) == 1


async def test_a_lag_after_the_beginning_counts_from_the_beginning(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s")], [edge("SF", lag={"amount": 10, "unit": "minutes"})])
    await bank.do("start", "p", "preparer")
    first = (await why(bank, "s")).predecessors[0].lag_ends_at
    await bank.do("submit", "p", "preparer")
    assert (await why(bank, "s")).predecessors[0].lag_ends_at == first
    assert first is not None
    assert await sweep(bank, first) == 0  # nothing is released: the end is free
    assert (await bank.row("s"))["finish_waiting_on"] == 0
    await bank.do("submit", "s", "preparer")


async def test_the_lag_of_a_held_run_is_let_go_when_the_run_goes_on(bank: Bank) -> None:
    await bank.run([manual("p"), automatic("s", deadline=LATER)], [edge(lag={"amount": 1, "unit": "minutes"})])
    await bank.do("submit", "p", "preparer")
    later = datetime.now(UTC) + timedelta(minutes=2)
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE workflow_run SET state = 'on_hold'"))
    assert await sweep(bank, later) == 0
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE workflow_run SET state = 'active'"))
    assert await sweep(bank, later) == 1
    assert await bank.count("SELECT count(*) FROM job_run") == 1


async def test_the_sweep_ends_automatic_work_that_has_waited_out_a_lag(bank: Bank) -> None:
    await bank.run([manual("p"), automatic("s", deadline=LATER)], [edge("FF", lag={"amount": 1, "unit": "hours"})])
    await worker(bank, "s", begin_automatic)
    await worker(bank, "s", finish_automatic, "f")
    await bank.do("submit", "p", "preparer")
    assert await bank.state("s") == "waiting_external"
    assert await sweep(bank, datetime.now(UTC) + timedelta(hours=2)) == 1
    assert (await bank.state("s"), (await bank.the_run())["state"]) == ("done", "done")


# -- soft and advisory -------------------------------------------------------------------------------------------------


async def test_a_soft_dependency_warns_and_is_gone_over_with_a_reason_that_stays(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s")], [edge(hardness="soft")])
    assert await bank.state("s") == "ready"
    row = await bank.row("s")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        actions = {a.name.value: a for a in await allowed_actions(uow, row["id"])}
    assert (actions["start"].allowed, actions["start"].warning) == (True, "“P” has not ended.")
    assert "reason" in actions["start"].needs
    assert actions["claim"].warning is None
    with pytest.raises(TransitionRefused, match="“S” should wait: “P” has not ended") as refused:
        await bank.do("start", "s", "preparer")
    assert refused.value.guard == "soft_dependency"
    await bank.do("start", "s", "preparer", reason="The desk cannot wait")
    await bank.do("submit", "s", "preparer")  # asked once
    async with bank.runtime.uow(SYSTEM) as uow:
        detail = await process_detail(uow, row["id"])
    (neighbour,) = detail.predecessors
    assert (neighbour.override_reason, neighbour.satisfied) == ("The desk cannot wait", False)
    assert [line.reason for line in detail.history if line.name == "start"] == ["The desk cannot wait"]
    told = "SELECT count(*) FROM audit_entry WHERE command = 'transition:start' AND context -> 'went_over' = '[\"P\"]'"
    assert await bank.count(told) == 1


async def test_a_soft_dependency_that_is_met_asks_nothing(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s")], [edge(hardness="soft")])
    await bank.do("submit", "p", "preparer")
    assert (await bank.row("s"))["soft_waiting_on"] == 0
    await bank.do("submit", "s", "preparer")


async def test_a_soft_tie_of_the_ends_asks_at_the_end(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s")], [edge("FF", hardness="soft")])
    await bank.do("start", "s", "preparer")
    with pytest.raises(TransitionRefused, match="should wait"):
        await bank.do("submit", "s", "preparer")
    await bank.do("submit", "s", "preparer", reason="Agreed with the desk")
    assert await bank.state("s") == "done"


async def test_automatic_work_goes_over_a_soft_dependency_and_says_so(bank: Bank) -> None:
    await bank.run([manual("p"), automatic("s")], [edge(hardness="soft")])
    await worker(bank, "s", begin_automatic)
    async with bank.runtime.uow(SYSTEM) as uow:
        (neighbour,) = (await process_detail(uow, (await bank.row("s"))["id"])).predecessors
    assert "does not hold back automatic work" in (neighbour.override_reason or "")


async def test_an_advisory_dependency_neither_holds_back_nor_asks_and_is_still_followed(bank: Bank) -> None:
    await bank.run([manual("p"), manual("s")], [edge(hardness="advisory")])
    await bank.do("start", "s", "preparer")
    await bank.do("submit", "p", "preparer")
    assert await bank.count("SELECT count(*) FROM process_edge WHERE satisfied_at IS NULL") == 0
    await bank.do("submit", "s", "preparer")


# -- conditions --------------------------------------------------------------------------------------------------------


async def test_where_the_condition_does_not_hold_the_dependency_does_not_bind(bank: Bank) -> None:
    under = {"node": {"under": str(bank.nodes["G10"])}}
    await bank.run(
        [manual("p", node="G10-1"), manual("q", node="EM-1"), manual("s"), manual("t")],
        [
            edge(condition=under), {"from": "q", "to": "s", "condition": under},
            {"from": "q", "to": "t", "condition": under},
        ],
    )  # fmt: skip
    assert (await bank.state("s"), await bank.state("t")) == ("blocked", "ready")
    assert (await bank.row("s"))["waiting_on"] == 1
    async with bank.runtime.uow(SYSTEM) as uow:
        (neighbour,) = (await process_detail(uow, (await bank.row("t"))["id"])).predecessors
    assert not neighbour.binds
    await bank.do("submit", "p", "preparer")
    assert await bank.state("s") == "ready"
    await bank.do("submit", "q", "preparer")
    assert (await bank.row("s"))["waiting_on"] == 0


async def test_a_condition_that_ceases_to_hold_lets_go(bank: Bank) -> None:
    still = {"state": {"ne": "cancelled"}}
    await bank.run(
        [manual("p"), manual("q"), manual("s")],
        [edge(accepts=["done"], condition=still), {"from": "q", "to": "s", "accepts": ["done"]}],
    )
    await bank.do("cancel", "p", "operations", reason="No business today")
    assert (await bank.row("s"))["waiting_on"] == 1
    await bank.do("submit", "q", "preparer")
    assert await bank.state("s") == "ready"


async def test_whoever_made_the_work_cannot_approve_it_whatever_the_type_of_the_dependency(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([manual("p"), approval("s")], [edge("SS"), edge("FF")])
    await bank.do("start", "p", "both")
    await bank.do("submit", "p", "both")
    assert str(bank.people["both"].id) in (await bank.row("s"))["makers"]
    with pytest.raises(TransitionRefused, match="maker"):
        await bank.do("approve", "s", "both")
    await bank.do("approve", "s", "controller")
