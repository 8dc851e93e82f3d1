"""The people of the sample bank, and what they write."""

import csv
import io
import random
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.bootstrap import Runtime
from app.core.actor import Actor, system_actor
from app.core.uow import UnitOfWork
from app.demo.package import DemoPackage
from app.domain.access.grants import load_grants
from app.domain.finance.arithmetic import display_amount

WORDS = {
    "market_move": "The move of {what} against the euro explains the result: the open position was revalued at the "
    "day's ECB reference rate; no position break was found.",
    "new_trades": "Client orders of the day in {what} were dealt away from the reference rate; the margin ties to the "
    "trade capture, ticket by ticket.",
    "late_trade_capture": "Trades in {what} captured after the 16:00 cut are in the actual figure and not in the "
    "flash; they were confirmed with the desk.",
}


class Colleagues:
    """Actors by role, with the grants they hold."""

    def __init__(self, by_role: Mapping[str, Sequence[Actor]]) -> None:
        self.by_role = by_role

    @classmethod
    async def load(cls, runtime: Runtime, package: DemoPackage) -> "Colleagues":
        by_role: dict[str, list[Actor]] = {}
        async with runtime.uow(system_actor()) as uow:
            users = uow.table("user")
            for user in package.users():
                found = select(users.c.id, users.c.name).where(users.c.email == user.email)
                row = (await uow.execute(found)).one()
                grants = await load_grants(uow, row.id, uow.now)
                actor = Actor(row.id, row.name, email=user.email, grants=grants)
                for role in user.roles:
                    by_role.setdefault(role, []).append(actor)
        return cls(by_role)

    @property
    def everybody(self) -> list[Actor]:
        return list({actor.id: actor for actors in self.by_role.values() for actor in actors}.values())

    def of(self, role: str, dice: random.Random) -> Actor:
        """Somebody who holds the role."""
        return dice.choice(list(self.by_role[role]))


def commentary(dice: random.Random, breach: Mapping[str, Any]) -> tuple[str, str]:
    """A root cause and a commentary for a breach."""
    causes = ["late_trade_capture"] if breach["kind"] == "percent" else ["market_move", "new_trades"]
    cause = dice.choice(causes)
    return cause, WORDS[cause].format(what=breach["node_label"])


async def explain_file(uow: UnitOfWork, day: date, node_id: UUID | None) -> tuple[str, bytes]:
    """The explain that a preparer attaches: the day's figures by book and measure, as CSV."""
    facts, nodes = uow.table("pnl_fact"), uow.table("hierarchy_node")
    above = select(nodes.c.path).where(nodes.c.id == node_id).scalar_subquery()
    rows = await uow.execute(
        select(nodes.c.code, facts.c.measure, facts.c.value)
        .join(nodes, nodes.c.id == facts.c.book_id)
        .where(facts.c.business_date == day, facts.c.current, facts.c.source == "book", nodes.c.path.op("<@")(above))
        .order_by(nodes.c.code, facts.c.measure)
    )
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["book", "measure", "eur"])
    writer.writerows([row.code, row.measure, display_amount(row.value)] for row in rows)
    return f"pnl_explain_{day:%Y%m%d}.csv", stream.getvalue().encode()
