"""A bank with people of single desks, and what they were told."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text

from app.core.db import asyncpg_dsn
from app.core.uow import LIVE_CHANNEL
from app.domain.sla.sweep import sweep
from tests.factories import SYSTEM, add_row
from tests.service.sla.close import Close


class Desk(Close):
    async def build(self) -> "Desk":
        await super().build()
        await self.person("g10", "preparer", node="G10")
        await self.person("em", "preparer", node="EM")
        await self.person("g10_book", "preparer", node="G10-1")
        await self.person("g10_controller", "controller", node="G10")
        return self

    async def told(self, kind: str | None = None) -> dict[str, list[str]]:
        """The titles that each person was given, oldest first; people who were told nothing are not in it."""
        rows = await self.rows(
            "SELECT u.name, n.title FROM notification n JOIN app_user u ON u.id = n.user_id"
            " WHERE CAST(:kind AS text) IS NULL OR n.kind = :kind ORDER BY n.id",
            kind=kind,
        )
        told: dict[str, list[str]] = {}
        for row in rows:
            told.setdefault(row["name"], []).append(row["title"])
        return told

    async def mails(self) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.rows("SELECT * FROM mail_message ORDER BY id")]

    async def run_sql(self, sql: str) -> None:
        async with self.runtime.uow(SYSTEM) as uow:
            await uow.execute(text(sql))

    async def grant_in(self, application: str, user_id: UUID, role: str) -> None:
        async with self.runtime.uow(SYSTEM) as uow:
            await add_row(
                uow,
                "role_grant",
                user_id=user_id,
                role_id=self.roles[role],
                application_id=self.applications[application],
                valid_from=uow.now,
            )

    async def listen(self) -> Callable[[], Awaitable[list[str]]]:
        """Begin to listen to the live channel; the result gives what was heard and stops listening."""
        heard: list[str] = []
        connection = await asyncpg.connect(asyncpg_dsn(self.runtime.engine))
        await connection.add_listener(LIVE_CHANNEL, lambda *said: heard.append(str(said[-1])))

        async def collected() -> list[str]:
            await connection.execute("SELECT 1")
            await connection.close()
            return heard

        return collected

    async def sweep_now(self) -> None:
        await sweep(self.runtime)

    async def forget(self) -> None:
        """Begin to listen: what was told so far is gone."""
        await self.run_sql("DELETE FROM notification")
        await self.run_sql("DELETE FROM mail_message")
        await self.run_sql("DELETE FROM outbox")
