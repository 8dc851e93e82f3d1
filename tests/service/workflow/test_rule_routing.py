"""Rules that decide about processes as they become ready and are submitted."""

from typing import Any

import pytest

from app.domain.rules.evaluation import RULES, RuleBook
from tests.service.rules.writing import in_force
from tests.service.workflow.bank import DAY, Bank, approval, manual, reviewed
from tests.unit.rules.tables import table

INPUTS = [{"name": "process", "type": "text"}, {"name": "moment", "type": "text"}]
OUTPUTS = [
    {"name": "owner_role", "type": "text", "required": False},
    {"name": "approval_levels", "type": "integer", "required": False},
    {"name": "skip", "type": "boolean", "required": False},
    {"name": "reason", "type": "text", "required": False},
]


async def _rule(bank: Bank, *rows: tuple[dict[str, str], dict[str, str]]) -> None:
    bank.runtime.services = {RULES: RuleBook()}
    content = table([*rows, ({}, {"reason": "As defined"})], inputs=INPUTS, outputs=OUTPUTS)
    facts = {"process": "nothing", "moment": "ready"}
    tests = [{"label": "nothing", "input": facts, "expected": {"reason": "As defined"}}]
    await in_force(bank, "ROUTE", content, tests=tests, valid_from=DAY, purpose="process_routing")


@pytest.mark.parametrize(
    ("allowed", "state"), [({"skip_allowed": True}, "skipped"), ({}, "ready"),
                           ({"skip_allowed": True, "skip_second_person": True}, "ready")]
)  # fmt: skip
async def test_a_rule_skips_only_what_one_person_may_skip(bank: Bank, allowed: dict[str, Any], state: str) -> None:
    await _rule(bank, ({"process": "b"}, {"skip": "yes", "reason": "Quiet day"}))
    await bank.run([manual("a"), manual("b", rule="ROUTE", **allowed)], [("a", "b")])
    await bank.do("submit", "a", "preparer")
    assert await bank.state("b") == state
    refused = await bank.count("SELECT count(*) FROM audit_entry WHERE command = 'route_refused'")
    assert refused == (0 if state == "skipped" else 1)


async def test_a_rule_gives_work_to_another_role_and_keeps_its_decision(bank: Bank) -> None:
    await _rule(bank, ({"process": "a"}, {"owner_role": "controller", "reason": "Large"}))
    await bank.run([manual("a", rule="ROUTE"), manual("c")])
    row = await bank.row("a")
    assert (row["owner_role"], row["routed"]["reason"]) == ("controller", "Large")
    assert await bank.count("SELECT count(*) FROM rule_evaluation WHERE purpose = 'routing:ready'") == 1
    await bank.do("submit", "a", "controller")
    assert await bank.state("a") == "done"


async def test_the_levels_are_those_that_the_rule_says_when_it_is_handed_in(bank: Bank) -> None:
    await _rule(bank, ({"moment": "submit"}, {"approval_levels": "1"}))
    await bank.run([reviewed("a", "controller", "desk_head", rule="ROUTE")])
    assert (await bank.row("a"))["levels"] == 2
    await bank.do("submit", "a", "preparer")
    assert (await bank.row("a"))["levels"] == 1
    assert (await bank.do("approve", "a", "controller")).to_state == "done"


async def test_no_rule_lets_a_decision_be_signed_by_nobody_or_by_more_than_there_are(bank: Bank) -> None:
    await _rule(bank, ({"process": "low"}, {"approval_levels": "0"}), ({"process": "high"}, {"approval_levels": "5"}))
    await bank.run([manual("a"), approval("low", rule="ROUTE"), approval("high", rule="ROUTE")],
                   [("a", "low"), ("a", "high")])  # fmt: skip
    await bank.do("submit", "a", "preparer")
    assert ((await bank.row("low"))["levels"], (await bank.row("high"))["levels"]) == (1, 1)


async def test_a_rule_that_fails_leaves_the_process_as_it_is_defined(bank: Bank) -> None:
    await _rule(bank, ({"process": "b"}, {"owner_role": "nobody"}))
    await bank.run([manual("a"), manual("b", rule="ROUTE")], [("a", "b")])
    await bank.do("submit", "a", "preparer")
    row = await bank.row("b")
    assert (row["state"], row["owner_role"]) == ("ready", "preparer")
    assert await bank.count("SELECT count(*) FROM audit_entry WHERE command = 'route_refused'") == 1
