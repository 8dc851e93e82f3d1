"""One running product and one browser for all tests of this folder; people who enter it."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, StorageState, async_playwright, expect

from app.core.embedded import EmbeddedServers
from tests.browser.person import Person, visitor
from tests.browser.stack import Stack, last_lines, running_stack
from tests.conftest import TEMPLATE, _admin, _memory, _on

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-GB",
)
PATIENCE_MS = 15_000
# The other tests work on the runs as they were made from the first version.
CHANGES_THE_WORKFLOW = "test_designer.py"

Enter = Callable[..., Awaitable[Person]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of this folder also loads the demo; what changes its workflow for good comes last."""
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in here:
        item.add_marker(pytest.mark.timeout(420))
    last = [item for item in here if item.path.name == CHANGES_THE_WORKFLOW]
    items[:] = [item for item in items if item not in last] + last


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says what the processes of the product wrote last."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and running is not None:
        report.sections.extend((f"{log.name} of the product", last_lines(log)) for log in running.logs)
    return report


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(servers: EmbeddedServers) -> AsyncIterator[Stack]:
    name = f"browser_{uuid4().hex}"
    await _admin(servers.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')
    with tempfile.TemporaryDirectory(prefix="steps-browser-", dir=_memory()) as folder:
        async with running_stack(_on(servers.database_url, name), Path(folder)) as running:
            yield running
    await _admin(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("There is no Chromium on the PATH. Install it (Debian: apt install chromium); `make test` does.")
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield started
        await started.close()


@pytest.fixture(scope="package")
def kept_sessions() -> dict[str, StorageState]:
    """Sessions by person, so that each one signs in once."""
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def enter(browser: Browser, stack: Stack, kept_sessions: dict[str, StorageState]) -> AsyncIterator[Enter]:
    """`await enter("preparer")` is a signed-in person. Afterwards nobody's browser may have complained."""
    people: list[Person] = []

    async def enter_as(name: str, *, signed_in: bool = True, fresh: bool = False) -> Person:
        person = await visitor(browser, stack, name)
        people.append(person)
        if not signed_in:
            return person
        if name in kept_sessions and not fresh:
            await person.context.add_cookies(kept_sessions[name]["cookies"])  # type: ignore[arg-type]
            await person.open("/")
            return person
        await person.enter()
        if not fresh:
            kept_sessions[name] = await person.context.storage_state()
        return person

    yield enter_as
    complaints = [f"{person.name}: {complaint}" for person in people for complaint in person.watch.complaints]
    for person in people:
        await person.context.close()
    assert complaints == []
