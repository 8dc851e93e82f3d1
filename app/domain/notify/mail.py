"""Mail, as a port: a server that takes it, or nothing, in which case mails are kept and can be read in the product."""

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib

from app.core.settings import Settings
from app.core.uow import UnitOfWork

SERVICE = "mail"
TIMEOUT_SECONDS = 20.0


class MailState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    KEPT = "kept"
    FAILED = "failed"
    WAITING = "waiting"
    GATHERED = "gathered"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as its row has it. The Message-ID follows from the id: a mail that is sent twice arrives as one."""

    id: UUID
    recipient: str
    subject: str
    text_body: str
    html_body: str | None
    date: datetime


class MailNotAccepted(Exception):
    """The server did not take a mail. `permanent`: it never will."""

    def __init__(self, detail: str, *, permanent: bool) -> None:
        super().__init__(detail)
        self.permanent = permanent


class MailTransport(Protocol):
    """`sends`: whether mails go anywhere; `address`: where people reach the product, for links in them."""

    @property
    def sends(self) -> bool: ...

    @property
    def address(self) -> str: ...

    async def send(self, mail: Mail) -> None:
        """Hand one mail over. Raises MailNotAccepted."""


@dataclass(frozen=True, slots=True)
class KeepTransport:
    """There is no mail server: mails stay in the product."""

    address: str = ""
    sends: bool = False

    async def send(self, mail: Mail) -> None:
        raise MailNotAccepted("No mail server is configured (STEPS_SMTP_URL).", permanent=False)


@dataclass(frozen=True, slots=True)
class SmtpTransport:
    """An SMTP server at `smtp://user:password@host:25` (STARTTLS where it offers that) or `smtps://host:465`."""

    url: str
    address: str
    sends: bool = True

    async def send(self, mail: Mail) -> None:
        parts = urlsplit(self.url)
        tls = parts.scheme == "smtps"
        try:
            await aiosmtplib.send(
                self.message(mail),
                hostname=parts.hostname,
                port=parts.port or (465 if tls else 25),
                username=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                use_tls=tls,
                timeout=TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            raise MailNotAccepted(f"{refused.code} {refused.message}", permanent=_is_permanent(refused.code)) from error
        except aiosmtplib.SMTPAuthenticationError as error:  # wrong credentials can be corrected while mails wait
            raise MailNotAccepted(f"{error.code} {error.message}", permanent=False) from error
        except aiosmtplib.SMTPResponseException as error:
            raise MailNotAccepted(f"{error.code} {error.message}", permanent=_is_permanent(error.code)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailNotAccepted(str(error) or type(error).__name__, permanent=False) from error
        except ValueError as error:  # an address or subject that cannot stand in a header
            raise MailNotAccepted(str(error), permanent=True) from error

    def message(self, mail: Mail) -> EmailMessage:
        """The mail as it goes over the wire. Raises ValueError for what cannot stand in a header."""
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = mail.recipient
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(mail.date)
        message["Message-ID"] = f"<{mail.id}@{self._host}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text_body)
        if mail.html_body:
            message.add_alternative(mail.html_body, subtype="html")
        return message

    @property
    def sender(self) -> str:
        """The mailbox that signs in at the server, if it is one; else `no-reply` at the product's own host."""
        user = unquote(urlsplit(self.url).username or "")
        return f"STEPS <{user if '@' in user else f'no-reply@{self._host}'}>"

    @property
    def _host(self) -> str:
        return urlsplit(self.address).hostname or "localhost"


def _is_permanent(code: int) -> bool:
    return 500 <= code < 600


def transport_for(settings: Settings) -> MailTransport:
    """The transport that the settings ask for."""
    if settings.smtp_url:
        return SmtpTransport(settings.smtp_url, settings.address)
    return KeepTransport(settings.address)


def mail_transport(uow: UnitOfWork) -> MailTransport:
    """The transport of this installation; where none was set up, mails are kept."""
    transport: MailTransport | None = uow.resources.services.get(SERVICE)
    return KeepTransport() if transport is None else transport
