"""Sign-offs: they sign all that stands behind them, and show when that has changed since."""

from collections.abc import Mapping
from typing import Any

import pytest

from app.core.errors import TransitionRefused
from app.core.uow import UnitOfWork
from app.domain.workflow.content import read_content
from app.domain.workflow.process_row import ProcessRow, read_process
from app.domain.workflow.sign_offs import check_signatures
from app.domain.workflow.signed_content import Signed, signed_now
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, manual


class Figures:
    """Figures of another feature, which change beside the workflow."""

    value = "100.00"

    async def __call__(self, uow: UnitOfWork, row: ProcessRow) -> Mapping[str, Any]:
        return {"pnl": {"total": self.value}}


def sign_off(code: str, *roles: str) -> dict[str, Any]:
    return {**approval(code, *roles), "kind": "sign_off"}


async def _signed(bank: Bank, code: str = "sign") -> Signed:
    id_ = (await bank.row(code))["id"]
    async with bank.runtime.uow(SYSTEM) as uow:
        row = await read_process(uow, id_)
        found = await signed_now(uow, row, await read_content(uow, row))
    assert found is not None
    return found


async def _check(bank: Bank) -> int:
    async with bank.runtime.uow(SYSTEM) as uow:
        return await check_signatures(uow)


@pytest.fixture
async def closed(bank: Bank) -> Figures:
    """a, then b, then the sign-off, and a last process that keeps the run open."""
    figures = Figures()
    bank.runtime.services = {"process_content": (figures,)}
    await bank.run(
        [manual("a"), manual("b"), sign_off("sign"), manual("last"), manual("aside")],
        [("a", "b"), ("b", "sign"), ("sign", "last")],
    )
    for code in ("a", "b"):
        await bank.do("submit", code, "preparer", comment="done")
    return figures


async def test_a_sign_off_shows_everything_behind_it_however_far_back(bank: Bank, closed: Figures) -> None:
    before = await _signed(bank)
    assert (before.open, [line.label for line in before.lines]) == (True, ["A", "B"])
    await bank.do("approve", "sign", "controller")
    after = await _signed(bank)
    assert (after.open, after.changed) == (False, False)
    assert [(line.label, line.signed, line.now, line.changed) for line in after.lines] == [
        ("A", "done", "done", False),
        ("B", "done", "done", False),
    ]


async def test_who_did_the_work_before_it_does_not_sign_it_off(bank: Bank, closed: Figures) -> None:
    both = await bank.person("both", "preparer", "controller")
    await bank.run([manual("a"), sign_off("sign")], [("a", "sign")], code="OTHER")
    await bank.do("submit", "a", both)
    with pytest.raises(TransitionRefused, match="maker is not checker"):
        await bank.do("approve", "sign", both)


async def test_a_level_does_not_sign_what_has_changed_since_the_level_before(bank: Bank) -> None:
    figures = Figures()
    bank.runtime.services = {"process_content": (figures,)}
    await bank.run([manual("a"), sign_off("sign", "controller", "desk_head")], [("a", "sign")])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "sign", "controller")
    figures.value = "101.00"
    with pytest.raises(TransitionRefused, match="has changed since"):
        await bank.do("approve", "sign", "desk_head")


async def test_data_that_changed_is_shown_and_the_sign_off_waits_to_be_signed_anew(bank: Bank, closed: Figures) -> None:
    await bank.do("approve", "sign", "controller")
    assert await _check(bank) == 0
    closed.value = "99.99"
    shown = await _signed(bank)
    assert (shown.changed, shown.figures_changed) == (True, True)
    assert await _check(bank) == 1
    row = await bank.row("sign")
    assert (row["state"], row["round"], await bank.state("last")) == ("in_review", 2, "blocked")
    doubts = "SELECT count(*) FROM process_transition WHERE name = 'stale' AND reason LIKE 'Data has changed%'"
    assert await bank.count(doubts) == 1
    assert await _check(bank) == 0
    await bank.do("approve", "sign", "controller")
    assert (await bank.state("sign"), await bank.state("last")) == ("done", "ready")
    assert (await _signed(bank)).changed is False
    for code in ("last", "aside"):
        await bank.do("submit", code, "preparer")
    assert (await bank.the_run())["state"] == "done"


async def test_a_finished_run_keeps_its_signature_and_says_that_data_has_changed(bank: Bank, closed: Figures) -> None:
    await bank.do("approve", "sign", "controller")
    for code in ("last", "aside"):
        await bank.do("submit", code, "preparer")
    closed.value = "5.00"
    assert await _check(bank) == 0
    assert (await bank.state("sign"), (await _signed(bank)).changed) == ("done", True)
