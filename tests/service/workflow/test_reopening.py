"""Work that is opened again: what is built on it is in doubt until it has ended; only what has changed is redone."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.errors import Conflict, Forbidden, StaleVersion, TransitionRefused, ValidationFailed
from app.domain.workflow.automation import begin_automatic, finish_automatic
from app.domain.workflow.doubts import pass_on_in
from app.domain.workflow.reopening import (
    Effect,
    Reopening,
    confirm_reopening,
    decline_reopening,
    doubt_in,
    impact_of,
    reopen,
)
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, automatic, manual, reviewed


async def _reopen(bank: Bank, code: str, who: str = "preparer", reason: str = "Wrong rate") -> Reopening:
    row = await bank.row(code)
    async with bank.runtime.uow(bank.people[who]) as uow:
        impact = await impact_of(uow, process_run_id=row["id"])
        return await reopen(
            uow,
            process_run_id=row["id"],
            expected_version=row["row_version"],
            reason=reason,
            impact_digest=impact.digest,
        )


async def _confirm(bank: Bank, id_: UUID, who: str = "controller") -> Reopening:
    async with bank.runtime.uow(bank.people[who]) as uow:
        return await confirm_reopening(uow, reopening_id=id_)


async def _work(bank: Bank, code: str) -> None:
    """What a worker does with an automatic process."""
    id_ = (await bank.row(code))["id"]
    async with bank.runtime.uow(SYSTEM) as uow:
        await begin_automatic(uow, id_)
    async with bank.runtime.uow(SYSTEM) as uow:
        await finish_automatic(uow, id_, "f1")


async def _scalar(bank: Bank, statement: str, **values: Any) -> Any:
    async with bank.runtime.uow(SYSTEM) as uow:
        return await uow.scalar(text(statement), values)


async def _chain(bank: Bank) -> None:
    """a -> b -> c -> d, where a, b and c are done and d is not; e by itself is done."""
    await bank.run(
        [manual("a"), manual("b"), manual("c"), manual("d"), manual("e")], [("a", "b"), ("b", "c"), ("c", "d")]
    )
    for code in ("a", "b", "c", "e"):
        await bank.do("submit", code, "preparer", comment=f"{code} is right")


async def test_the_impact_is_shown_before_anything_happens(bank: Bank) -> None:
    await _chain(bank)
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        impact = await impact_of(uow, process_run_id=row["id"])
    assert [(each.code, each.effect) for each in impact.affected] == [
        ("b", Effect.STALE), ("c", Effect.STALE), ("d", Effect.BLOCKED),
    ]  # fmt: skip
    assert (impact.restates, impact.second_person) == (False, False)
    assert await bank.states() == {"a": "done", "b": "done", "c": "done", "d": "ready", "e": "done"}


async def test_finished_successors_become_stale_and_what_had_not_begun_waits(bank: Bank) -> None:
    await _chain(bank)
    done = await _reopen(bank, "a")
    assert len(done.stale) == 2
    assert await bank.states() == {"a": "assigned", "b": "stale", "c": "stale", "d": "blocked", "e": "done"}
    row = await bank.row("a")
    assert (row["round"], row["assignee_id"]) == (2, bank.people["preparer"].id)
    assert (await bank.the_run())["open_count"] == 4
    assert "“A” was opened again: Wrong rate" in (await bank.row("b"))["stale_reason"]


async def test_the_same_result_revalidates_everything_below_without_anybody(bank: Bank) -> None:
    await _chain(bank)
    before = {code: (await bank.row(code))["snapshot_hash"] for code in ("b", "c")}
    await _reopen(bank, "a")
    await bank.do("submit", "a", "preparer", comment="a is right")
    assert await bank.states() == {"a": "done", "b": "done", "c": "done", "d": "ready", "e": "done"}
    for code in ("b", "c"):
        row = await bank.row(code)
        assert (row["snapshot_hash"], row["round"], row["stale_reason"]) == (before[code], 1, None)
    assert (await bank.the_run())["open_count"] == 1
    log = "SELECT count(*) FROM process_transition t JOIN process_run p ON p.id = t.process_run_id WHERE t.name = :name"
    assert await _scalar(bank, log, name="revalidate") == 2


async def test_another_result_begins_the_next_again_and_that_decides_about_the_one_after(bank: Bank) -> None:
    await _chain(bank)
    await _reopen(bank, "a")
    await bank.do("submit", "a", "preparer", comment="a was wrong")
    assert await bank.states() == {"a": "done", "b": "assigned", "c": "stale", "d": "blocked", "e": "done"}
    await bank.do("submit", "b", "preparer", comment="b is right")
    assert await bank.states() == {"a": "done", "b": "done", "c": "done", "d": "ready", "e": "done"}
    assert (await bank.row("b"))["round"] == 2
    await bank.do("submit", "d", "preparer")
    assert (await bank.the_run())["state"] == "done"


async def test_work_under_way_goes_on_with_a_banner_and_is_doubted_when_it_was_finished_on_the_old_result(
    bank: Bank,
) -> None:
    await bank.run([manual("a"), manual("b"), manual("c")], [("a", "b"), ("b", "c")])
    await bank.do("submit", "a", "preparer", comment="old")
    await bank.do("start", "b", "preparer")
    await _reopen(bank, "a")
    row = await bank.row("b")
    assert (row["state"], "opened again" in row["stale_reason"]) == ("in_progress", True)
    await bank.do("submit", "b", "preparer", comment="built on the old one")
    assert await bank.state("c") == "ready"
    await bank.do("submit", "a", "preparer", comment="new")
    assert await bank.states() == {"a": "done", "b": "assigned", "c": "blocked"}


async def test_an_approved_piece_of_work_is_opened_by_two_people(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a"), manual("b")], [("a", "b")])
    await bank.do("submit", "a", "both")
    await bank.do("approve", "a", "controller")
    asked = await _reopen(bank, "a", "both")
    assert asked.state == "requested"
    assert await bank.state("a") == "done"
    with pytest.raises(Conflict, match="asked to open this again already"):
        await _reopen(bank, "a")
    with pytest.raises(TransitionRefused, match="Rule: a second person confirms"):
        await _confirm(bank, asked.id, "both")
    with pytest.raises(Forbidden):
        await _confirm(bank, asked.id, "preparer")
    assert (await _confirm(bank, asked.id)).state == "done"
    assert await bank.states() == {"a": "assigned", "b": "blocked"}
    with pytest.raises(Conflict, match="is done already"):
        await _confirm(bank, asked.id, "controller2")


async def test_a_declined_request_leaves_everything_as_it_is(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    asked = await _reopen(bank, "a")
    async with bank.runtime.uow(bank.people["controller2"]) as uow:
        await decline_reopening(uow, reopening_id=asked.id, reason="It is right")
    assert await bank.state("a") == "done"
    assert await _scalar(bank, "SELECT decision_reason FROM process_reopening") == "It is right"


async def test_a_finished_run_is_kept_as_it_was_signed_and_restated(bank: Bank) -> None:
    await bank.run([manual("a"), reviewed("b"), approval("c")], [("a", "b"), ("b", "c")])
    await bank.do("submit", "a", "preparer", comment="first")
    await bank.do("submit", "b", "preparer2")
    await bank.do("approve", "b", "controller")
    await bank.do("approve", "c", "controller2")
    assert (await bank.the_run())["state"] == "done"
    asked = await _reopen(bank, "a", "preparer", "The rate was corrected")
    await _confirm(bank, asked.id, "operations")
    run = await bank.the_run()
    assert (run["state"], run["open_count"], run["finished_at"]) == ("active", 3, None)
    content = await _scalar(bank, "SELECT content FROM run_statement WHERE number = 1")
    signed = {p["code"]: (p["state"], [s["by"] for s in p["signatures"]]) for p in content["processes"]}
    assert signed == {"a": ("done", []), "b": ("done", ["controller"]), "c": ("done", ["controller2"])}
    assert content["processes"][0]["comment"] == "first"
    await bank.do("submit", "a", "preparer", comment="second")
    assert await bank.states() == {"a": "done", "b": "assigned", "c": "stale"}
    await bank.do("submit", "b", "preparer2", comment="with the new rate")
    await bank.do("approve", "b", "controller")
    assert await bank.state("c") == "in_review"
    await bank.do("approve", "c", "controller2")
    assert (await bank.the_run())["state"] == "done"
    assert await _scalar(bank, "SELECT content -> 'processes' -> 0 ->> 'comment' FROM run_statement") == "first"
    standing = "SELECT count(*) FROM process_approval WHERE voided_at IS NULL"
    assert await _scalar(bank, standing) == 2  # b and c were signed anew; those of the first round are taken back


async def test_automatic_work_is_given_to_the_workers_again_only_where_its_input_has_changed(bank: Bank) -> None:
    await bank.run([manual("a"), automatic("b")], [("a", "b")])
    await bank.do("submit", "a", "preparer", comment="same")
    await _work(bank, "b")
    await _confirm(bank, (await _reopen(bank, "a")).id)
    assert await bank.state("b") == "stale"
    await bank.do("submit", "a", "preparer", comment="same")
    assert await bank.state("b") == "done"
    row = await bank.row("a")
    assert row["output_before"] is None
    jobs, b = "SELECT count(*) FROM job_run WHERE process_run_id = :id", (await bank.row("b"))["id"]
    assert await _scalar(bank, jobs, id=b) == 1
    asked = await _reopen(bank, "a")
    await _confirm(bank, asked.id)
    await bank.do("submit", "a", "preparer", comment="other")
    assert await bank.state("b") == "ready"
    assert await _scalar(bank, jobs, id=b) == 2


async def test_what_was_accepted_must_still_be_what_happens(bank: Bank) -> None:
    await _chain(bank)
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        impact = await impact_of(uow, process_run_id=row["id"])
    await bank.do("submit", "d", "preparer")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        given = {"process_run_id": row["id"], "expected_version": row["row_version"], "reason": "x"}
        with pytest.raises(StaleVersion, match="has changed since it was shown"):
            await reopen(uow, **given, impact_digest=impact.digest)
        with pytest.raises(ValidationFailed, match="Say why"):
            await reopen(uow, **{**given, "reason": " "}, impact_digest=impact.digest)
    await bank.run([manual("x"), manual("y")], [("x", "y")], code="V")
    with pytest.raises(TransitionRefused, match=r"it is Blocked\. Only what is done or skipped can"):
        await _reopen(bank, "y")


async def test_what_another_run_has_built_on_it_is_in_doubt_there(bank: Bank) -> None:
    await bank.run([manual("a")], code="V")
    upstream = await bank.row("a")
    await bank.do("submit", "a", "preparer", comment="old")
    run_id = await bank.run([manual("b"), manual("c")], [("b", "c")])
    async with bank.runtime.uow(SYSTEM) as uow:
        below = await bank.row("b")
        await uow.execute(
            text(
                "INSERT INTO process_edge (id, run_id, predecessor_id, successor_id, edge_type, hardness, accepts,"
                " met_at, satisfied_at, outcome, created_at, updated_at) VALUES (uuidv7(), :run, :from, :to, 'FS',"
                " 'hard', ARRAY['done'], now(), now(), 'met', now(), now())"
            ),
            {"run": bank.run_id, "from": upstream["id"], "to": below["id"]},
        )
    await bank.do("submit", "b", "preparer", comment="on the old one")
    async with bank.runtime.uow(SYSTEM) as uow:
        for _ in range(2):  # a delivery may come twice
            await doubt_in(uow, run_id=run_id, roots=[upstream["id"]], why="“A” was opened again")
    assert await bank.states() == {"b": "stale", "c": "blocked"}
    assert (await bank.row("b"))["waiting_on"] == 1
    async with bank.runtime.uow(SYSTEM) as uow:
        again = "UPDATE process_edge SET satisfied_at = now() WHERE predecessor_id = :id"
        await uow.execute(text(again), {"id": upstream["id"]})
        await uow.execute(text("UPDATE process_run SET waiting_on = 0 WHERE id = :id"), {"id": below["id"]})
        decided = await pass_on_in(uow, run_id=run_id, process_run_id=upstream["id"], changed=False, news="")
    assert decided == (below["id"],)
