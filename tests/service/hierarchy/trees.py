"""A small tree, and short ways to change and read it."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.uow import UnitOfWork
from app.domain.hierarchy.csv_import import apply_import, plan_import, read_csv
from app.domain.hierarchy.queries import tree
from app.domain.hierarchy.service import create_hierarchy
from tests.factories import SYSTEM, add_row

TODAY = date(2026, 3, 2)
START = date(2024, 1, 2)

DESKS = """code,parent_code,label,valid_from,valid_to,kind,currency
FX,,FX,2024-01-02,,business,EUR
G10,FX,G10 desk,2024-01-02,,desk,EUR
G10-1,G10,G10 book one,2024-01-02,,book,USD
G10-2,G10,G10 book two,2024-01-02,,book,GBP
EM,FX,EM desk,2024-01-02,,desk,EUR
EM-1,EM,EM book one,2024-01-02,,book,ZAR
"""


class Desks:
    """The tree of `DESKS`, on which it is some day. A failed change leaves nothing."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.ids: dict[str, UUID] = {}

    async def build(self, csv: str = DESKS) -> "Desks":
        async with self.on(TODAY) as uow:
            await create_hierarchy(uow, code="DESK", label="Desks and books", level_labels="Business, Desk, Book")
            plan = await plan_import(uow, hierarchy_code="DESK", rows=read_csv(csv), as_of=TODAY)
            await apply_import(uow, plan)
            nodes = uow.table("hierarchy_node")
            self.ids = {row.code: row.id for row in await uow.execute(select(nodes.c.code, nodes.c.id))}
        return self

    def on(self, day: date = TODAY, actor: Actor = SYSTEM) -> UnitOfWork:
        return self.runtime.uow(actor, now=datetime(day.year, day.month, day.day, 9, tzinfo=UTC))

    async def row(self, code: str) -> Any:
        async with self.on() as uow:
            nodes = uow.table("hierarchy_node")
            return (await uow.execute(select(nodes).where(nodes.c.id == self.ids[code]))).one()

    async def version(self, code: str) -> int:
        version: int = (await self.row(code)).row_version
        return version

    async def lines(self, day: date, *, today: date = TODAY) -> list[str]:
        """The tree of a day, each node as the codes from the top: `FX/G10/G10-1`."""
        async with self.on(today) as uow:
            nodes = await tree(uow, "DESK", as_of=day)
        codes = {node.id.hex: node.code for node in nodes}
        return ["/".join(codes[label] for label in node.path.split(".")) for node in nodes]

    async def paths_are_right(self) -> bool:
        """Whether every stored path is what the parents make it."""
        check = text(
            "SELECT bool_and(n.path = coalesce(p.path, '') || replace(CAST(n.id AS text), '-', ''))"
            " FROM hierarchy_node n LEFT JOIN hierarchy_node p ON p.id = n.parent_id"
        )
        async with self.on() as uow:
            return bool(await uow.scalar(check))

    async def overlaps(self) -> int:
        """How many pairs of versions of one node overlap."""
        check = text(
            "SELECT count(*) FROM hierarchy_node_version a JOIN hierarchy_node_version b"
            " ON a.node_id = b.node_id AND a.id < b.id"
            " AND daterange(a.valid_from, a.valid_to) && daterange(b.valid_from, b.valid_to)"
        )
        async with self.on() as uow:
            return int(await uow.scalar(check))

    async def trade(self, book: str, reference: str, day: date) -> UUID:
        async with self.on() as uow:
            return await add_row(
                uow, "trade", reference=reference, book_id=self.ids[book], trade_date=day, currency="USD",
                product="spot", quantity=100, rate=1, late=False,
            )  # fmt: skip
