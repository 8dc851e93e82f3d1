"""The whole application over HTTP, in this process, on a small bank with people who call it by access tokens."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from app.bootstrap import Runtime
from app.core.actor import Actor
from app.domain.access.sessions import hash_token
from app.main import create_app
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import Bank

BASE = "http://127.0.0.1:8000"
V1 = "/api/v1"


class Api(Bank):
    """The bank with the application in front of it: `await api.as_("preparer").get("/trades")`."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.app: FastAPI = create_app(runtime=runtime)
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._tokens: dict[str, str] = {}

    async def build(self) -> "Api":
        services = self.runtime.services
        await super().build()
        self.runtime.services = services  # the bank by itself goes without what other features add
        return self

    async def token(self, name: str, *, read_only: bool = False) -> str:
        """A token of a person of the bank."""
        token = f"steps_pat_{name.encode().hex()[:12]}_{'r' if read_only else 'w'}{name}-secret-of-the-tests"
        async with self.runtime.uow(SYSTEM) as uow:
            await add_row(
                uow,
                "access_token",
                user_id=self.people[name].id,
                label="Tests",
                prefix=token[:22],
                token_hash=hash_token(token),
                read_only=read_only,
                last_used_at=self.runtime.clock.real(),
            )
        self._tokens[name] = token
        return token

    async def caller(self, name: str, *roles: str, node: str | None = None, application: str = "PNL") -> None:
        """Make a person with a token who can call by `as_`."""
        if roles:
            id_ = await self.user(f"{name}@bank.example", name=name)
            grants = [self.grant(role, node, application) for role in roles]
            async with self.runtime.uow(SYSTEM) as uow:
                for role in roles:
                    await add_row(
                        uow,
                        "role_grant",
                        user_id=id_,
                        role_id=self.roles[role],
                        application_id=self.applications[application],
                        node_id=self.nodes[node] if node else None,
                        valid_from=uow.now,
                    )
            self.people[name] = Actor(id_, name, grants=tuple(grants))
        await self.token(name)

    def as_(self, name: str) -> httpx.AsyncClient:
        if name not in self._clients:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            headers = {"authorization": f"Bearer {self._tokens[name]}"}
            self._clients[name] = httpx.AsyncClient(transport=transport, base_url=BASE + V1, headers=headers)
        return self._clients[name]

    def nobody(self) -> httpx.AsyncClient:
        """A client without any credentials."""
        if "" not in self._clients:
            self._clients[""] = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE)
        return self._clients[""]

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    def trade(self, book: str = "G10-1", **values: Any) -> dict[str, Any]:
        """A new trade as a client sends it."""
        deal = {"trade_date": "2026-10-30", "currency": "USD", "quantity": "1000000", "rate": "1.1"}
        return {"book": str(self.nodes[book]), **deal, **values}

    async def made(self, slug: str, values: dict[str, Any], *, by: str = "boss") -> dict[str, Any]:
        """Create a record over the API and return it."""
        response = await self.as_(by).post(f"/{slug}", json=values)
        assert response.status_code == 201, response.text
        record: dict[str, Any] = response.json()
        return record


@contextmanager
def statements(runtime: Runtime) -> Iterator[list[str]]:
    """The SQL statements that are run inside the block; BEGIN and COMMIT are none."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)


@pytest.fixture
async def api(runtime: Runtime) -> AsyncIterator[Api]:
    """boss administers the platform; preparer, controller, operations, auditor work everywhere; g10, em on a desk."""
    built = Api(runtime)
    await built.build()
    await built.caller("boss", "admin", application="PLATFORM")
    for name in ("preparer", "controller", "auditor", "operations"):
        await built.caller(name)
    await built.caller("g10", "preparer", node="G10")
    await built.caller("em", "preparer", node="EM")
    yield built
    await built.aclose()
