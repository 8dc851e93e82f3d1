"""Issues in the worker: one is raised by rules, and what they block is held after it was rejected."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.outbox import OutboxClaim
from app.domain.support.issue_holds import sync_holds
from app.domain.support.issue_rules import Happened, Trouble, raise_by_rules


async def raise_issue(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Raise an issue for what has happened, or add it to the open one."""
    happened = [Happened(source, (entity, UUID(id_))) for source, entity, id_ in payload["subjects"]]
    async with runtime.uow(system_actor("Issue rules", correlation_id=claimed.correlation_id)) as uow:
        await raise_by_rules(uow, trouble=Trouble(payload["trouble"]), happened=happened)


async def sync_issue_holds(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Hold or release one process as its issues want it."""
    async with runtime.uow(system_actor("Issues", correlation_id=claimed.correlation_id)) as uow:
        await sync_holds(uow, [UUID(payload["process_run_id"])])
