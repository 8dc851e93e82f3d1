"""Rows that many tests need: applications, roles, hierarchies, users with grants."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from app.bootstrap import Runtime
from app.core.actor import Actor, Grant, system_actor
from app.core.uow import UnitOfWork
from models.base import uuid7

SYSTEM = system_actor("Test")


async def add_row(uow: UnitOfWork, entity: str, /, **columns: Any) -> UUID:
    """Insert one row with plain column values; the standard columns are filled in. Returns its id."""
    id_ = columns.pop("id", None) or uuid7()
    stamp = {"id": id_, "row_version": 1, "created_at": uow.now, "updated_at": uow.now}
    await uow.execute(insert(uow.table(entity)).values(**stamp, **columns))
    return id_


async def add_node(
    uow: UnitOfWork, hierarchy_id: UUID, code: str, parent_id: UUID | None = None, **attributes: Any
) -> UUID:
    """A hierarchy node in force since 2020."""
    id_ = uuid7()
    nodes = uow.table("hierarchy_node")
    above = await uow.scalar(select(nodes.c.path).where(nodes.c.id == parent_id)) if parent_id else None
    return await add_row(
        uow,
        "hierarchy_node",
        id=id_,
        hierarchy_id=hierarchy_id,
        parent_id=parent_id,
        code=code,
        label=code.title(),
        attributes=attributes,
        path=f"{above}.{id_.hex}" if above else id_.hex,
        valid_from=uow.now.date().replace(year=2020, month=1, day=1),
    )


class World:
    """A small bank: applications PLATFORM and PNL, a desk hierarchy FX > G10, EM > two books each."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.nodes: dict[str, UUID] = {}
        self.applications: dict[str, UUID] = {}

    async def build(self) -> "World":
        async with self.runtime.uow(SYSTEM) as uow:
            for code in ("PLATFORM", "PNL"):
                self.applications[code] = await add_row(uow, "application", code=code, label=code.title(), active=True)
            desks = await add_row(uow, "hierarchy", code="DESK", label="Desks and books")
            self.nodes["FX"] = await add_node(uow, desks, "FX")
            for desk in ("G10", "EM"):
                self.nodes[desk] = await add_node(uow, desks, desk, self.nodes["FX"])
                for number in (1, 2):
                    book = f"{desk}-{number}"
                    self.nodes[book] = await add_node(uow, desks, book, self.nodes[desk], kind="book", currency="USD")
        return self

    def actor(self, *roles: str, node: str | None = None, application: str = "PNL", name: str = "Tester") -> Actor:
        """A user who holds these roles, below a node or everywhere; not stored."""
        return Actor(uuid7(), name, grants=tuple(self.grant(role, node, application) for role in roles))

    async def stored_actor(self, *roles: str, node: str | None = None, application: str = "PNL") -> Actor:
        """Like `actor`, with a row in the user table, for what keeps a reference to who did it."""
        actor = self.actor(*roles, node=node, application=application)
        async with self.runtime.uow(SYSTEM) as uow:
            values: Mapping[str, Any] = {"must_change_password": False, "failed_sign_ins": 0, "active": True}
            email = f"{actor.id}@bank.example"
            await add_row(uow, "user", id=actor.id, email=email, name=actor.name, account_kind="person", **values)
        return actor

    def grant(self, role: str, node: str | None = None, application: str = "PNL") -> Grant:
        node_id = self.nodes[node] if node else None
        return Grant(uuid7(), role, application, node_id, self.path(node) if node else None)

    def path(self, node: str) -> str:
        """The materialised path of a node, by its place in this world's tree."""
        parts = node.split("-")
        chain = ["FX"] if node == "FX" else ["FX", parts[0]] + ([node] if len(parts) > 1 else [])
        return ".".join(self.nodes[code].hex for code in chain)

    async def user(self, email: str, *, name: str = "Person", **columns: Any) -> UUID:
        async with self.runtime.uow(SYSTEM) as uow:
            values: Mapping[str, Any] = {
                "account_kind": "person", "active": True, "must_change_password": False, "failed_sign_ins": 0, **columns
            }  # fmt: skip
            return await add_row(uow, "user", email=email, name=name, **values)
