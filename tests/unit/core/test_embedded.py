"""The embedded servers, for real: start, share, refuse, recover and stop."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis import Redis

from app.core import postgres_process, redis_process
from app.core.embedded import DataFolderInUseError, EmbeddedServers, start_embedded, start_or_join
from app.core.ports import bind_listener, free_port
from app.core.processes import account_for, run_as
from app.core.server_error import EmbeddedServerError
from app.core.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def settings_in(folder: Path) -> Settings:
    return Settings(data_dir=folder, demo=True, database_url=None, redis_url=None)


def query(servers: EmbeddedServers, sql: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(servers.database_url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def running_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] in {"postgres", "redis-server"} and folder in Path(process.cwd()).parents:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Outside pytest's own folder: another run of the tests would close that to the servers' account again."""
    with tempfile.TemporaryDirectory(prefix="steps-embedded-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def servers() -> Iterator[EmbeddedServers]:
    # A path with a space, and far longer than the 107 bytes that a socket file may have.
    with tempfile.TemporaryDirectory(prefix="a folder ") as above:
        folder = Path(above) / ("long " * 25).strip() / "var"
        with start_embedded(settings_in(folder), durable=False) as running:
            yield running


def test_postgres_18_answers_with_the_extensions_the_platform_needs(servers: EmbeddedServers) -> None:
    assert servers.database_url.startswith("postgresql+asyncpg://")
    assert query(servers, "SELECT current_setting('server_version_num')::int / 10000") == 18
    for extension in ("citext", "ltree", "pg_trgm"):
        query(servers, f"CREATE EXTENSION IF NOT EXISTS {extension}")
    assert query(servers, "SELECT 'Top.Desk.Book'::ltree <@ 'Top'::ltree") is True


def test_the_platforms_role_owns_its_database_and_is_no_superuser(servers: EmbeddedServers) -> None:
    assert query(servers, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    owner = "SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()"
    assert query(servers, owner) is True


def test_postgres_listens_on_this_machine_alone_and_wants_the_password(servers: EmbeddedServers) -> None:
    assert query(servers, "SELECT current_setting('listen_addresses')") == "127.0.0.1"
    user, _, rest = servers.database_url.removeprefix("postgresql+asyncpg://").partition(":")
    _, _, place = rest.partition("@")

    async def intrude() -> None:
        await asyncpg.connect(f"postgresql://{user}:guess@{place}")

    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(intrude())


def test_redis_answers_and_its_password_is_in_no_list_of_processes(servers: EmbeddedServers) -> None:
    with Redis.from_url(servers.redis_url) as client:
        assert client.ping()
        assert client.config_get("save") == {"save": ""}
    password = servers.redis_url.removeprefix("redis://:").partition("@")[0]
    for process in running_in(servers.folder):
        assert password not in " ".join(process.cmdline())


def test_the_servers_do_not_run_as_root(servers: EmbeddedServers) -> None:
    found = running_in(servers.folder)
    assert {process.name() for process in found} == {"postgres", "redis-server"}
    assert all(process.uids().effective != 0 for process in found)


def test_what_holds_passwords_is_readable_by_its_owner_alone(servers: EmbeddedServers) -> None:
    for name in ("postgres-superuser", "servers.json"):
        assert stat.S_IMODE((servers.folder / name).stat().st_mode) == 0o600
    for name in ("postgres", "redis", "log"):
        assert stat.S_IMODE((servers.folder / name).stat().st_mode) == 0o700


def test_a_second_start_on_the_same_folder_is_refused_in_one_line(servers: EmbeddedServers) -> None:
    with pytest.raises(DataFolderInUseError) as caught:
        start_embedded(settings_in(servers.folder))
    message = str(caught.value)
    assert f"process {os.getpid()}" in message
    assert "STEPS_DATA_DIR" in message
    assert "\n" not in message
    assert query(servers, "SELECT 1") == 1


def test_a_command_beside_running_servers_joins_them_and_leaves_them_running(servers: EmbeddedServers) -> None:
    with start_or_join(settings_in(servers.folder)) as joined:
        assert joined.database_url == servers.database_url
        assert joined.redis_url == servers.redis_url
    assert query(servers, "SELECT 1") == 1
    assert servers.ended() is None


def test_configured_servers_are_used_and_none_is_started(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, demo=True, database_url="postgresql://u:p@db/steps", redis_url="redis://cache/0"
    )
    with start_or_join(settings) as servers:
        assert servers.database_url == "postgresql+asyncpg://u:p@db/steps"
        assert servers.redis_url == "redis://cache/0"
    assert list(tmp_path.iterdir()) == []


def test_asking_for_a_server_that_was_not_started_says_so(tmp_path: Path) -> None:
    with start_embedded(settings_in(tmp_path / "var"), postgres=False) as servers:
        with Redis.from_url(servers.redis_url) as client:
            assert client.ping()
        with pytest.raises(EmbeddedServerError, match="STEPS_DATABASE_URL is not set"):
            _ = servers.database_url


def test_data_stays_across_a_stop_and_nothing_keeps_running(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with start_embedded(settings_in(folder), redis=False) as servers:
        query(servers, "CREATE TABLE kept AS SELECT 42 AS answer")
        first = servers.database_url
    assert running_in(folder) == []
    assert not (folder / "servers.json").exists()
    with start_embedded(settings_in(folder), redis=False) as servers:
        assert query(servers, "SELECT answer FROM kept") == 42
        assert servers.database_url != first
        servers.stop()
        servers.stop()
    assert running_in(folder) == []


def test_after_a_killed_owner_and_killed_servers_the_next_start_recovers_committed_data(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    program = f"""
        import asyncio, time
        from pathlib import Path
        import asyncpg
        from app.core.embedded import start_embedded
        from app.core.settings import Settings

        servers = start_embedded(Settings(data_dir=Path({str(folder)!r}), demo=True))

        async def write():
            connection = await asyncpg.connect(servers.database_url.replace("+asyncpg", ""))
            await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

        asyncio.run(write())
        print("written", flush=True)
        time.sleep(60)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"written\n"
    victims = running_in(folder)
    for process in victims:
        if process.name() == "postgres":
            process.kill()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    psutil.wait_procs(victims, timeout=20)
    assert running_in(folder) == []  # the kernel told Redis that its parent is gone
    assert (folder / "postgres" / "postmaster.pid").exists()
    with start_embedded(settings_in(folder), redis=False) as servers:
        assert query(servers, "SELECT answer FROM kept") == 42


def test_a_server_left_behind_by_a_killed_owner_is_ended_before_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    # The owner starts them from another thread, where the kernel cannot tie the servers to it.
    program = f"""
        import threading, time
        from pathlib import Path
        from app.core.embedded import start_embedded
        from app.core.settings import Settings

        def start():
            start_embedded(Settings(data_dir=Path({str(folder)!r}), demo=True))
            print("started", flush=True)

        threading.Thread(target=start).start()
        time.sleep(60)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"started\n"
    owner.kill()
    owner.wait()
    owner.stdout.close()
    left = {process.pid for process in running_in(folder)}
    assert left
    with start_embedded(settings_in(folder)) as servers:
        assert query(servers, "SELECT 1") == 1
        assert not left & {process.pid for process in running_in(folder)}


def test_a_stale_process_file_that_names_a_stranger_does_not_block_the_start_nor_harm_the_stranger(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "var"
    with start_embedded(settings_in(folder), redis=False, durable=False):
        pass
    # The stranger has the server's own account: only then may the server signal it and take it for another server.
    stranger = subprocess.Popen(["sleep", "60"], **run_as(account_for(folder / "postgres")))
    try:
        lines = [str(stranger.pid), str(folder / "postgres"), str(int(time.time())), "5432", "", "127.0.0.1", "0 0"]
        (folder / "postgres" / "postmaster.pid").write_text("\n".join([*lines, "ready", ""]))
        with start_embedded(settings_in(folder), redis=False, durable=False) as servers:
            assert query(servers, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_first_start_that_was_interrupted_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    (folder / "postgres.new" / "base").mkdir(parents=True)
    with start_embedded(settings_in(folder), redis=False, durable=False) as servers:
        assert query(servers, "SELECT 1") == 1
    assert not (folder / "postgres.new").exists()


def test_data_of_another_postgres_version_is_refused_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 16 and this is PostgreSQL 18"):
        start_embedded(settings_in(folder))
    assert [path.name for path in (folder / "postgres").iterdir()] == ["PG_VERSION"]


def test_a_port_taken_at_the_last_moment_is_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bind_listener("127.0.0.1", 0) as taken:
        taken.listen()
        ports = iter([taken.getsockname()[1], free_port(), taken.getsockname()[1], free_port()])
        monkeypatch.setattr(postgres_process, "free_port", lambda: next(ports))
        monkeypatch.setattr(redis_process, "free_port", lambda: next(ports))
        with start_embedded(settings_in(tmp_path / "var"), durable=False) as servers:
            assert query(servers, "SELECT 1") == 1
            with Redis.from_url(servers.redis_url) as client:
                assert client.ping()
        with pytest.raises(StopIteration):
            next(ports)


def test_redis_of_the_wheel_serves_where_the_machine_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        start_embedded(settings_in(tmp_path / "var"), postgres=False) as servers,
        Redis.from_url(servers.redis_url) as client,
    ):
        assert str(client.info("server")["redis_version"]).startswith("6.2")


def test_a_server_that_ends_by_itself_is_reported_with_its_log(tmp_path: Path) -> None:
    with start_embedded(settings_in(tmp_path / "var"), durable=False) as servers:
        assert servers.ended() is None
        assert servers.redis is not None
        servers.redis.process.send_signal(signal.SIGKILL)
        servers.redis.process.wait(10)
        line = servers.ended()
        assert line is not None
        assert line.startswith("Redis ended unexpectedly")
        assert "redis.log" in line


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="Check STEPS_DATA_DIR"):
        start_embedded(settings_in(tmp_path / "file" / "var"))
