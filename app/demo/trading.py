"""The trades of the sample bank: the old ones as they were, those of the last days with the lifecycle they follow."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.bootstrap import Runtime
from app.core.actor import Actor, system_actor
from app.demo.package import DemoPackage
from app.demo.people import Colleagues
from app.domain.entities.service import create_records
from app.domain.lifecycles.publishing import publish, save_draft
from app.domain.lifecycles.transitions import StepCommand, transition_records

PORTION = 1_000
FOLLOWING_DAYS = 3  # the last date and the two before it
CAPTURED_AT, VERIFIED_AT, SETTLED_AT, TODAY_UNTIL = time(9, 20), time(17, 40), time(9, 5), time(15, 50)


async def load_trades(runtime: Runtime, package: DemoPackage, nodes: Mapping[str, UUID], *, start: datetime) -> None:
    """Trades before the last days follow no lifecycle; it is published then, and a preparer captures the others."""
    trades = [{**trade, "book": str(nodes[trade["book"]])} for trade in package.trades()]
    following = _following(package)
    before = [trade for trade in trades if date.fromisoformat(trade["trade_date"]) not in following]
    for position in range(0, len(before), PORTION):
        async with runtime.uow(system_actor("Demo"), now=start) as uow:
            await create_records(uow, "trade", before[position : position + PORTION])
    async with runtime.uow(system_actor("Demo"), now=start) as uow:
        for entity, definition in package.lifecycles():
            version = await save_draft(uow, entity=entity, definition=definition, notes="First version")
            await publish(uow, version_id=version)
    await runtime.reload_lifecycles()
    await runtime.reload_policy()
    preparer = (await Colleagues.load(runtime, package)).by_role["preparer"][0]
    for day in following:
        async with runtime.uow(preparer, now=package.instant(day, CAPTURED_AT)) as uow:
            await create_records(uow, "trade", [t for t in trades if t["trade_date"] == day.isoformat()])


async def check_trades(runtime: Runtime, package: DemoPackage) -> None:
    """What controllers did: of today half are verified, of the day before all, and those before that are settled."""
    controllers = (await Colleagues.load(runtime, package)).by_role["controller"]
    first, second, today = _following(package)
    by_day = {day: await _ids(runtime, day) for day in (first, second, today)}
    await _step(runtime, controllers[0], "verify", by_day[first], package.instant(first, VERIFIED_AT))
    await _step(runtime, controllers[-1], "verify", by_day[second], package.instant(second, VERIFIED_AT))
    await _step(runtime, controllers[0], "settle", by_day[first], package.instant(today, SETTLED_AT))
    await _step(runtime, controllers[-1], "verify", by_day[today][::2], package.instant(today, TODAY_UNTIL))


def _following(package: DemoPackage) -> list[date]:
    return [package.date_of(offset) for offset in range(1 - FOLLOWING_DAYS, 1)]


async def _ids(runtime: Runtime, day: date) -> list[UUID]:
    async with runtime.uow(system_actor("Demo")) as uow:
        trades = uow.table("trade")
        found = select(trades.c.id).where(trades.c.trade_date == day, trades.c.lifecycle_version_id.is_not(None))
        return list((await uow.execute(found.order_by(trades.c.reference))).scalars())


async def _step(runtime: Runtime, actor: Actor, name: str, ids: Sequence[UUID], now: datetime) -> None:
    commands: list[Any] = [StepCommand(id_, name) for id_ in ids]
    async with runtime.uow(actor, now=now) as uow:
        outcomes = await transition_records(uow, entity="trade", commands=commands)
    refused = next((outcome.refusal for outcome in outcomes if outcome.refusal is not None), None)
    if refused is not None:
        raise RuntimeError(f"demo trades: {name}: {refused.detail}")
