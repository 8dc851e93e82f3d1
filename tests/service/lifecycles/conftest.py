"""A lifecycle on trades, published: captured, confirmed by two people, settled or cancelled."""

from typing import Any

import pytest

from app.domain.lifecycles.publishing import publish, save_draft
from models.lifecycle import LifecycleDef
from tests.factories import SYSTEM, World

TRADE = {"trade_date": "2026-10-30", "currency": "USD", "quantity": "1000000", "rate": "1.1"}

CONFIRMATION: dict[str, Any] = {
    "code": "confirmation",
    "label": "Confirmation",
    "states": [
        {"name": "captured", "category": "draft"},
        {"name": "submitted", "category": "waiting", "editable_by": ["controller"]},
        {"name": "confirmed", "category": "final", "editable_by": []},
        {"name": "cancelled", "category": "void", "editable_by": []},
    ],
    "transitions": [
        {"name": "submit", "from": "captured", "to": "submitted", "roles": ["preparer"],
         "guard": {"quantity": {"ne": "0"}, "book.code": {"ne": "EM-2"}}, "require_fields": ["counterparty"]},
        {"name": "confirm", "from": "submitted", "to": "confirmed", "roles": ["controller"],
         "approvals": {"count": 2, "distinct_from": ["creator", "last_editor"]},
         "effects": [{"kind": "set_field", "field": "note", "value": "confirmed"},
                     {"kind": "notify", "to": "$creator", "subject": "{title} is {state}", "text": "Well done."}]},
        {"name": "return", "from": "submitted", "to": "captured", "roles": ["controller"], "require_comment": True},
        {"name": "cancel", "from": ["captured", "submitted"], "to": "cancelled"},
    ],
}  # fmt: skip


async def publish_lifecycle(world: World, given: dict[str, Any], entity: str = "trade") -> None:
    async with world.runtime.uow(SYSTEM) as uow:
        version = await save_draft(uow, entity=entity, definition=LifecycleDef.model_validate(given))
        await publish(uow, version_id=version)
    await world.runtime.reload_lifecycles()
    await world.runtime.reload_policy()


@pytest.fixture
async def bank(world: World) -> World:
    async with world.runtime.uow(SYSTEM) as uow:
        roles = uow.table("role")
        rows = [
            {"id": f"00000000-0000-7000-8000-00000000010{n}", "code": code, "label": code.title(),
             "created_at": uow.now, "updated_at": uow.now}
            for n, code in enumerate(("preparer", "controller", "desk_head"))
        ]  # fmt: skip
        await uow.execute(roles.insert(), rows)
    await publish_lifecycle(world, CONFIRMATION)
    return world
