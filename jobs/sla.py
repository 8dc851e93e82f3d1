"""The sweep of SLA clocks, as the worker runs it every few seconds, and clocks for records of before their policy."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.outbox import OutboxClaim
from app.domain.sla.backfill import NOTHING_BEFORE, backfill_portion
from app.domain.sla.sweep import sweep


async def sweep_clocks(runtime: Runtime) -> int:
    """Record and announce every threshold that has been reached; return how many were recorded."""
    return (await sweep(runtime)).recorded


async def backfill(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Start the clocks of a policy that was just published; a portion of records is a transaction of its own."""
    await runtime.reload_sla_policies()
    after: UUID | None = NOTHING_BEFORE
    while after is not None:
        async with runtime.uow(system_actor("SLA policies", correlation_id=claimed.correlation_id)) as uow:
            _, after = await backfill_portion(uow, version_id=UUID(payload["version_id"]), after=after)
