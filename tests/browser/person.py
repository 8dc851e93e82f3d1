"""A person at a browser, and a watch over what the browser complains about."""

from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect

from tests.browser.stack import DOMAIN, PASSWORD, Stack

DESKTOP, PHONE = (1440, 900), (390, 844)
# The browser reports an answer that refuses something as an error; where a page is refused on purpose it is none.
REFUSED_PAGE = "Failed to load resource"


class Watch:
    """What must not happen on any page: errors in the console, faults of the server, requests to other hosts."""

    def __init__(self, context: BrowserContext, stack: Stack) -> None:
        self._host = urlsplit(stack.address).netloc
        self._messages: list[tuple[str, str]] = []
        self._refused: set[str] = set()
        self._faults: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self._faults.append(f"script: {error.error}"))
        context.on("request", self._request)
        context.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._messages.append((message.text, message.location["url"]))

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self._faults.append(f"request to another host: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self._faults.append(f"{response.status}: {response.url}")
        elif response.status >= 400 and response.request.resource_type == "document":
            self._refused.add(response.url)

    @property
    def complaints(self) -> list[str]:
        """Violations of the content security policy are among the messages of the console."""
        said = [
            f"console: {text} ({url})"
            for text, url in self._messages
            # A refusal that the browser mentions is an answer; a file of ours that is missing is not, nor is a fault.
            if not (text.startswith(REFUSED_PAGE) and (url in self._refused or "/static/" not in url))
        ]
        return [*said, *self._faults]


class Person:
    """One person with a browser context of their own."""

    def __init__(self, name: str, context: BrowserContext, page: Page, stack: Stack, watch: Watch) -> None:
        self.name, self.context, self.page, self.stack, self.watch = name, context, page, stack, watch

    @property
    def email(self) -> str:
        return f"{self.name}{DOMAIN}"

    async def open(self, path: str) -> Page:
        """Go to a page by its address."""
        await self.page.goto(self.stack.address + path, wait_until="load")
        return self.page

    async def tab(self, path: str) -> Page:
        """A second page of the same person."""
        page = await self.context.new_page()
        await page.goto(self.stack.address + path, wait_until="load")
        return page

    async def sign_in(self, password: str = PASSWORD, *, email: str | None = None) -> None:
        """Fill in the form of the sign-in page, which is open, and send it."""
        await self.page.get_by_label("E-mail").fill(self.email if email is None else email)
        await self.page.get_by_label("Password", exact=True).fill(password)
        await self.page.get_by_role("button", name="Sign in").click()

    async def enter(self) -> None:
        """Sign in and arrive at Home."""
        await self.open("/signin")
        await self.sign_in()
        await expect(self.page.get_by_role("heading", name="Home", level=1)).to_be_visible()
        # The heading is there before the scripts that answer to clicks are.
        await self.page.wait_for_load_state("load")


async def visitor(browser: Browser, stack: Stack, name: str, *, size: tuple[int, int] = DESKTOP) -> Person:
    """A person who is not signed in."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        locale="en-GB",
        timezone_id="Europe/Berlin",
        color_scheme="light",
        reduced_motion="reduce",
        accept_downloads=True,
    )
    context.set_default_timeout(15_000)
    watch = Watch(context, stack)
    return Person(name, context, await context.new_page(), stack, watch)


async def downloaded(page: Page, link: Locator) -> bytes:
    """What the browser gets when somebody presses the link."""
    async with page.expect_download() as download:
        await link.click()
    return _content(await (await download.value).path())


def _content(path: Path | str) -> bytes:
    return Path(path).read_bytes()
