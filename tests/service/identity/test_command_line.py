"""`steps user` and `steps token` as a person runs them, on the test's own database."""

import asyncio
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner, Result

from app.bootstrap import Runtime
from app.cli_accounts import token_app, user_app
from app.core.settings import get_settings
from app.domain.access.sign_in import sign_in
from app.domain.access.tokens import identify_token
from tests.service.identity.people import EMAIL, IP, PASSWORD, grant, person, session_of, signed_in, trail

Command = Callable[..., Result]


@pytest.fixture
def steps(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in a thread: it has an event loop of its own."""
    for name, value in runtime.settings.environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()

    app = typer.Typer()
    app.add_typer(user_app, name="user")
    app.add_typer(token_app, name="token")

    def run(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=input)

    return run


async def test_an_account_is_created_with_a_role_and_signs_in(runtime: Runtime, steps: Command) -> None:
    await grant(runtime, await person(runtime, email="x@bank.example", name="X Y"), "preparer")
    arguments = ("create", EMAIL, "--name", "Jonas Weber", "--role", "preparer@PNL", "--password-stdin")
    result = await asyncio.to_thread(steps, "user", *arguments, input=PASSWORD + "\n")
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output
    signed = await signed_in(runtime)
    assert signed.must_change_password
    session = await session_of(runtime, signed)
    assert session is not None
    assert [(held.role, held.application) for held in session.actor.grants] == [("preparer", "PNL")]


async def test_a_generated_password_is_printed_once_and_works(runtime: Runtime, steps: Command) -> None:
    await person(runtime)
    result = await asyncio.to_thread(steps, "user", "set-password", EMAIL, "--generate")
    assert result.exit_code == 0, result.output
    password = result.stdout.splitlines()[-1]
    await sign_in(runtime, email=EMAIL, password=password, ip=IP, user_agent=None)


async def test_a_lock_is_shown_in_the_list_and_lifted(runtime: Runtime, steps: Command) -> None:
    await person(runtime)
    for command, state in (("lock", "locked"), ("unlock", "active"), ("deactivate", "inactive")):
        result = await asyncio.to_thread(steps, "user", command, EMAIL, "--reason", "badge lost")
        assert result.exit_code == 0, result.output
        listed = await asyncio.to_thread(steps, "user", "list")
        (line,) = [line for line in listed.stdout.splitlines() if EMAIL in line]
        assert f" {state} " in line
    (entry,) = await trail(runtime, "user.lock")
    assert (entry["actor_name"], entry["reason"]) == ("Command line", "badge lost")


async def test_a_token_from_the_command_line_is_good(runtime: Runtime, steps: Command) -> None:
    id_ = await person(runtime)
    result = await asyncio.to_thread(steps, "token", "create", EMAIL, "--label", "Nightly export")
    assert result.exit_code == 0, result.output
    loaded = await identify_token(runtime, token=result.stdout.splitlines()[-1], ip=IP)
    assert loaded is not None
    assert (loaded.actor.id, loaded.actor.read_only) == (id_, True)


async def test_what_went_wrong_is_one_line_without_a_stack_trace(runtime: Runtime, steps: Command) -> None:
    await person(runtime)
    unknown = await asyncio.to_thread(steps, "user", "lock", "nobody@bank.example", "--reason", "x")
    assert (unknown.exit_code, unknown.stderr) == (1, "steps: There is no such user.\n")
    easy = await asyncio.to_thread(steps, "user", "set-password", EMAIL, "--password-stdin", input="short\n")
    assert easy.exit_code == 1
    assert "at least 12" in easy.stderr
    crooked = await asyncio.to_thread(
        steps, "user", "create", "y@bank.example", "--name", "Y", "--generate", "--role", "admin"
    )
    assert crooked.exit_code == 2
    assert "role@APPLICATION" in crooked.output
