"""Triggers in the worker: the job that creates a firing's run, and the look into watched folders."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.execute import in_words
from app.domain.jobs.outbox import OutboxClaim
from app.domain.triggers.firing import fire, note_failure
from app.domain.triggers.inbox import inbox_of, look_into_inbox


async def fire_trigger(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Create the run of a firing. A fault is noted at the firing, and the delivery is tried again."""
    firing_id = UUID(str(payload["firing_id"]))
    actor = system_actor("Trigger", correlation_id=claimed.correlation_id)
    try:
        async with runtime.uow(actor) as uow:
            await fire(uow, firing_id)
    except Exception as error:
        async with runtime.uow(actor) as uow:
            await note_failure(uow, firing_id, in_words(error))
        raise


async def look_for_files(runtime: Runtime) -> int:
    """Set off the triggers of files that have arrived."""
    async with runtime.uow(system_actor("Inbox")) as uow:
        return await look_into_inbox(uow, inbox_of(runtime.settings.data_dir))
