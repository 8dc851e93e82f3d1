"""A trade that its lifecycle has called off is in no position and no PnL; every other one is."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.actor import Actor
from app.domain.entities.service import create_record
from app.domain.finance.pnl_run import _trades
from app.domain.finance.positions import load_positions
from app.domain.finance.rate_file import business_dates
from app.domain.lifecycles.publishing import publish, save_draft
from app.domain.lifecycles.transitions import transition_record
from models.lifecycle import LifecycleDef
from tests.factories import SYSTEM, World

DAY = business_dates()[-2]
CALLING_OFF: dict[str, Any] = {
    "code": "calling_off",
    "states": [{"name": "captured", "category": "draft"}, {"name": "settled", "category": "final"},
               {"name": "cancelled", "category": "void"}],
    "transitions": [{"name": "settle", "from": "captured", "to": "settled"},
                    {"name": "cancel", "from": ["captured", "settled"], "to": "cancelled"},
                    {"name": "revive", "from": "cancelled", "to": "captured"}],
}  # fmt: skip


async def _trade(world: World, maker: Actor, quantity: str) -> UUID:
    async with world.runtime.uow(maker) as uow:
        given = {"book": str(world.nodes["G10-1"]), "trade_date": DAY.isoformat(), "currency": "USD"}
        id_: UUID = (await create_record(uow, "trade", {**given, "quantity": quantity, "rate": "1.1"}))["id"]
        return id_


async def _step(world: World, maker: Actor, id_: UUID, name: str) -> None:
    async with world.runtime.uow(maker) as uow:
        await transition_record(uow, entity="trade", record_id=id_, name=name, expected_version=None)


async def _traded(world: World) -> tuple[int, Decimal, list[Decimal]]:
    """How many trades the positions count, what was traded, and the quantities that the PnL takes."""
    async with world.runtime.uow(SYSTEM) as uow:
        loaded = await load_positions(uow, DAY)
        positions = uow.table("position")
        mine = select(positions.c.traded).where(positions.c.business_date == DAY, positions.c.current)
        traded = await uow.scalar(mine)
        trades = await _trades(uow, DAY, {world.nodes["G10-1"]: "G10-1"})
    return loaded.trades, traded, sorted(trade.quantity for trade in trades)


async def test_called_off_trades_count_neither_in_positions_nor_in_pnl_until_they_are_revived(world: World) -> None:
    maker = await world.stored_actor("preparer")
    await _trade(world, maker, "5")  # from before there was a lifecycle
    async with world.runtime.uow(SYSTEM) as uow:
        version = await save_draft(uow, entity="trade", definition=LifecycleDef.model_validate(CALLING_OFF))
        await publish(uow, version_id=version)
    await world.runtime.reload_lifecycles()
    captured, settled = await _trade(world, maker, "70"), await _trade(world, maker, "300")
    await _step(world, maker, settled, "settle")
    assert await _traded(world) == (3, Decimal(375), [Decimal(5), Decimal(70), Decimal(300)])
    await _step(world, maker, captured, "cancel")
    assert await _traded(world) == (2, Decimal(305), [Decimal(5), Decimal(300)])
    await _step(world, maker, settled, "cancel")
    assert await _traded(world) == (1, Decimal(5), [Decimal(5)])
    await _step(world, maker, captured, "revive")
    assert await _traded(world) == (2, Decimal(75), [Decimal(5), Decimal(70)])
