"""Random runs in which work is done, skipped, opened again with the same or another result, and finished after all.

However it comes: counters agree with edges, the history of each process leads to where it stands, every run can be
finished, and work that is opened again and comes to the same result changes nothing that is built on it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from app.core.errors import Forbidden, TransitionRefused
from app.domain.workflow.automation import begin_automatic, finish_automatic
from app.domain.workflow.reopening import confirm_reopening, impact_of, reopen
from models.base import uuid7
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, Edge, approval, automatic, manual, reviewed

MAKERS = {"manual": manual, "reviewed": reviewed, "approval": approval, "automatic": automatic}
CLOSED = ("done", "skipped", "cancelled")
FINISHED = ("done", "skipped")
MOST = 6
ROUNDS = 60
COUNTED = """
SELECT p.code, p.state, p.waiting_on, coalesce(p.finish_waiting_on, 0) AS ends,
       count(e.id) FILTER (WHERE e.edge_type IN ('FS', 'SS')) AS starts_open,
       count(e.id) FILTER (WHERE e.edge_type IN ('FF', 'SF')) AS ends_open
FROM process_run p
LEFT JOIN process_edge e ON e.successor_id = p.id AND e.satisfied_at IS NULL AND e.hardness = 'hard'
WHERE p.run_id = :run GROUP BY p.id
"""
HISTORY = """
SELECT p.code, t.from_state, t.to_state FROM process_transition t JOIN process_run p ON p.id = t.process_run_id
WHERE p.run_id = :run ORDER BY t.id
"""
SIGNED = """
SELECT p.code, a.level, a.actor_id, a.snapshot_hash FROM process_approval a
JOIN process_run p ON p.id = a.process_run_id
WHERE p.run_id = :run AND a.voided_at IS NULL AND a.decision = 'approved' ORDER BY 1, 2, 3
"""
# What opening another process again, with the same result in the end, may not touch.
KEPT = (
    "state", "round", "level", "attempt", "output_hash", "snapshot_hash", "comment", "assignee_id", "maker_id",
    "makers", "signers", "signatures", "waiting_on", "finish_waiting_on", "started_at", "submitted_at", "stale_reason",
)  # fmt: skip

kinds = st.lists(st.sampled_from(sorted(MAKERS)), min_size=2, max_size=MOST)
ties = st.lists(
    st.tuples(st.integers(0, MOST), st.integers(0, MOST), st.sampled_from(("FS", "FS", "FS", "FF", "SS"))), max_size=9
)
steps = st.lists(
    st.tuples(st.integers(0, MOST), st.sampled_from(("go", "go", "go", "change", "claim", "skip", "reopen", "reopen"))),
    max_size=24,
)


def edges_between(count: int, pairs: Sequence[tuple[int, int, str]]) -> list[Edge]:
    """From earlier to later ones only, so that there is no circle; each pair once."""
    chosen = {(a % count, b % count): type_ for a, b, type_ in pairs if a % count < b % count}
    return [
        {"from": f"p{a}", "to": f"p{b}", "type": type_, "accepts": list(FINISHED)} for (a, b), type_ in chosen.items()
    ]


class Work:
    """A run, and what has come out of each process so far."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.results: dict[str, int] = {}

    async def rows(self) -> dict[str, Mapping[str, Any]]:
        async with self.bank.runtime.uow(SYSTEM) as uow:
            table = uow.table("process_run")
            found = await uow.execute(select(table).where(table.c.run_id == self.bank.run_id).order_by(table.c.rank))
            return {row["code"]: dict(row) for row in found.mappings()}

    async def read(self, sql: str) -> list[Any]:
        async with self.bank.runtime.uow(SYSTEM) as uow:
            return list((await uow.execute(text(sql), {"run": self.bank.run_id})).all())

    async def go(self, code: str) -> None:
        """One step towards its end, as far as its edges allow. Each signs one process, so nobody signs their own."""
        row = await self.bank.row(code)
        result = f"result {self.results.get(code, 0)}"
        with suppress(TransitionRefused):  # an edge holds back its end
            if row["kind"] == "automatic":
                async with self.bank.runtime.uow(SYSTEM) as uow:
                    if row["state"] == "ready":
                        await begin_automatic(uow, row["id"])
                    elif row["state"] == "in_progress":
                        await finish_automatic(uow, row["id"], result)
            elif row["state"] == "in_review":
                await self.bank.do("approve", code, f"checker {code}")
            elif row["state"] in ("ready", "assigned", "in_progress"):
                await self.bank.do("submit", code, "preparer", comment=result)

    async def finish(self, code: str) -> None:
        for _ in range(4):
            await self.go(code)

    async def finish_all(self) -> None:
        for _ in range(ROUNDS):
            left = [code for code, row in (await self.rows()).items() if row["state"] not in CLOSED]
            if not left:
                return
            for code in left:
                await self.go(code)

    async def reopen(self, code: str) -> bool:
        row = await self.bank.row(code)
        if row["state"] not in FINISHED:
            return False
        async with self.bank.runtime.uow(self.bank.people["preparer"]) as uow:
            shown = await impact_of(uow, process_run_id=row["id"])
            done = await reopen(
                uow,
                process_run_id=row["id"],
                expected_version=row["row_version"],
                reason="Again",
                impact_digest=shown.digest,
            )
        if done.state == "requested":
            async with self.bank.runtime.uow(self.bank.people["operations"]) as uow:
                done = await confirm_reopening(uow, reopening_id=done.id)
        foreseen = {each.id for each in shown.affected if each.effect == "stale" and each.state != "stale"}
        assert set(done.stale) == foreseen
        return True

    async def step(self, code: str, what: str) -> None:
        match what:
            case "go":
                await self.finish(code)
            case "change":
                self.results[code] = self.results.get(code, 0) + 1
                await self.finish(code)
            case "reopen":
                await self.reopen(code)
            case "skip":
                with suppress(TransitionRefused):
                    await self.bank.do("skip", code, "operations", reason="Not needed")
            case "claim":
                with suppress(TransitionRefused, Forbidden):  # routed or automatic work belongs to others
                    await self.bank.do("claim", code, "preparer")

    async def check(self) -> None:
        counted = await self.read(COUNTED)
        assert [(row.code, row.waiting_on, row.ends) for row in counted] == [
            (row.code, row.starts_open, row.ends_open) for row in counted
        ]
        run = await self.bank.the_run()
        still_open = sum(row.state not in CLOSED for row in counted)
        assert (run["open_count"], run["state"]) == (still_open, "active" if still_open else "done")
        history: dict[str, list[tuple[str, str]]] = {}
        for code, from_state, to_state in await self.read(HISTORY):
            history.setdefault(code, []).append((from_state, to_state))
        states = {row.code: row.state for row in counted}
        for code, moves in history.items():
            assert moves[0][0] in ("blocked", "ready", "in_review"), code
            assert all(before[1] == after[0] for before, after in pairwise(moves)), (code, moves)
            assert moves[-1][1] == states[code], (code, moves)


