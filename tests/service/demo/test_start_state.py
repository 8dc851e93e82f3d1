"""What a start skips because it is done already, and what it must not skip."""

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import select, update

from app.bootstrap import Runtime
from app.cli import prepare
from app.core.settings import Settings
from app.core.start_state import DEMO_LOADED, FINGERPRINT, newest_revision
from app.demo import load_demo
from app.demo.package import DemoPackage
from app.domain.access.accounts import create_user
from app.domain.access.passwords import verify_password
from app.supervisor import Supervisor
from tests.conftest import test_settings
from tests.factories import SYSTEM, add_row

ROOT = Path(__file__).resolve().parents[3]
EMAILS = tuple(user.email for user in DemoPackage().users())
PASSWORD = "first-password"
MIGRATE, DEMO = ("migrate", "--quiet"), ("demo", "--quiet")


class Steps(Supervisor):
    """Notes which steps it is asked for and runs none."""

    def __init__(self) -> None:
        super().__init__(environment={}, folder=ROOT, say=print)
        self.asked: list[tuple[str, ...]] = []

    def run_step(self, command: Sequence[str]) -> None:
        self.asked.append(tuple(command[3:]))


async def steps_left(settings: Settings) -> list[tuple[str, ...]]:
    """What a start with these settings would do before it serves."""
    steps = Steps()
    assert settings.database_url is not None
    await asyncio.to_thread(prepare, steps, settings, settings.database_url)
    return steps.asked


async def hashes(runtime: Runtime) -> dict[str, str]:
    users = runtime.registry.table("user")
    async with runtime.engine.connect() as connection:
        rows = await connection.execute(select(users.c.email, users.c.password_hash).where(users.c.email.in_(EMAILS)))
        return {row.email: row.password_hash for row in rows}


@pytest.fixture
def settings(runtime: Runtime, tmp_path: Path) -> Settings:
    url = runtime.settings.database_url
    return test_settings(tmp_path, database_url=url, demo=True, demo_password=PASSWORD)


@pytest.fixture
async def loaded(runtime: Runtime, settings: Settings) -> Settings:
    """The demo's users in a database that says that its demo is loaded."""
    async with runtime.uow(SYSTEM) as uow:
        for email in EMAILS:
            name = email.partition("@")[0].title()
            await create_user(uow, email=email, name=name, password=PASSWORD, must_change_password=False, demo=True)
        await add_row(uow, "parameter", code=DEMO_LOADED, label="Demo loaded", value=True)
    assert not await load_demo(settings)
    return settings


async def test_a_start_on_a_migrated_database_loads_the_demo_only(settings: Settings) -> None:
    assert await steps_left(settings) == [DEMO]


async def test_a_start_after_another_one_has_nothing_to_do(loaded: Settings) -> None:
    assert await steps_left(loaded) == []


async def test_a_start_outside_demo_mode_asks_for_no_demo(settings: Settings) -> None:
    assert await steps_left(settings.model_copy(update={"demo": False})) == []


async def test_a_schema_that_is_behind_is_migrated(runtime: Runtime, loaded: Settings) -> None:
    async with runtime.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'an earlier one'")
    assert await steps_left(loaded) == [MIGRATE]


async def test_an_empty_database_is_migrated_and_gets_the_demo(database_url: str, settings: Settings) -> None:
    name = f"{database_url.rpartition('/')[2].partition('?')[0]}_empty"
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
        url = f"{database_url.rpartition('/')[0]}/{name}"
        assert await steps_left(settings.model_copy(update={"database_url": url})) == [MIGRATE, DEMO]
    finally:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.close()


async def test_a_server_that_does_not_answer_is_left_to_the_steps_to_report(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql+asyncpg://steps:secret@127.0.0.1:1/steps"})
    assert await steps_left(away) == [MIGRATE, DEMO]


async def test_a_changed_password_is_given_to_every_demo_user_once(runtime: Runtime, loaded: Settings) -> None:
    changed = loaded.model_copy(update={"demo_password": SecretStr("second-password")})
    assert await steps_left(changed) == [DEMO]
    assert not await load_demo(changed)
    for hash_ in (await hashes(runtime)).values():
        assert (await verify_password("second-password", hash_)).fits
    assert await steps_left(changed) == []
    assert await steps_left(loaded) == [DEMO]


async def test_a_demo_user_who_took_another_password_gets_the_printed_one_back(
    runtime: Runtime, loaded: Settings
) -> None:
    before = await hashes(runtime)
    users = runtime.registry.table("user")
    async with runtime.engine.begin() as connection:
        await connection.execute(update(users).where(users.c.email == EMAILS[0]).values(password_hash="another"))
    assert await steps_left(loaded) == [DEMO]
    await load_demo(loaded)
    after = await hashes(runtime)
    assert (await verify_password(PASSWORD, after[EMAILS[0]])).fits
    assert {email for email in EMAILS if after[email] != before[email]} == {EMAILS[0]}


async def test_a_deleted_demo_user_does_not_keep_the_platform_from_starting(runtime: Runtime, loaded: Settings) -> None:
    users = runtime.registry.table("user")
    async with runtime.engine.begin() as connection:
        await connection.execute(
            update(users).where(users.c.email == EMAILS[0]).values(deleted_at=users.c.created_at, password_hash="gone")
        )
    assert await steps_left(loaded) == [DEMO]
    await load_demo(loaded)
    assert await steps_left(loaded) == []
    assert (await hashes(runtime))[EMAILS[0]] == "gone"


async def test_the_fingerprint_is_for_its_owner_alone_and_needs_the_installations_key(loaded: Settings) -> None:
    path = loaded.data_dir / FINGERPRINT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    assert await steps_left(loaded.model_copy(update={"secret_key": SecretStr("o" * 48)})) == [DEMO]
    path.unlink()
    assert await steps_left(loaded) == [DEMO]


def test_the_newest_revision_is_the_one_that_alembic_names() -> None:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "alembic").replace("%", "%%"))
    assert newest_revision() == ScriptDirectory.from_config(config).get_current_head() is not None


def test_the_newest_revision_of_a_chain_and_of_a_merge_is_its_end(tmp_path: Path) -> None:
    def add(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(f'"""revision = "no"."""\n\n{text}\n')

    add("a", 'revision = "a"\ndown_revision = None')
    add("b", 'revision: str = "b"\ndown_revision: str | None = "a"')
    assert newest_revision(tmp_path) == "b"
    add("c", "revision = 'c'\ndown_revision = 'a'")
    assert newest_revision(tmp_path) is None
    add("d", 'revision = "d"\ndown_revision = ("b", "c")  # both')
    assert newest_revision(tmp_path) == "d"
    add("e", 'revision = chosen()\ndown_revision = "d"')
    assert newest_revision(tmp_path) is None
