"""Ticking the items of a process's checklist."""

from typing import Any

import pytest
from sqlalchemy import text

from app.core.errors import NotFound, TransitionRefused
from app.domain.workflow.preparation import answer_item
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, manual, reviewed

ITEMS = [{"code": "ties", "label": "Positions tie", "required": True}]


async def _tick(bank: Bank, who: str, *, done: bool = True, item: str = "ties") -> None:
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people[who]) as uow:
        await answer_item(uow, process_run_id=row["id"], item=item, done=done)


async def _answer(bank: Bank) -> dict[str, Any]:
    async with bank.runtime.uow(SYSTEM) as uow:
        row = (await uow.execute(text("SELECT done, actor_id, row_version FROM checklist_answer"))).mappings().one()
        return dict(row)


async def test_an_answer_says_who_gave_it_and_the_last_one_counts(bank: Bank) -> None:
    await bank.run([manual("a", checklist=ITEMS)])
    await _tick(bank, "preparer")
    assert await _answer(bank) == {"done": True, "actor_id": bank.people["preparer"].id, "row_version": 1}
    await _tick(bank, "preparer2", done=False)
    assert await _answer(bank) == {"done": False, "actor_id": bank.people["preparer2"].id, "row_version": 2}


async def test_an_answer_is_on_record_with_the_words_of_the_item(bank: Bank) -> None:
    await bank.run([manual("a", checklist=ITEMS)])
    await _tick(bank, "preparer")
    async with bank.runtime.uow(SYSTEM) as uow:
        entry = (await uow.execute(text("SELECT actor_name, after FROM audit_entry WHERE command = 'check'"))).one()
    assert entry.actor_name == "preparer"
    assert entry.after == {"item": "ties", "label": "Positions tie"}


async def test_what_is_under_review_is_not_ticked_any_more(bank: Bank) -> None:
    await bank.run([reviewed("a", checklist=ITEMS)])
    await _tick(bank, "preparer")
    await bank.do("submit", "a", "preparer")
    with pytest.raises(TransitionRefused):
        await _tick(bank, "preparer", done=False)
    assert (await _answer(bank))["done"] is True


async def test_an_item_that_the_process_does_not_have_is_refused(bank: Bank) -> None:
    await bank.run([manual("a", checklist=ITEMS)])
    with pytest.raises(NotFound, match="no checklist item other"):
        await _tick(bank, "preparer", item="other")
