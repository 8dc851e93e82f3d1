"""Messages, as the worker sends them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.outbox import OutboxClaim
from app.domain.notify import outgoing, waiting


async def send_mail(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Send one mail; the delivery's last attempt gives it up if the server does not take it."""
    last = claimed.attempt >= claimed.max_attempts
    await outgoing.send_mail(runtime, UUID(payload["mail_id"]), last_attempt=last)


async def release_waiting(runtime: Runtime) -> int:
    """Send off what waited for the end of quiet hours or for a digest, and withdraw what is over."""
    async with runtime.uow(system_actor("Mail")) as uow:
        return await waiting.release_waiting(uow)


async def deliver_stranded_mails(runtime: Runtime) -> int:
    """Send the mails that nothing else would send any more."""
    async with runtime.uow(system_actor("Mail")) as uow:
        return await outgoing.deliver_stranded(uow)
