"""Embedded PostgreSQL and Redis: the servers of an installation that names no others.

Both live under the data folder, listen on a free loopback port with a random password (a socket file would limit the
length of the folder's path), and end with the process that started them. The data folder has one owner at a time: a
lock that the kernel frees when its holder dies, however it dies.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from app.core.postgres_process import PostgresProcess, start_postgres
from app.core.redis_process import RedisProcess, start_redis
from app.core.server_error import EmbeddedServerError
from app.core.settings import Settings

LOCK = "lock"
ADDRESSES = "servers.json"


class DataFolderInUseError(EmbeddedServerError):
    """Another process runs on the data folder."""


@dataclass(slots=True)
class EmbeddedServers:
    """Servers that are running; `stop` them, or use this as a context manager."""

    folder: Path
    postgres: PostgresProcess | None
    redis: RedisProcess | None
    lock: IO[str] | None
    external_database_url: str | None = None
    external_redis_url: str | None = None

    @property
    def database_url(self) -> str:
        """SQLAlchemy address (`postgresql+asyncpg://`) of the embedded server, or else of the configured one."""
        url = self.postgres.url if self.postgres else self.external_database_url
        if url is None:
            raise EmbeddedServerError("no PostgreSQL was started and STEPS_DATABASE_URL is not set")
        return url

    @property
    def redis_url(self) -> str:
        """Address (`redis://`) of the embedded server, or else of the configured one."""
        url = self.redis.url if self.redis else self.external_redis_url
        if url is None:
            raise EmbeddedServerError("no Redis was started and STEPS_REDIS_URL is not set")
        return url

    def ended(self) -> str | None:
        """Return a line about a server that ended by itself, or None while all run."""
        for server in (self.postgres, self.redis):
            if server is not None and server.process.poll() is not None:
                return f"{server.name} ended unexpectedly (status {server.process.returncode}); see {server.log}"
        return None

    def stop(self) -> None:
        """Stop the servers, Redis first, and free the data folder. A second call does nothing."""
        if self.lock is None:
            return
        (self.folder / ADDRESSES).unlink(missing_ok=True)
        if self.redis is not None:
            self.redis.stop()
        if self.postgres is not None:
            self.postgres.stop()
        self.lock.close()
        self.lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_embedded(
    settings: Settings, *, postgres: bool = True, redis: bool = True, durable: bool = True
) -> EmbeddedServers:
    """Start the embedded servers under `settings.data_dir` and return when they answer.

    Blocks: 0.7 s, or 3 s for the first time. `durable=False` trades safety for speed and is for tests only.

    Raises:
        DataFolderInUseError: another process runs on the data folder.
        EmbeddedServerError: a server does not start; the message says why.
    """
    folder = settings.data_dir
    servers = EmbeddedServers(
        folder=folder,
        postgres=None,
        redis=None,
        lock=_lock(folder),
        external_database_url=settings.database_url,
        external_redis_url=settings.redis_url,
    )
    try:
        if postgres:
            servers.postgres = start_postgres(folder, durable=durable)
        if redis:
            servers.redis = start_redis(folder)
        _write_addresses(servers)
    except BaseException:
        servers.stop()
        raise
    return servers


def start_or_join(settings: Settings, *, redis: bool = True) -> EmbeddedServers:
    """Return the servers that the settings name; start embedded ones where none is named and none runs yet.

    A command such as `migrate` thus works beside a running `steps run` and without it. Stopping joined servers
    leaves them running.

    Raises:
        EmbeddedServerError: a server does not start, or the other process is not ready yet.
    """
    wants_postgres, wants_redis = settings.database_url is None, redis and settings.redis_url is None
    if not wants_postgres and not wants_redis:
        return _joined(settings, database_url=settings.database_url, redis_url=settings.redis_url)
    try:
        return start_embedded(settings, postgres=wants_postgres, redis=wants_redis)
    except DataFolderInUseError:
        running = _read_addresses(settings.data_dir)
    return _joined(
        settings,
        database_url=settings.database_url or running.get("database_url"),
        redis_url=settings.redis_url or running.get("redis_url"),
    )


def _joined(settings: Settings, *, database_url: str | None, redis_url: str | None) -> EmbeddedServers:
    return EmbeddedServers(
        folder=settings.data_dir,
        postgres=None,
        redis=None,
        lock=None,
        external_database_url=database_url,
        external_redis_url=redis_url,
    )


def _lock(folder: Path) -> IO[str]:
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        raise EmbeddedServerError(f"cannot write to {folder}: {error.strerror}. Check STEPS_DATA_DIR") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise DataFolderInUseError(
            f"{folder} is in use by another STEPS (process {holder}): stop it first, or set STEPS_DATA_DIR and "
            "STEPS_PORT to run a second one"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _write_addresses(servers: EmbeddedServers) -> None:
    path = servers.folder / ADDRESSES
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(
        json.dumps(
            {
                "database_url": servers.postgres.url if servers.postgres else None,
                "redis_url": servers.redis.url if servers.redis else None,
            }
        )
    )


def _read_addresses(folder: Path) -> dict[str, str | None]:
    try:
        addresses: dict[str, str | None] = json.loads((folder / ADDRESSES).read_text())
    except (OSError, ValueError):
        raise EmbeddedServerError(f"STEPS is starting or stopping on {folder}: try again in a moment") from None
    return addresses
