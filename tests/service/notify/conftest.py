from collections.abc import AsyncIterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.bootstrap import HANDLERS, Runtime
from app.core.ports import free_port
from app.domain.notify.events import NoticesWanted
from app.domain.notify.handlers import on_process_state_changed, on_processes_released, on_thresholds_passed
from app.domain.notify.mail import SERVICE, KeepTransport, SmtpTransport
from app.domain.notify.notices import on_notices_wanted
from app.domain.sla.events import SlaThresholdsPassed
from app.domain.workflow.events import ProcessesReleased, ProcessStateChanged
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
async def desk(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The bank of the workflow tests, with preparers and controllers of single desks, and no mail server."""
    return await _desk(runtime, monkeypatch, KeepTransport(ADDRESS))


@pytest.fixture
async def mailing_desk(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, mail_server: Controller) -> Desk:
    """The same, with a mail server."""
    url = f"smtp://127.0.0.1:{mail_server.port}"
    return await _desk(runtime, monkeypatch, SmtpTransport(url, ADDRESS))


async def _desk(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, transport: KeepTransport | SmtpTransport) -> Desk:
    for event, handler in (
        (ProcessesReleased, on_processes_released),
        (ProcessStateChanged, on_process_state_changed),
        (SlaThresholdsPassed, on_thresholds_passed),
        (NoticesWanted, on_notices_wanted),
    ):
        wired = HANDLERS.get(event, ())
        if handler not in wired:
            monkeypatch.setitem(HANDLERS, event, (*wired, handler))
    built = Desk(runtime)
    await built.at(NOON)
    await built.build()
    runtime.services = {**runtime.services, SERVICE: transport}
    return built
