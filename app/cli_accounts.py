"""`steps user` and `steps token`: accounts and access tokens from the command line of the machine itself.

Who runs these commands has the database's password already, so that they act as the system; the trail names them so.
Passwords are asked for or read from standard input, never taken from the command line, where others could see them.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from app.core.embedded import start_or_join
from app.core.errors import StepsError
from app.core.settings import Settings, load_settings

if TYPE_CHECKING:  # imported by the commands that run them, so that `steps --help` stays quick
    from app.core.uow import UnitOfWork
    from app.domain.access.accounts import Account
    from app.domain.access.tokens import NewToken

T = TypeVar("T")

user_app = typer.Typer(help="Create, lock, unlock and list accounts.", no_args_is_help=True)
token_app = typer.Typer(help="Make access tokens for the API.", no_args_is_help=True)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Email = Annotated[str, typer.Argument(help="E-mail address of the account.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit trail.", prompt=True)]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make a random password and print it once.")]


@user_app.command("create")
def create(
    email: Email,
    *,
    name: Annotated[str, typer.Option("--name", help="Full name.", prompt=True)],
    service: Annotated[bool, typer.Option("--service", help="A service account: access tokens, no password.")] = False,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="A role to grant, as `role@APPLICATION`; may be repeated.")
    ] = None,
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Zone in which the person reads times.")
    ] = "Europe/Berlin",
    password_stdin: FromStdin = False,
    generate: Generate = False,
) -> None:
    """Create an account. A person has to choose their own password at the first sign-in."""
    from app.domain.access.accounts import AccountKind, create_user
    from app.domain.access.grants import grant_role

    grants = [_role_at(value) for value in role or ()]
    password = None if service else _password(from_stdin=password_stdin, generate=generate)

    async def work(uow: "UnitOfWork") -> None:
        kind = AccountKind.SERVICE if service else AccountKind.PERSON
        user_id = await create_user(uow, email=email, name=name, password=password, kind=kind, time_zone=time_zone)
        for code, application in grants:
            await grant_role(
                uow, user_id=user_id, role=code, application=application, reason="Granted when the account was created"
            )

    _run(work)
    out.print(f"{email.lower()} is created.", markup=False)
    _show_generated(password, generate=generate)


@user_app.command("set-password")
def set_password_command(email: Email, password_stdin: FromStdin = False, generate: Generate = False) -> None:
    """Give an account another password; its sessions end, and the person has to choose their own."""
    from app.domain.access.accounts import find_account, set_password

    password = _password(from_stdin=password_stdin, generate=generate)

    async def work(uow: "UnitOfWork") -> None:
        account = await find_account(uow, email=email)
        await set_password(uow, user_id=account.id, password=password)

    _run(work)
    out.print(f"The password of {email.lower()} is changed.", markup=False)
    _show_generated(password, generate=generate)


@user_app.command("lock")
def lock(email: Email, reason: Reason) -> None:
    """Keep a user out until `unlock`; sessions end at once."""
    from app.domain.access.accounts import lock_user

    _change(email, lock_user, reason)
    out.print(f"{email.lower()} is locked.", markup=False)


@user_app.command("unlock")
def unlock(email: Email, reason: Reason) -> None:
    """End a lock, or a pause after wrong passwords."""
    from app.domain.access.accounts import unlock_user

    _change(email, unlock_user, reason)
    out.print(f"{email.lower()} is unlocked.", markup=False)


@user_app.command("deactivate")
def deactivate(email: Email, reason: Reason) -> None:
    """Switch an account off; its sessions and access tokens end for good."""
    from app.domain.access.accounts import deactivate_user

    _change(email, deactivate_user, reason)
    out.print(f"{email.lower()} is deactivated.", markup=False)


@user_app.command("list")
def list_command() -> None:
    """List every account."""
    from app.domain.access.accounts import list_accounts
    from app.domain.access.lockout import LOCKED_FOR_GOOD

    async def work(uow: "UnitOfWork") -> "tuple[list[Account], Callable[[Account], str]]":
        now = uow.resources.clock.real()

        def state(account: "Account") -> str:
            if not account.active:
                return "inactive"
            if account.locked_until == LOCKED_FOR_GOOD:
                return "locked"
            return "sign-in paused" if account.is_locked(now=now) else "active"

        return list(await list_accounts(uow)), state

    accounts, state = _run(work)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("E-mail", "Name", "Kind", "State", "Last sign-in (UTC)"):
        table.add_column(heading)
    for account in accounts:
        last = account.last_sign_in_at
        seen = last.strftime("%Y-%m-%d %H:%M") if last else "never"
        table.add_row(account.email, account.name, account.kind.value, state(account), seen)
    out.print(table)


@token_app.command("create")
def create_token_command(
    email: Email,
    label: Annotated[str, typer.Option("--label", help="What the token is for.", prompt=True)],
    read_only: Annotated[bool, typer.Option("--read-only/--read-write", help="What the token may do.")] = True,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="Days until it expires.")] = 90,
) -> None:
    """Make an access token for an account and print it once."""
    from app.domain.access.accounts import find_account
    from app.domain.access.tokens import create_token

    async def work(uow: "UnitOfWork") -> "NewToken":
        account = await find_account(uow, email=email)
        expires_at = uow.resources.clock.real() + timedelta(days=days)
        return await create_token(uow, user_id=account.id, label=label, read_only=read_only, expires_at=expires_at)

    made = _run(work)
    err.print("Keep it now; it is not shown again.")
    out.print(made.token, markup=False, soft_wrap=True)


def _change(email: str, change: Callable[..., Awaitable[None]], reason: str) -> None:
    from app.domain.access.accounts import find_account

    async def work(uow: "UnitOfWork") -> None:
        account = await find_account(uow, email=email)
        await change(uow, user_id=account.id, reason=reason)

    _run(work)


def _run(work: Callable[["UnitOfWork"], Awaitable[T]]) -> T:
    """Do the work in one unit of work of the system; what went wrong becomes one line and status 1."""
    settings = load_settings()
    try:
        with start_or_join(settings, redis=False) as servers:
            configured = settings.model_copy(update={"database_url": servers.database_url})
            return asyncio.run(_in_unit(configured, work))
    except StepsError as error:
        err.print(f"steps: {error.detail}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


async def _in_unit(settings: Settings, work: Callable[["UnitOfWork"], Awaitable[T]]) -> T:
    from app.bootstrap import build
    from app.core.actor import system_actor

    runtime = await build(settings, pool_size=2)
    try:
        async with runtime.uow(system_actor("Command line")) as uow:
            return await work(uow)
    finally:
        await runtime.aclose()


def _password(*, from_stdin: bool, generate: bool) -> str:
    if generate:
        from app.domain.access.passwords import random_password

        return random_password()
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


def _show_generated(password: str | None, *, generate: bool) -> None:
    if generate and password is not None:
        err.print("Password, shown now and never again:")
        out.print(password, markup=False, soft_wrap=True)


def _role_at(value: str) -> tuple[str, str]:
    code, separator, application = value.partition("@")
    if not (code and separator and application):
        raise typer.BadParameter(f"{value!r} is not of the form role@APPLICATION, for example admin@PLATFORM")
    return code, application
