"""Endpoints, as a port: signed calls to addresses, and channels of chat and SMS services by Apprise."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson

from app.core.errors import FieldProblem, ValidationFailed
from app.core.settings import Settings
from app.core.uow import UnitOfWork
from app.domain.notify.web_targets import Allowed, CallFailed, TargetRefused, post, read_address, resolve
from app.domain.triggers.signature import SHORTEST_SECRET, key_of, sign

SERVICE = "notification_endpoints"
CHAT_TIMEOUT_SECONDS = 30.0
USER_AGENT = "STEPS-Notifications/1"
# Services whose hosts are their own: an address of these cannot lead to somewhere inside the bank.
CHAT_SERVICES = (
    "discord", "opsgenie", "pagerduty", "pover", "signl4", "slack", "sns", "tgram", "twilio", "vonage", "workflows",
    "wxteams",
)  # fmt: skip
TEAMS = "workflows"  # Microsoft Teams: the address names one of Microsoft's hosts
TEAMS_HOSTS = (".logic.azure.com", ".api.powerplatform.com", ".flow.microsoft.com")


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent to an endpoint. `id` is the same at each attempt, so that a receiver counts it once."""

    id: UUID
    title: str
    text: str
    kind: str
    rule: str
    link: str
    record: Mapping[str, str] | None
    at: datetime


class EndpointTransport(Protocol):
    """What delivers to endpoints."""

    async def send(self, kind: str, address: str, secret: str | None, message: Message, *, at: datetime) -> None:
        """Deliver one message; `at` is the real time. Raises CallFailed."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The real thing. `allowed`: what may be called besides public addresses."""

    allowed: Allowed

    async def send(self, kind: str, address: str, secret: str | None, message: Message, *, at: datetime) -> None:
        if kind == "webhook":
            await self._call(address, secret or "", message, at)
        else:
            await self._chat(address, message)

    async def _call(self, address: str, secret: str, message: Message, at: datetime) -> None:
        body, delivery, timestamp = orjson.dumps(payload(message)), str(message.id), int(at.timestamp())
        headers = {
            "user-agent": USER_AGENT,
            "webhook-id": delivery,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secret, delivery=delivery, timestamp=timestamp, body=body),
        }
        try:
            target = await resolve(address, self.allowed)
        except TargetRefused as refused:
            raise CallFailed(str(refused), permanent=True) from None
        await post(target, body=body, headers=headers)

    async def _chat(self, address: str, message: Message) -> None:
        check_chat(address)
        text = "\n".join(part for part in (message.text, message.link) if part)
        try:
            taken = await asyncio.wait_for(
                asyncio.to_thread(_notify, address, message.title, text), timeout=CHAT_TIMEOUT_SECONDS
            )
        except TimeoutError:
            raise CallFailed("The service did not answer in time.", permanent=False) from None
        if not taken:
            raise CallFailed("The service did not take the message.", permanent=False)


def _notify(address: str, title: str, text: str) -> bool:
    import apprise  # it reads some hundred modules, which only a worker that sends to a chat needs

    service = apprise.Apprise()
    return bool(service.add(address) and service.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT))


def payload(message: Message) -> dict[str, Any]:
    """The body of a call."""
    return {
        "type": "notification",
        "id": str(message.id),
        "rule": message.rule,
        "category": message.kind,
        "title": message.title,
        "text": message.text,
        "link": message.link,
        "record": dict(message.record) if message.record else None,
        "created_at": message.at.isoformat(),
    }


def check_chat(address: str) -> None:
    """Refuse an address of a service that is not known to keep to its own hosts. Raises CallFailed."""
    scheme = address.partition("://")[0].lower()
    if scheme not in CHAT_SERVICES or "://" not in address:
        raise CallFailed(
            f"{scheme[:20]!r} is no service that is available; there are {', '.join(CHAT_SERVICES)}.", permanent=True
        )
    try:
        parts = urlsplit(address)
        host, options = parts.hostname or "", parse_qs(parts.query)
    except ValueError:
        raise CallFailed("This is no address of a service.", permanent=True) from None
    if scheme == TEAMS and not host.endswith(TEAMS_HOSTS):
        raise CallFailed(f"An address of Teams names a host that ends in {' or '.join(TEAMS_HOSTS)}.", permanent=True)
    if "verify" in options:
        raise CallFailed("The certificate of a service is always checked: leave `verify` out.", permanent=True)


def check_endpoint(kind: str, address: str, secret: str | None) -> None:
    """Refuse an endpoint that could never be called. Raises ValidationFailed."""
    try:
        if kind == "webhook":
            read_address(address)
        else:
            check_chat(address)
    except (TargetRefused, CallFailed) as refused:
        raise ValidationFailed([FieldProblem("address", str(refused))]) from None
    if kind != "webhook":
        return
    try:
        length = len(key_of(secret or ""))
    except ValueError as error:
        raise ValidationFailed([FieldProblem("secret", str(error).capitalize())]) from None
    if length < SHORTEST_SECRET:
        raise ValidationFailed([FieldProblem("secret", f"At least {SHORTEST_SECRET} characters.")])


def endpoints_for(settings: Settings) -> Endpoints:
    return Endpoints(Allowed.read(settings.notify_allowed_networks))


def endpoint_transport(uow: UnitOfWork) -> EndpointTransport:
    """The transport of this installation; where none was set up, only public addresses are called."""
    transport: EndpointTransport | None = uow.resources.services.get(SERVICE)
    return transport if transport is not None else Endpoints(Allowed())
