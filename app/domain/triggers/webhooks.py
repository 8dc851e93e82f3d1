"""Calls from outside: who may call is proved by a signature, each delivery counts once, and every one is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select

from app.core.errors import InvalidRequest, NotFound, StepsError, Unauthenticated, Unavailable, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.throttle import address_key
from app.domain.triggers.definitions import Trigger, TriggerKind, trigger_of
from app.domain.triggers.firing import set_off
from app.domain.triggers.index import TriggerIndex, triggers_in_force
from app.domain.triggers.payload import condition_holds, read_payload
from app.domain.triggers.signature import BadSignature, require_signed
from models.base import uuid7

LARGEST_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came in."""

    token: str
    delivery: str
    timestamp: str
    signatures: str
    body: bytes
    ip: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a call. With `error` the caller is told it after what was recorded is kept."""

    firing_id: UUID
    outcome: str
    reason: str | None
    again: bool = False
    error: StepsError | None = None


async def receive(uow: UnitOfWork, call: Call) -> Receipt:
    """Check a call and set off its trigger.

    Raises:
        NotFound: there is no such address; addresses of triggers that are switched off are not there.
        RateLimited: too many calls with this token, or too many wrong ones from this address.
    """
    index = triggers_in_force(uow) or TriggerIndex()
    table = uow.table("event_trigger")
    by_token = select(table).where(
        table.c.token == call.token[:64], table.c.active, table.c.kind == TriggerKind.WEBHOOK
    )
    row = (await uow.execute(by_token)).mappings().first()
    if row is None:
        index.strangers.take(address_key(call.ip))
        raise NotFound("There is no such address.")
    index.calls.take(call.token)
    trigger = trigger_of(dict(row))
    try:
        require_signed(
            _secret(uow, row["secret"]),
            delivery=call.delivery,
            timestamp=call.timestamp,
            signatures=call.signatures,
            body=call.body,
            now=uow.resources.clock.real(),
        )
    except BadSignature as error:
        index.strangers.take(address_key(call.ip))
        return await _refuse(uow, trigger, call, Unauthenticated(f"{str(error)[:1].upper()}{str(error)[1:]}."))
    try:
        values = read_payload(trigger, _object(call.body))
    except (InvalidRequest, ValidationFailed) as error:
        return await _refuse(uow, trigger, call, error, delivery=f"webhook:{call.delivery}")
    refused = None if condition_holds(trigger, values, uow.registry, uow.now) else "The condition does not hold."
    recorded = await set_off(
        uow, trigger, delivery=f"webhook:{call.delivery}", values=values, content=call.body, refused=refused
    )
    return Receipt(recorded.id, recorded.outcome, recorded.reason, recorded.again)


async def _refuse(
    uow: UnitOfWork, trigger: Trigger, call: Call, error: StepsError, *, delivery: str | None = None
) -> Receipt:
    """A call without a right signature names nothing that could be believed, so its row has a name of ours."""
    recorded = await set_off(
        uow, trigger, delivery=delivery or f"refused:{uuid7()}", values={}, content=call.body, refused=error.detail
    )
    return Receipt(recorded.id, recorded.outcome, recorded.reason, recorded.again, error)


def _secret(uow: UnitOfWork, stored: bytes) -> str:
    try:
        secret: str = uow.resources.services["secret_box"].decrypt(stored)
    except (KeyError, ValueError):
        raise Unavailable("The secret of this address cannot be read; enter it anew.") from None
    return secret


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        raise InvalidRequest("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise InvalidRequest("The body is not a JSON object.")
    return found
