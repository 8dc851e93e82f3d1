"""What has to be there before work is handed in, and what an approval signs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from app.core.errors import Forbidden, NotFound, StaleVersion, TransitionRefused
from app.core.uow import UnitOfWork
from app.domain.workflow.content import CONTENT_SERVICE, GUARDS_SERVICE, UnmetGuard
from app.domain.workflow.preparation import answer_item, save_comment
from app.domain.workflow.process_row import ProcessRow
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import Bank, manual, reviewed

CHECKLIST = [
    {"code": "ties", "label": "Positions tie", "required": True},
    {"code": "extra", "label": "Breaks raised", "required": False},
]
EVIDENCE = [{"code": "explain", "label": "PnL explain", "required": True}]


async def _attach(bank: Bank, code: str, purpose: str, sha256: str, by: str = "preparer") -> UUID:
    row = await bank.row(code)
    async with bank.runtime.uow(bank.people[by]) as uow:
        file_id = await add_row(
            uow, "file", name=f"{sha256[:4]}.xlsx", record_entity="process_run", record_id=row["id"], purpose=purpose,
            version_number=1, size=10, sha256=sha256, created_by=bank.people[by].id,
        )  # fmt: skip
        await add_row(
            uow, "file_version", file_id=file_id, number=1, sha256=sha256, size=10, media_type="x", original_name="x",
            created_by=bank.people[by].id,
        )  # fmt: skip
    return file_id


async def _tick(bank: Bank, code: str, item: str, who: str = "preparer", done: bool = True) -> None:
    row = await bank.row(code)
    async with bank.runtime.uow(bank.people[who]) as uow:
        await answer_item(uow, process_run_id=row["id"], item=item, done=done)


async def test_submission_waits_for_comment_checklist_and_evidence_and_names_all_that_is_missing(bank: Bank) -> None:
    await bank.run([manual("a", require_comment=True, checklist=CHECKLIST, evidence=EVIDENCE)])
    with pytest.raises(TransitionRefused, match="3 things are missing") as refused:
        await bank.do("submit", "a", "preparer")
    assert [unmet["guard"] for unmet in refused.value.context["unmet"]] == ["comment", "checklist", "evidence"]
    await _tick(bank, "a", "ties")
    await _attach(bank, "a", "explain", "e" * 64)
    with pytest.raises(TransitionRefused, match="One thing is missing"):
        await bank.do("submit", "a", "preparer", comment="   ")
    await bank.do("submit", "a", "preparer", comment="Within limits.")
    assert await bank.state("a") == "done"


async def test_an_item_that_is_unticked_again_counts_as_open(bank: Bank) -> None:
    await bank.run([manual("a", checklist=CHECKLIST)])
    await _tick(bank, "a", "ties")
    await _tick(bank, "a", "ties", done=False)
    with pytest.raises(TransitionRefused, match="Tick “Positions tie”"):
        await bank.do("submit", "a", "preparer")
    with pytest.raises(NotFound, match="no checklist item"):
        await _tick(bank, "a", "unknown")


async def test_only_who_prepares_it_may_tick_and_comment(bank: Bank) -> None:
    await bank.run([manual("a", checklist=CHECKLIST)])
    for who in ("auditor", "controller", "operations"):
        with pytest.raises(Forbidden):
            await _tick(bank, "a", "ties", who)
    await bank.do("claim", "a", "preparer")
    with pytest.raises(TransitionRefused, match="somebody else"):
        await _tick(bank, "a", "ties", "preparer2")


async def test_a_draft_comment_is_kept_and_handed_in(bank: Bank) -> None:
    await bank.run([manual("a", require_comment=True)])
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        version = await save_comment(uow, process_run_id=row["id"], comment="Draft", expected_version=1)
    with pytest.raises(StaleVersion):
        async with bank.runtime.uow(bank.people["preparer2"]) as uow:
            await save_comment(uow, process_run_id=row["id"], comment="Other", expected_version=1)
    await bank.do("submit", "a", "preparer", version=version)
    assert (await bank.row("a"))["comment"] == "Draft"


async def test_evidence_that_changes_after_the_submission_is_not_signed(bank: Bank) -> None:
    await bank.run([reviewed("a", evidence=EVIDENCE)])
    await _attach(bank, "a", "explain", "e" * 64)
    await bank.do("submit", "a", "preparer")
    await _attach(bank, "a", "explain", "f" * 64)
    with pytest.raises(TransitionRefused, match="changed since it was submitted") as refused:
        await bank.do("approve", "a", "controller")
    assert refused.value.guard == "content_unchanged"
    await bank.do("reject", "a", "controller", reason="Submit the new explain.")
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    both = await bank.row("a")
    assert (
        await bank.count("SELECT count(*) FROM process_approval WHERE snapshot_hash = :h", h=both["snapshot_hash"]) == 1
    )


async def test_whoever_put_evidence_in_cannot_approve_it(bank: Bank) -> None:
    await bank.run([reviewed("a", evidence=EVIDENCE)])
    await _attach(bank, "a", "explain", "e" * 64, by="controller")
    await bank.do("submit", "a", "preparer")
    with pytest.raises(TransitionRefused, match=r"You added evidence.*1 can do it: controller2"):
        await bank.do("approve", "a", "controller")
    await bank.do("approve", "a", "controller2")


async def test_guards_and_figures_of_other_features_take_part(bank: Bank) -> None:
    open_breaches = ["FXG10-1"]
    figures = {"pnl": "100"}

    async def breaches(uow: UnitOfWork, row: ProcessRow) -> list[UnmetGuard]:
        assert row.business_date is not None
        return [UnmetGuard("breaches_commented", book, f"Comment on {book}.") for book in open_breaches]

    async def pnl(uow: UnitOfWork, row: ProcessRow) -> Mapping[str, Any]:
        return figures

    bank.runtime.services = {GUARDS_SERVICE: (breaches,), CONTENT_SERVICE: (pnl,)}
    await bank.run([reviewed("a")])
    with pytest.raises(TransitionRefused, match="Comment on FXG10-1") as refused:
        await bank.do("submit", "a", "preparer")
    assert refused.value.guard == "breaches_commented"
    open_breaches.clear()
    await bank.do("submit", "a", "preparer")
    figures["pnl"] = "101"
    with pytest.raises(TransitionRefused, match="changed since it was submitted"):
        await bank.do("approve", "a", "controller")
    figures["pnl"] = "100"
    await bank.do("approve", "a", "controller")


async def test_the_platform_itself_never_decides(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(Forbidden, match="none of your grants"):
        await bank.do("approve", "a", SYSTEM)
