"""The `steps` command: start the platform, migrate, load the demo, check an installation.

Commands import what they run when they run it, so that `steps --help` and the supervisor stay small and quick.
"""

import asyncio
import csv
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from app.cli_accounts import token_app, user_app
from app.cli_logs import export_xes, replay
from app.core.embedded import EmbeddedServers, start_embedded, start_or_join
from app.core.ports import bind_listener
from app.core.server_error import ServerError
from app.core.settings import PREFIX, Settings, SettingsError, load_settings
from app.core.start_state import demo_is_ready, schema_is_newest
from app.probe import web_answers
from app.progress_bars import ProgressBars
from app.supervisor import ChildSpec, StepFailedError, StopRequestedError, Supervisor

ROOT = Path(__file__).resolve().parents[1]
DEMO_USERS = ROOT / "demo" / "users.csv"
GRACEFUL_SECONDS = 5
# How many new objects call for a look at the garbage. Starting makes a million that stay: Python's 700 would look at
# them all again and again, which takes an eighth of the start.
NEW_OBJECTS = 20_000

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _ReportingGroup(typer.core.TyperGroup):
    """Turns the errors that a person can mend into one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, ServerError) as error:
            err.print(f"steps: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="steps",
    help="STEPS: workflows, deadlines, figures and their audit trail.",
    cls=_ReportingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.command()(replay)
app.command("export-xes")(export_xes)


@app.command()
def run() -> None:
    """Start everything: embedded servers where none are configured, migrations, demo, web and worker."""
    began = time.monotonic()
    settings = load_settings()
    with _listener(settings) as listener:
        supervisor = Supervisor(
            environment={**os.environ, **settings.environment()},
            folder=ROOT,
            say=lambda line: err.print(f"steps: {line}", markup=False, soft_wrap=True),
        )
        with supervisor.listening(), _embedded(settings) as servers:
            supervisor.environment.update(_addresses(servers))
            status = _run_all(supervisor, settings, servers, listener, began=began)
    raise typer.Exit(status)


def _run_all(
    supervisor: Supervisor, settings: Settings, servers: EmbeddedServers, listener: socket.socket, *, began: float
) -> int:
    try:
        prepare(supervisor, settings, servers.database_url)
    except StepFailedError:
        return 1
    except StopRequestedError:
        return 0
    descriptor = listener.fileno()
    webs = [
        ChildSpec(
            name="web" if settings.web_processes == 1 else f"web {number}",
            command=_steps("web", "--descriptor", str(descriptor)),
            stop_seconds=GRACEFUL_SECONDS + 10,
            needed_to_start=True,
            pass_fds=(descriptor,),
        )
        for number in range(1, settings.web_processes + 1)
    ]
    workers = [
        ChildSpec(
            name="worker" if settings.worker_count == 1 else f"worker {number}",
            command=_steps("worker"),
            stop_seconds=30,
        )
        for number in range(1, settings.worker_count + 1)
    ]
    status = supervisor.run(
        [*webs, *workers],
        answers=lambda: web_answers(settings),
        on_ready=lambda: _welcome(settings, seconds=time.monotonic() - began),
        trouble=servers.ended,
    )
    if status == 0:
        out.print("\nStopped.")
    return status


def prepare(supervisor: Supervisor, settings: Settings, database_url: str) -> None:
    """Migrate, and load the demo or renew its password, where that is left to do: each is a process that takes seconds.

    Raises:
        StepFailedError: a step ended with an error.
        StopRequestedError: a signal asked for the end meanwhile.
    """
    if not schema_is_newest(database_url):
        supervisor.run_step(_steps("migrate", "--quiet"))
    emails = [row["email"] for row in _demo_users()]
    if settings.demo and not demo_is_ready(database_url, settings, emails=emails):
        supervisor.run_step(_steps("demo", "--quiet"))


@app.command()
def web(
    descriptor: Annotated[int | None, typer.Option(hidden=True, help="Listening socket that `run` hands over.")] = None,
) -> None:
    """Start one web process."""
    gc.set_threshold(NEW_OBJECTS)
    import uvicorn

    settings = load_settings()
    _end_on_sigterm()
    listener = _listener(settings) if descriptor is None else socket.socket(fileno=descriptor)
    with listener, start_or_join(settings) as servers:
        # The application reads its settings from the environment, as every process of an installation does.
        os.environ.update({**settings.environment(), **_addresses(servers)})
        server = uvicorn.Server(
            uvicorn.Config(
                "app.main:create_app",
                factory=True,
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
            )
        )
        if descriptor is None:
            out.print(f"STEPS answers at {settings.address}", markup=False)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return  # the server has shut down in order before it passes the signal on


@app.command()
def worker() -> None:
    """Start one worker process: jobs, timers and the outbox."""
    gc.set_threshold(NEW_OBJECTS)
    from jobs.worker import run_worker

    settings = load_settings()
    _end_on_sigterm()
    with start_or_join(settings) as servers:
        os.environ.update({**settings.environment(), **_addresses(servers)})
        run_worker(load_settings())


@app.command()
def migrate(
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing where there is nothing to do.")] = False,
) -> None:
    """Bring the database schema to the newest version."""
    from app.core.migrations import upgrade

    settings = load_settings()
    with start_or_join(settings, redis=False) as servers:
        found = upgrade(servers.database_url)
    if not found.up_to_date:
        out.print(f"Schema migrated from {found.current or 'empty'} to {found.newest}.")
    elif not quiet:
        out.print(f"Schema is at {found.newest or 'empty'}, the newest version.")


@app.command()
def demo(
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing where it is loaded already.")] = False,
) -> None:
    """Load the demo, with its users and 60 business days of history, where it is not loaded yet."""
    from app.demo import load_demo

    settings = load_settings()
    if not settings.demo:
        raise SettingsError("demo mode is off: set STEPS_DEMO=true to load the demo into this database")
    with start_or_join(settings) as servers:
        os.environ.update({**settings.environment(), **_addresses(servers)})
        with ProgressBars(out) as bars:
            loaded = asyncio.run(load_demo(load_settings(), bars))
    if loaded:
        out.print("The demo is loaded.")
    elif not quiet:
        out.print("The demo was loaded before.")


@app.command()
def doctor() -> None:
    """Check this installation, one line for each thing; the exit status is 1 where something is wrong."""
    from app.doctor import examine

    settings = load_settings()
    healthy = True
    for finding in examine(settings):
        healthy = healthy and finding.good
        mark, style = ("ok     ", "green") if finding.good else ("problem", "red")
        out.print(f"[{style}]{mark}[/]  {finding.what:<12}", end="")
        out.print(finding.detail, markup=False, soft_wrap=True)
    raise typer.Exit(0 if healthy else 1)


def _steps(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", *arguments]


def _embedded(settings: Settings) -> EmbeddedServers:
    return start_embedded(settings, postgres=settings.database_url is None, redis=settings.redis_url is None)


def _addresses(servers: EmbeddedServers) -> Mapping[str, str]:
    return {f"{PREFIX}DATABASE_URL": servers.database_url, f"{PREFIX}REDIS_URL": servers.redis_url}


def _listener(settings: Settings) -> socket.socket:
    try:
        return bind_listener(settings.host, settings.port)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Stop what uses the port, or set STEPS_PORT to another one"
        ) from None


def _welcome(settings: Settings, *, seconds: float) -> None:
    out.print(f"\nSTEPS answers at {settings.address}", style="bold", markup=False, end="")
    out.print(f"  (ready in {seconds:.1f} s; Ctrl-C stops it)")
    if not settings.demo or settings.demo_password is None:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("Demo user", "Name", "Role"):
        table.add_column(heading)
    for row in _demo_users():
        table.add_row(row["email"], row["full_name"], row["roles"])
    out.print(table)
    out.print(f"Password of all of them: {settings.demo_password.get_secret_value()}\n", markup=False)


def _demo_users() -> list[dict[str, str]]:
    with DEMO_USERS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _end_on_sigterm() -> None:
    """Let SIGTERM unwind the stack, so that what was started is stopped."""

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)


if __name__ == "__main__":
    app()
