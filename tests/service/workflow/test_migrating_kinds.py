"""Runs go over to a new version while work is in doubt, a sign-off has signed, or a wait is waiting."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.workflow.reopening import impact_of, reopen
from app.domain.workflow.waits import arrive, end_due_waits
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, manual
from tests.service.workflow.test_migrating import begin, migrated, version
from tests.service.workflow.test_sign_offs import _signed, sign_off

TIME = {"kind": "time", "until": "BD+0 17:00 Europe/Berlin"}


def _wait(**wait: Any) -> dict[str, Any]:
    return {"code": "w", "kind": "wait_for", "owner_role": "operations", "wait": wait}


async def _reopen(bank: Bank, code: str) -> None:
    row = await bank.row(code)
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        impact = await impact_of(uow, process_run_id=row["id"])
        await reopen(
            uow,
            process_run_id=row["id"],
            expected_version=row["row_version"],
            reason="Corrected",
            impact_digest=impact.digest,
        )


async def test_work_in_doubt_stays_so_and_is_valid_again_when_the_same_comes_out(bank: Bank) -> None:
    edges = [("a", "b"), ("b", "c")]
    old = await version(bank, [("s", [manual(code) for code in "abc"])], edges)
    await begin(bank)
    for code in "ab":
        await bank.do("submit", code, "preparer", comment=code)
    await _reopen(bank, "a")
    assert await bank.states() == {"a": "assigned", "b": "stale", "c": "blocked"}
    new = await version(bank, [("s", [manual(code) for code in "abcd"])], [*edges, ("b", "d")])
    await migrated(bank, old, new)
    states = await bank.states()
    assert (states["b"], states["c"], states["d"]) == ("stale", "blocked", "blocked")
    await bank.do("submit", "a", "preparer", comment="a")
    assert await bank.states() == {"a": "done", "b": "done", "c": "ready", "d": "ready"}


async def test_a_sign_off_that_has_signed_stays_signed_on_what_it_signed(bank: Bank) -> None:
    edges = [("a", "sign"), ("sign", "last")]
    old = await version(bank, [("s", [manual("a"), sign_off("sign"), manual("last")])], edges)
    await begin(bank)
    await bank.do("submit", "a", "preparer", comment="a")
    await bank.do("approve", "sign", "controller")
    signed = await bank.row("sign")
    new = await version(bank, [("s", [manual("a"), sign_off("sign"), manual("last"), manual("more")])], edges)
    await migrated(bank, old, new)
    row = await bank.row("sign")
    assert (row["state"], row["snapshot_hash"]) == ("done", signed["snapshot_hash"])
    found = await _signed(bank)
    assert (found.open, found.changed, [line.label for line in found.lines]) == (False, False, ["A"])
    assert await bank.states() == {"a": "done", "sign": "done", "last": "ready", "more": "ready"}


async def test_a_sign_off_that_comes_to_stand_for_more_work_says_that_it_did_not_sign_it(bank: Bank) -> None:
    parts = [manual("a"), sign_off("sign"), manual("last"), manual("aside")]
    old = await version(bank, [("s", parts)], [("a", "sign")])
    await begin(bank)
    await bank.do("submit", "a", "preparer", comment="a")
    await bank.do("submit", "last", "preparer", comment="last")
    await bank.do("approve", "sign", "controller")
    new = await version(bank, [("s", parts)], [("a", "sign"), ("last", "sign")])
    await migrated(bank, old, new)
    found = await _signed(bank)
    assert [(line.label, line.changed) for line in found.lines] == [("A", False), ("Last", True)]
    assert found.changed


async def test_a_wait_goes_on_waiting_by_the_new_definition(bank: Bank) -> None:
    old = await version(bank, [("s", [_wait(kind="event", event="workflow_run.confirmed"), manual("a")])], [("w", "a")])
    await begin(bank)
    assert await bank.state("w") == "waiting_external"
    new = await version(bank, [("s", [_wait(**TIME), manual("a")])], [("w", "a")])
    await migrated(bank, old, new)
    assert await bank.states() == {"w": "waiting_external", "a": "blocked"}
    at = datetime(2026, 10, 30, 16, 0, tzinfo=UTC)
    for moment, ended in ((at - timedelta(seconds=1), 0), (at, 1)):
        async with bank.runtime.uow(SYSTEM, now=moment) as uow:
            assert await end_due_waits(uow) == ended
    assert await bank.states() == {"w": "done", "a": "ready"}


async def test_what_has_come_already_counts_after_the_migration(bank: Bank) -> None:
    early = _wait(kind="event", event="workflow_run.confirmed", early=True)
    old = await version(bank, [("s", [manual("a"), early])], [("a", "w")])
    await begin(bank)
    async with bank.runtime.uow(SYSTEM) as uow:
        assert await arrive(uow, process_run_id=(await bank.row("w"))["id"], arrival={"kind": "event", "event": "x"})
    new = await version(bank, [("s", [manual("a"), early, manual("b")])], [("a", "w"), ("w", "b")])
    await migrated(bank, old, new)
    await bank.do("submit", "a", "preparer", comment="a")
    assert await bank.states() == {"a": "done", "w": "done", "b": "ready"}
