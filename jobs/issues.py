"""Issues in the worker: the job that raises one by rules."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.outbox import OutboxClaim
from app.domain.support.issue_rules import Happened, Trouble, raise_by_rules


async def raise_issue(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Raise an issue for what has happened, or add it to the open one."""
    happened = [Happened(source, (entity, UUID(id_))) for source, entity, id_ in payload["subjects"]]
    async with runtime.uow(system_actor("Issue rules", correlation_id=claimed.correlation_id)) as uow:
        await raise_by_rules(uow, trouble=Trouble(payload["trouble"]), happened=happened)
