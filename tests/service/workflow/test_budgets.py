"""A transition sends at most six statements, whatever the size of its run and however much it releases."""

from typing import Any

import pytest

from app.domain.workflow.transitions import transition
from tests.service.workflow.bank import Bank, manual, reviewed
from tests.service.workflow.statements import counted

BUDGET = 6


async def _statements(bank: Bank, name: str, code: str, who: str, **values: Any) -> int:
    row = await bank.row(code)
    with counted(bank.runtime) as sent:
        async with bank.runtime.uow(bank.people[who]) as uow:
            await transition(uow, process_run_id=row["id"], name=name, expected_version=row["row_version"], **values)
    return len(sent)


@pytest.mark.parametrize("fan_out", [1, 50])
async def test_each_transition_keeps_to_the_budget(bank: Bank, fan_out: int) -> None:
    later = [f"q{number}" for number in range(fan_out)]
    evidence = [{"code": "x", "label": "X", "required": False}]
    await bank.run([reviewed("a", evidence=evidence), *(manual(c) for c in later)], [("a", code) for code in later])
    assert await _statements(bank, "claim", "a", "preparer") <= BUDGET
    assert await _statements(bank, "start", "a", "preparer") <= BUDGET
    assert await _statements(bank, "submit", "a", "preparer", comment="Done") <= BUDGET
    assert await _statements(bank, "reject", "a", "controller", reason="Again") <= BUDGET
    assert await _statements(bank, "submit", "a", "preparer") <= BUDGET
    assert await _statements(bank, "approve", "a", "controller") <= BUDGET
    assert set((await bank.states()).values()) == {"done", "ready"}
