"""Whom the effect `notify` of a step tells, where a person is meant by their part in the record."""

from typing import Any

import pytest
from sqlalchemy import text

from app.core.errors import ValidationFailed
from app.domain.entities.service import create_record
from app.domain.lifecycles.recipients import people_among, role_names
from app.domain.lifecycles.transitions import transition_record
from models.base import uuid7
from models.registry import product_registry
from tests.factories import SYSTEM, World
from tests.service.lifecycles.conftest import TRADE, publish_lifecycle

LIFECYCLE: dict[str, Any] = {
    "code": "booking",
    "states": ["booked", {"name": "checked", "category": "final"}],
    "transitions": [
        {"name": "check", "from": "booked", "to": "checked",
         "effects": [{"kind": "notify", "to": ["owner", "created_by", "preparer"], "subject": "{title} is {state}"}]},
    ],
}  # fmt: skip


async def test_who_owns_or_made_the_record_is_told_once(bank: World) -> None:
    await publish_lifecycle(bank, {**LIFECYCLE, "priority": 5})
    maker = await bank.stored_actor("admin")
    async with bank.runtime.uow(maker) as uow:
        trade = await create_record(uow, "trade", {**TRADE, "book": str(bank.nodes["EM-1"])})
    async with bank.runtime.uow(SYSTEM) as uow:
        await transition_record(uow, entity="trade", record_id=trade["id"], name="check", expected_version=1)
    async with bank.runtime.uow(SYSTEM) as uow:
        rows = await uow.execute(text("SELECT user_id FROM notification WHERE record_id = :id"), {"id": trade["id"]})
        told = [row.user_id for row in rows]
    assert told == [maker.id]


@pytest.mark.parametrize("name", ["$nobody", "quantity"])
async def test_a_recipient_that_is_nobody_holds_back_publishing(bank: World, name: str) -> None:
    step = {"name": "check", "from": "booked", "to": "checked", "effects": [
        {"kind": "notify", "to": name, "subject": "x"}]}  # fmt: skip
    with pytest.raises(ValidationFailed, match="which is nobody"):
        await publish_lifecycle(bank, {**LIFECYCLE, "transitions": [step]})


def test_names_are_roles_fields_or_parts_in_the_record() -> None:
    issue = product_registry().entity("issue")
    maker, editor, requester, owner, actor = (uuid7() for _ in range(5))
    record = {"created_by": maker, "updated_by": editor, "requester": requester, "assignee": owner}
    to = ("controller", "$creator", "updated_by", "requester", "$actor", "owner", "created_by")
    assert role_names(to, issue) == ("controller",)
    assert people_among(to, issue, record, actor_id=actor) == (maker, editor, requester, actor, owner)