async def _begin(bank: Bank, of: Sequence[str], pairs: Sequence[tuple[int, int, str]]) -> Work:
    codes = [f"p{number}" for number in range(len(of))]
    for code in codes:
        if f"checker {code}" not in bank.people:
            await bank.person(f"checker {code}", "controller")
    processes = [MAKERS[kind](code, skip_allowed=True) for kind, code in zip(of, codes, strict=True)]
    await bank.run(processes, edges_between(len(of), pairs), code=f"L{uuid7().hex[-10:].upper()}")
    return Work(bank)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(of=kinds, pairs=ties, todo=steps)
async def test_whatever_is_opened_again_the_run_is_consistent_and_can_be_finished(
    bank: Bank, of: list[str], pairs: list[tuple[int, int, str]], todo: list[tuple[int, str]]
) -> None:
    work = await _begin(bank, of, pairs)
    for number, what in todo:
        await work.step(f"p{number % len(of)}", what)
        await work.check()
    await work.finish_all()
    await work.check()
    assert {code: row["state"] for code, row in (await work.rows()).items() if row["state"] not in CLOSED} == {}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(of=kinds, pairs=ties, todo=steps, which=st.integers(0, MOST), partly=st.booleans())
async def test_the_same_result_after_it_was_opened_again_changes_nothing_else(
    bank: Bank,
    of: list[str],
    pairs: list[tuple[int, int, str]],
    todo: list[tuple[int, str]],
    which: int,
    *,
    partly: bool,
) -> None:
    work = await _begin(bank, of, pairs)
    code = f"p{which % len(of)}"
    if partly:  # what has not begun waits meanwhile, and is as free as before in the end
        await work.finish(code)
    else:
        for number, what in todo:
            await work.step(f"p{number % len(of)}", what)
        await work.finish_all()
    before, signed = await work.rows(), await work.read(SIGNED)
    was_done = before[code]["state"] == "done"
    if not await work.reopen(code):
        return
    if was_done:
        await work.finish(code)
    else:
        await work.bank.do("skip", code, "operations", reason="Not needed")
    await work.check()
    after = await work.rows()
    for other in before.keys() - {code}:
        assert {name: after[other][name] for name in KEPT} == {name: before[other][name] for name in KEPT}, other
    again = [row for row in await work.read(SIGNED) if row.code != code]
    assert again == [row for row in signed if row.code != code]
    assert after[code]["output_hash"] == before[code]["output_hash"]
