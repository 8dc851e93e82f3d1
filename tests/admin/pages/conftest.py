"""The pages on a bank with a published workflow and people who have signed in."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from admin_views import hierarchies, jobs, process
from admin_views.site import FEATURE_PAGES, mount
from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.file_store import open_file_store
from app.domain.access.sessions import open_session
from models.base import uuid7
from tests.admin.conftest import ORIGIN, Browser
from tests.service.workflow.bank import Bank


class Site:
    """The back office before a bank; `await site.browser("preparer")` is one of its people at work."""

    def __init__(self, app: FastAPI, bank: Bank) -> None:
        self.app, self.bank, self.runtime = app, bank, bank.runtime
        self.clients: list[httpx.AsyncClient] = []

    async def browser(self, name: str) -> Browser:
        person = self.bank.people[name]
        assert person.id is not None
        async with self.runtime.uow(Actor(person.id, name, session_id=uuid7())) as uow:
            opened = await open_session(uow, user_agent="test")
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url=ORIGIN)
        client.cookies.set("steps_session", opened.token)
        self.clients.append(client)
        return Browser(client, person.id, opened.csrf_token)

    async def process(self, code: str) -> tuple[str, int]:
        """The address of a process of the bank's run, and its version now."""
        row = await self.bank.row(code)
        return f"/processes/{row['id']}", row["row_version"]

    async def do(self, browser: Browser, name: str, code: str, **values: Any) -> httpx.Response:
        """Send the form of an action on the version that there is now."""
        path, version = await self.process(code)
        return await browser.post(f"{path}/transitions/{name}", {"version": str(version), **values})

    async def attach(
        self, browser: Browser, code: str, name: str, content: bytes, *, purpose: str = "explain", field: str = "file"
    ) -> httpx.Response:
        """Send the form that attaches a file."""
        path, _ = await self.process(code)
        return await browser.client.post(
            f"{path}/files",
            data={"csrf_token": browser.token, "purpose": purpose},
            files={field: (name, content)},
            headers={"accept": "text/html", "origin": ORIGIN},
        )

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        seen: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            seen.append(statement)

        engine = self.runtime.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
async def site(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    # The pages are tested whether or not the site lists them already.
    missing = [routes for routes in (process.ROUTES, jobs.ROUTES, hierarchies.ROUTES) if routes not in FEATURE_PAGES]
    monkeypatch.setattr("admin_views.site.FEATURE_PAGES", (*FEATURE_PAGES, *missing))
    services = dict(runtime.services)
    bank = await Bank(runtime).build()
    runtime.services = {
        "file_store": open_file_store(runtime.settings),
        **{name: services[name] for name in ("process_guards", "process_content")},
    }
    app = FastAPI()
    app.state.runtime = runtime
    mount(app)
    built = Site(app, bank)
    yield built
    for client in built.clients:
        await client.aclose()
