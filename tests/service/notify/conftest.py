from collections.abc import AsyncIterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.bootstrap import Runtime
from app.core.ports import free_port
from app.domain.notify.mail import SERVICE, KeepTransport, SmtpTransport
from tests.service.notify.desk import Desk
from tests.service.sla.close import NOON

ADDRESS = "https://steps.bank.example"


class Postbox:
    """A real SMTP server's handler: keeps what arrives, answers as it is told to."""

    def __init__(self) -> None:
        self.arrived: list[Envelope] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.arrived.append(envelope)
        return self.answer


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
async def mail_server(postbox: Postbox) -> AsyncIterator[Controller]:
    controller = Controller(postbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller
    controller.stop(no_assert=True)


@pytest.fixture
async def desk(runtime: Runtime) -> Desk:
    """The bank of the workflow tests, with preparers and controllers of single desks, and no mail server."""
    return await _desk(runtime, KeepTransport(ADDRESS))


@pytest.fixture
async def mailing_desk(runtime: Runtime, mail_server: Controller) -> Desk:
    """The same, with a mail server."""
    url = f"smtp://127.0.0.1:{mail_server.port}"
    return await _desk(runtime, SmtpTransport(url, ADDRESS))


async def _desk(runtime: Runtime, transport: KeepTransport | SmtpTransport) -> Desk:
    built = Desk(runtime)
    await built.at(NOON)
    await built.build()
    runtime.services = {**runtime.services, SERVICE: transport}
    return built
