"""The back office on a real database, visited by people who have really signed in."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, select

from admin_views.site import StepsAdmin, mount
from app.bootstrap import Runtime
from app.core.actor import Actor
from app.domain.access.sessions import open_session
from app.domain.entities.service import create_record
from models.base import uuid7
from tests.factories import SYSTEM, World, add_row

ORIGIN = "http://bank.test"
TRADE = {"trade_date": "2026-10-30", "currency": "USD", "quantity": "1000000", "rate": "1.1"}

MakeTrade = Callable[..., Awaitable[UUID]]


class Browser:
    """A signed-in person's browser: cookie, origin and token go with what it sends."""

    def __init__(self, client: httpx.AsyncClient, user_id: UUID, token: str) -> None:
        self.client, self.user_id, self.token = client, user_id, token

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={"accept": "text/html", **headers})

    async def post(self, path: str, data: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        headers = {"accept": "text/html", "origin": ORIGIN, **more.pop("headers", {})}
        return await self.client.post(path, data={"csrf_token": self.token, **(data or {})}, headers=headers)


class Office:
    """The site, the bank behind it, and the people who visit."""

    def __init__(self, app: FastAPI, world: World) -> None:
        self.app, self.world, self.runtime = app, world, world.runtime
        self._clients: list[httpx.AsyncClient] = []

    @property
    def site(self) -> StepsAdmin:
        site: StepsAdmin = self.app.state.site.current()
        return site

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        client = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
        self._clients.append(client)
        return client

    async def visitor(
        self, *roles: str, node: str | None = None, application: str = "PNL", name: str = "Ada Byron", **columns: Any
    ) -> Browser:
        """A person with these roles, below a node or everywhere, who has just signed in."""
        user_id = await self.world.user(f"{uuid7().hex}@bank.test", name=name, **columns)
        async with self.runtime.uow(SYSTEM) as uow:
            roles_table = uow.table("role")
            for role in roles:
                role_id = await uow.scalar(select(roles_table.c.id).where(roles_table.c.code == role))
                if role_id is None:
                    role_id = await add_row(uow, "role", code=role, label=role.title())
                await add_row(
                    uow,
                    "role_grant",
                    user_id=user_id,
                    role_id=role_id,
                    application_id=self.world.applications[application],
                    node_id=self.world.nodes[node] if node else None,
                    valid_from=uow.now,
                )
        async with self.runtime.uow(Actor(user_id, name, session_id=uuid7())) as uow:
            opened = await open_session(uow, user_agent="test")
        client = self.client()
        client.cookies.set("steps_session", opened.token)
        return Browser(client, user_id, opened.csrf_token)

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The statements that run inside, without those that only frame a transaction."""
        seen: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            seen.append(statement)

        engine = self.runtime.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(engine, "before_cursor_execute", note)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.fixture
async def office(runtime: Runtime, world: World) -> AsyncIterator[Office]:
    app = FastAPI()
    app.state.runtime = runtime
    mount(app)
    office = Office(app, world)
    yield office
    await office.close()


@pytest.fixture
def trade(office: Office) -> MakeTrade:
    """Make a trade through the service, in a book, and return its id."""

    async def make(book: str = "G10-1", **values: Any) -> UUID:
        async with office.runtime.uow(office.world.actor("preparer")) as uow:
            given = {**TRADE, "book": str(office.world.nodes[book]), **values}
            record = await create_record(uow, "trade", given)
        id_: UUID = record["id"]
        return id_

    return make
