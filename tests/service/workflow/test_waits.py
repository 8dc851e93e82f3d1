"""Processes that wait for a file, an event or a time."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.errors import Forbidden, StepsError
from app.core.file_store import open_file_store
from app.domain.documents.files import attach_file
from app.domain.lifecycles.events import RecordEventEmitted
from app.domain.workflow.runs import create_run
from app.domain.workflow.wait_files import files_for, take_file, waiting_for_files
from app.domain.workflow.wait_patterns import name_matches, pattern_problem
from app.domain.workflow.waits import arrive, end_due_waits
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, Bank, manual


def wait_for(**wait: Any) -> dict[str, Any]:
    return {"code": "w", "kind": "wait_for", "owner_role": "operations", "wait": wait}


async def _deliver(bank: Bank) -> int:
    """Do the arrivals that have been told of, twice: a delivery may come again."""
    async with bank.runtime.uow(SYSTEM) as uow:
        told = (await uow.execute(text("SELECT payload FROM outbox WHERE job = 'workflow.arrive'"))).scalars().all()
    count = 0
    for payload in (*told, *told):
        async with bank.runtime.uow(SYSTEM) as uow:
            count += await arrive(uow, process_run_id=UUID(payload["process_run_id"]), arrival=payload["arrival"])
    return count


async def test_a_wait_is_nobodys_work_and_ends_with_the_time(bank: Bank) -> None:
    await bank.run([wait_for(kind="time", until="BD+0 17:00 Europe/Berlin"), manual("a")], [("w", "a")])
    assert await bank.states() == {"w": "waiting_external", "a": "blocked"}
    with pytest.raises(StepsError):
        await bank.do("claim", "w", "operations")
    at = datetime(2026, 10, 30, 16, 0, tzinfo=UTC)
    for moment, ended in ((at - timedelta(seconds=1), 0), (at, 1), (at, 0)):
        async with bank.runtime.uow(SYSTEM, now=moment) as uow:
            assert await end_due_waits(uow) == ended
    assert await bank.states() == {"w": "done", "a": "ready"}
    assert (await bank.row("w"))["arrival"]["until"] == "2026-10-30T16:00:00+00:00"


async def test_somebody_in_charge_says_with_a_reason_that_it_has_come(bank: Bank) -> None:
    await bank.run([wait_for(kind="event", event="workflow_run.confirmed"), manual("a")], [("w", "a")])
    with pytest.raises(Forbidden):
        await bank.do("arrived", "w", "preparer", reason="by mail")
    with pytest.raises(StepsError, match="Say why"):
        await bank.do("arrived", "w", "operations")
    assert (await bank.do("arrived", "w", "operations", reason="It came by mail.")).to_state == "done"
    assert await bank.state("a") == "ready"


async def _emit(bank: Bank, name: str, record_id: Any) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        uow.emit(RecordEventEmitted(at=uow.now, entity="workflow_run", record_id=record_id, name=name))


async def test_an_event_about_another_record_does_not_count_and_the_right_one_counts_once(bank: Bank) -> None:
    condition = {"variant": {"eq": "x"}}
    run_id = await bank.run([wait_for(kind="event", event="workflow_run.confirmed", condition=condition)])
    await _emit(bank, "confirmed", run_id)
    assert await _deliver(bank) == 0
    async with bank.runtime.uow(SYSTEM) as uow:
        other = await create_run(uow, workflow="W", business_date=DAY, variant="x")
    await _emit(bank, "denied", other)
    assert await _deliver(bank) == 0
    await _emit(bank, "confirmed", other)
    assert await _deliver(bank) == 2  # the waits of both runs, once each
    assert await bank.state("w") == "done"


@pytest.mark.parametrize(("early", "states"), [(True, ("blocked", "done")), (False, ("blocked", "waiting_external"))])
async def test_what_comes_before_its_turn_counts_only_where_the_definition_says_so(
    bank: Bank, early: bool, states: tuple[str, str]
) -> None:
    run_id = await bank.run([manual("a"), wait_for(kind="event", event="workflow_run.ok", early=early)], [("a", "w")])
    await _emit(bank, "ok", run_id)
    await _deliver(bank)
    before = await bank.state("w")
    await bank.do("submit", "a", "preparer")
    assert (before, await bank.state("w")) == states


async def test_the_end_of_a_run_ends_the_waits_of_its_date(bank: Bank) -> None:
    await bank.publish([manual("r")], code="RATES")
    await bank.run([wait_for(kind="event", event="run:RATES")])
    waiting = bank.run_id
    for day in (date(2026, 10, 29), DAY):
        async with bank.runtime.uow(SYSTEM) as uow:
            bank.run_id = await create_run(uow, workflow="RATES", business_date=day)
        await bank.do("submit", "r", "preparer")
        await _deliver(bank)
        bank.run_id, found = waiting, bank.run_id
        assert await bank.state("w") == ("done" if day == DAY else "waiting_external")
        assert found != waiting


@pytest.fixture
def stored(bank: Bank) -> Bank:
    bank.runtime.services = {"file_store": open_file_store(bank.runtime.settings)}
    return bank


def _put(inbox: Path, name: str, at: datetime) -> None:
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / name).write_text("EUR;1.08\n")
    os.utime(inbox / name, (at.timestamp(), at.timestamp()))


async def _look(bank: Bank, inbox: Path) -> int:
    async with bank.runtime.uow(SYSTEM) as uow:
        waits, settled = await waiting_for_files(uow), (uow.now + timedelta(hours=1)).timestamp()
    count = 0
    for wait, path in files_for(waits, inbox, settled=settled, shift=timedelta()):
        async with bank.runtime.uow(SYSTEM) as uow:
            count += await take_file(uow, wait, path)
    return count


async def test_a_file_in_the_inbox_is_kept_as_evidence_with_its_hash(stored: Bank, tmp_path: Path) -> None:
    bank = stored
    await bank.run([wait_for(kind="file", pattern="rates_{business_date:%Y%m%d}_*.csv", folder="ecb")])
    ready = (await bank.row("w"))["ready_at"]
    inbox = tmp_path / "inbox"
    _put(inbox / "ecb", "rates_20261029_a.csv", ready + timedelta(seconds=1))
    _put(inbox / "ecb", "rates_20261030_early.csv", ready - timedelta(seconds=60))
    _put(inbox / "ecb", "rates_20261030_x.csv.part", ready + timedelta(seconds=1))
    assert (await _look(bank, inbox), await bank.state("w")) == (0, "waiting_external")
    _put(inbox / "ecb", "rates_20261030_a.csv", ready + timedelta(seconds=1))
    assert (await _look(bank, inbox), await bank.state("w")) == (1, "done")
    assert await _look(bank, inbox) == 0
    row = await bank.row("w")
    kept = "SELECT count(*) FROM file WHERE record_id = :id AND purpose = 'arrival' AND sha256 = :sha"
    assert await bank.count(kept, id=row["id"], sha=row["arrival"]["sha256"]) == 1
    assert row["output_hash"] == row["arrival"]["sha256"]


async def test_a_file_that_cannot_be_kept_is_told_and_the_wait_goes_on(stored: Bank, tmp_path: Path) -> None:
    bank = stored
    await bank.run([wait_for(kind="file", pattern="rates*")])
    _put(tmp_path, "rates.exe", (await bank.row("w"))["ready_at"] + timedelta(seconds=1))
    assert await _look(bank, tmp_path) == 0
    row = await bank.row("w")
    assert row["state"] == "waiting_external"
    assert "“rates.exe” has come and was not taken" in row["reason"]


async def test_a_file_attached_to_a_process_of_the_run_ends_the_wait(stored: Bank) -> None:
    bank = stored
    await bank.run([wait_for(kind="file", source="attached", pattern="statement*.csv"), manual("a")])
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        await attach_file(uow, record=("process_run", row["id"]), name="statement 1.csv", content=b"a;b\n1;2\n")
    assert (await _deliver(bank), await bank.state("w")) == (1, "done")


def test_names_of_files_carry_the_business_date_as_the_pattern_writes_it() -> None:
    assert name_matches("r_{business_date}.csv", "r_2026-10-30.csv", DAY)
    assert name_matches("r_{business_date:%d%m%Y}_?.csv", "r_30102026_2.csv", DAY)
    assert not name_matches("r_{business_date}.csv", "r_2026-10-29.csv", DAY)
    assert not name_matches("r_*.csv", "R_1.csv", DAY)
    assert pattern_problem("r_{date}.csv") is not None
    assert pattern_problem("../r.csv") is not None
    assert pattern_problem("*") is not None
    assert pattern_problem("r_{business_date:%d%m%Y}*.csv") is None
