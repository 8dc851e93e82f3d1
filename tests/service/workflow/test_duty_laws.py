"""Whatever people try, in whatever order, with whatever delegations: nobody makes and approves the same work.

Who made and who approved is taken from the history, not from what the engine keeps for its decisions.
"""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Row, text

from app.bootstrap import Runtime
from app.core.errors import StepsError
from app.domain.workflow.preparation import answer_item, save_comment
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, manual
from tests.service.workflow.standing_in import signed_by, stands_in

ROLES = (
    ("preparer", "controller"), ("preparer", "controller", "desk_head"), ("preparer",), ("controller",),
    ("controller", "desk_head"), ("desk_head",),
)  # fmt: skip
PEOPLE = len(ROLES)
STEPS = 260
CHECKLIST = [{"code": "ties", "label": "Positions tie", "required": True}]
COMMANDS = ("claim", "unclaim", "start", "submit", "submit", "approve", "approve", "approve", "reject", "back", "tick",
            "comment", "delegate", "revoke")  # fmt: skip

MADE = text(
    """
SELECT p.code, x.id, t.at FROM process_transition t JOIN process_run p ON p.id = t.process_run_id
CROSS JOIN LATERAL (VALUES (t.actor_id), (t.on_behalf_of_id)) AS x (id)
WHERE t.name IN ('start', 'submit') AND x.id IS NOT NULL
UNION ALL
SELECT p.code, x.id, a.at FROM audit_entry a JOIN process_run p ON p.id = a.record_id
CROSS JOIN LATERAL (VALUES (a.actor_id), (a.on_behalf_of)) AS x (id)
WHERE a.command = 'comment' AND x.id IS NOT NULL
UNION ALL
SELECT p.code, x.id, c.at FROM checklist_answer c JOIN process_run p ON p.id = c.process_run_id
CROSS JOIN LATERAL (VALUES (c.actor_id), (c.on_behalf_of_id)) AS x (id)
WHERE c.done AND x.id IS NOT NULL
"""
)
APPROVED = text(
    """
SELECT p.code, p.state, p.round, s.level, s.actor_id, s.on_behalf_of_id, s.at, p.submitted_at
FROM process_approval s JOIN process_run p ON p.id = s.process_run_id
WHERE s.decision = 'approved' AND s.voided_at IS NULL
"""
)


async def _try(bank: Bank, dice: random.Random, name: str, code: str, who: str) -> None:
    row = await bank.row(code)
    match name:
        case "tick":
            async with bank.runtime.uow(bank.people[who]) as uow:
                await answer_item(uow, process_run_id=row["id"], item="ties", done=dice.random() < 0.9)
        case "comment":
            async with bank.runtime.uow(bank.people[who]) as uow:
                await save_comment(uow, process_run_id=row["id"], comment="x", expected_version=row["row_version"])
        case "reject":
            await bank.do("reject", code, who, reason="By chance")
        case "back":
            await bank.do("reject", code, who, reason="By chance", data={"to_level": 1})
        case "delegate":
            other = f"p{dice.randrange(PEOPLE)}"
            if other != who:
                await stands_in(bank, who, other, since=timedelta(0))
        case "revoke":
            async with bank.runtime.uow(SYSTEM) as uow:
                await uow.execute(
                    text("UPDATE delegation SET revoked_at = :now WHERE delegate_id = :id AND revoked_at IS NULL"),
                    {"now": uow.now, "id": bank.people[who].id},
                )
        case _:
            await bank.do(name, code, who)


async def _check(bank: Bank, predecessors: dict[str, set[str]]) -> int:
    """Hold every signature that counts against the history; return how many there are."""
    async with bank.runtime.uow(SYSTEM) as uow:
        made = (await uow.execute(MADE)).all()
        approved = (await uow.execute(APPROVED)).all()
        standing = (
            await uow.execute(
                text(
                    "SELECT delegate_id, delegator_id, valid_from, least(valid_until, revoked_at) AS until"
                    " FROM delegation"
                )
            )
        ).all()
    for signature in approved:
        work = {signature.code} | predecessors.get(signature.code, set())
        makers: set[UUID] = {m.id for m in made if m.code in work and m.at <= signature.at}
        people = {signature.actor_id, signature.on_behalf_of_id} - {None}
        assert not people & makers, f"{signature.code}: made and approved by one person"
        for other in standing:
            if other.delegate_id in people and other.delegator_id in makers:
                assert not _overlap(other.valid_from, other.until, signature), (
                    f"{signature.code}: approved by a delegate of its maker"
                )
    by_level = [(s.code, s.actor_id) for s in approved]
    assert len(by_level) == len(set(by_level)), "one person has signed twice"
    return len(approved)


def _overlap(since: datetime, until: datetime, signature: Row[Any]) -> bool:
    at: datetime = signature.at
    submitted: datetime | None = signature.submitted_at
    return since <= at and until > (submitted or at)


@pytest.mark.parametrize("seed", range(10))
async def test_no_sequence_of_commands_lets_anybody_make_and_approve_the_same_work(runtime: Runtime, seed: int) -> None:
    dice = random.Random(seed)
    bank = await Bank(runtime).build()
    for number, roles in enumerate(dice.sample(ROLES, len(ROLES))):
        await bank.person(f"p{number}", *roles)
    two = {"role": "controller", "needed": 2}
    await bank.run(
        [
            signed_by("a", two, {"role": "desk_head"}, checklist=CHECKLIST),
            signed_by("b", {"role": "controller"}, {"role": "controller"}),
            manual("c"),
            approval("d"),
        ],
        [("c", "d")],
    )
    signatures = done = 0
    for _ in range(STEPS):
        name, code = dice.choice(COMMANDS), dice.choice("abcd")
        try:
            await _try(bank, dice, name, code, f"p{dice.randrange(PEOPLE)}")
            done += 1
        except StepsError:
            continue
        signatures = max(signatures, await _check(bank, {"d": {"c"}}))
    assert done > 20
    assert signatures > 0, "nothing was ever signed, so nothing was tested"
