"""Triggers in the worker: the job that creates a firing's run, and the look into watched folders."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.execute import in_words
from app.domain.jobs.outbox import OutboxClaim
from app.domain.triggers.firing import fire, note_failure
from app.domain.triggers.inbox import SETTLED_SECONDS, inbox_of, look_into_inbox
from app.domain.workflow import sign_offs, wait_files, waits


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
    """Set off the triggers of files that have arrived, and end the waits for them."""
    inbox = inbox_of(runtime.settings.data_dir)
    async with runtime.uow(system_actor("Inbox")) as uow:
        count = await look_into_inbox(uow, inbox)
        waiting = await wait_files.waiting_for_files(uow)
    settled = time.time() - SETTLED_SECONDS
    found = await asyncio.to_thread(wait_files.files_for, waiting, inbox, settled=settled, shift=runtime.clock.shift)
    for wait, path in found:
        async with runtime.uow(system_actor("Inbox")) as uow:
            count += await wait_files.take_file(uow, wait, path)
    return count


async def arrive(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """End the wait for what has come."""
    async with runtime.uow(system_actor("Worker", correlation_id=claimed.correlation_id)) as uow:
        await waits.arrive(uow, process_run_id=UUID(str(payload["process_run_id"])), arrival=payload["arrival"])


async def end_due_waits(runtime: Runtime) -> int:
    """End the waits whose time has come."""
    async with runtime.uow(system_actor()) as uow:
        return await waits.end_due_waits(uow)


async def check_signatures(runtime: Runtime) -> int:
    """Put sign-offs in doubt whose data has changed since."""
    async with runtime.uow(system_actor()) as uow:
        return await sign_offs.check_signatures(uow)
