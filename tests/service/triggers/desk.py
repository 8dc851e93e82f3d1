"""A bank with the application in front of it, whose triggers are entered and whose outbox is worked off by hand."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
from sqlalchemy import RowMapping, select, text

from app.domain.entities.service import create_record, update_record
from app.domain.jobs.outbox import OutboxClaim
from app.domain.triggers.signature import sign
from jobs.triggers import fire_trigger, look_for_files
from models.base import uuid7
from tests.api.conftest import Api
from tests.factories import SYSTEM
from tests.service.workflow.bank import manual

SECRET = "a-secret-of-the-tests-that-is-long"


class Desk(Api):
    async def build(self) -> "Desk":
        await super().build()
        await self.publish([manual("a")], code="W")
        await self.publish([manual("a")], code="V")
        await self.caller("admin")
        async with self.runtime.uow(SYSTEM) as uow:
            rows = await uow.execute(text("SELECT code, id FROM workflow"))
            self.workflows: dict[str, UUID] = {row.code: row.id for row in rows}
        return self

    async def trigger(self, **values: Any) -> dict[str, Any]:
        """Enter a trigger of W, and let this process know of it as the worker's listener would."""
        given = {"code": "T", "label": "T", "workflow": str(self.workflows["W"]), **values}
        async with self.runtime.uow(SYSTEM) as uow:
            record = await create_record(uow, "event_trigger", given)
        await self.runtime.reload_triggers()
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("event_trigger")
            return dict((await uow.execute(select(table).where(table.c.id == record["id"]))).mappings().one())

    async def change(self, trigger: Mapping[str, Any], **values: Any) -> None:
        async with self.runtime.uow(SYSTEM) as uow:
            version = trigger["row_version"]
            await update_record(uow, "event_trigger", trigger["id"], values, expected_version=version)
        await self.runtime.reload_triggers()

    async def enter_trade(self, **values: Any) -> dict[str, Any]:
        given = {
            "reference": f"X-{uuid7().hex[-8:]}", "book": str(self.nodes["G10-1"]), "trade_date": "2026-10-30",
            "product": "spot", "currency": "USD", "quantity": "1000", "rate": "1.1", "counterparty": "A", **values,
        }  # fmt: skip
        async with self.runtime.uow(SYSTEM) as uow:
            return await create_record(uow, "trade", given)

    async def call(
        self,
        token: str,
        body: Mapping[str, Any] | bytes,
        *,
        delivery: str = "d1",
        secret: str = SECRET,
        ago: timedelta = timedelta(0),
        signature: str | None = None,
    ) -> httpx.Response:
        """Call a webhook as its sender does."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        timestamp = int((self.runtime.clock.real() - ago).timestamp())
        signed = signature or sign(secret, delivery=delivery, timestamp=timestamp, body=content)
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signed,
        }
        return await self.nobody().post(f"/api/v1/hooks/{token}", content=content, headers=headers)

    async def work(self, times: int = 1) -> None:
        """Do the jobs that triggers asked for, each as often as `times`."""
        async with self.runtime.uow(SYSTEM) as uow:
            jobs = (await uow.execute(text("SELECT id, payload FROM outbox WHERE job = 'fire_trigger'"))).all()
        for job in jobs:
            for _ in range(times):
                claim = OutboxClaim(job.id, "fire_trigger", job.payload, 1, 5, uuid7(), timedelta(seconds=20))
                await fire_trigger(self.runtime, job.payload, claim)

    async def look(self) -> int:
        return await look_for_files(self.runtime)

    async def firings(self) -> list[RowMapping]:
        async with self.runtime.uow(SYSTEM) as uow:
            table = uow.table("trigger_firing")
            return list((await uow.execute(select(table).order_by(table.c.id))).mappings())

    async def outcomes(self) -> list[tuple[str, str | None]]:
        return [(row["outcome"], row["reason"]) for row in await self.firings()]

    async def references(self) -> list[str]:
        """The runs there are."""
        async with self.runtime.uow(SYSTEM) as uow:
            return list((await uow.execute(text("SELECT reference FROM workflow_run ORDER BY reference"))).scalars())
