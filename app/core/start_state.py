"""What a start finds done already: the newest schema, and the demo with its password.

Both questions cost one short connection and next to no imports, where migrating and loading cost a process each.
Whatever cannot be told counts as not done: the step then runs, and says itself what is wrong.
"""

import ast
import asyncio
import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from app.core.settings import Settings, SettingsError

VERSIONS = Path(__file__).resolve().parents[2] / "alembic" / "versions"
FINGERPRINT = "demo-fingerprint"
# The parameter that says that the demo is loaded.
DEMO_LOADED = "demo.loaded"
CONNECT_SECONDS = 10

_DEMO_ACCOUNTS = """
SELECT email, password_hash FROM app_user
WHERE email = ANY($1::text[]) AND account_kind = 'person' AND deleted_at IS NULL
  AND EXISTS (SELECT FROM parameter WHERE code = $2)
"""
_REVISION = re.compile(r"^(revision|down_revision)\b[^=\n]*=[ \t]*(.+)$", re.MULTILINE)


def schema_is_newest(database_url: str, *, versions: Path = VERSIONS) -> bool:
    """Tell whether the database has the newest migration of this code; False also where that cannot be told."""
    newest = newest_revision(versions)
    if newest is None:
        return False
    rows = _ask(database_url, "SELECT version_num FROM alembic_version")
    return rows is not None and [row["version_num"] for row in rows] == [newest]


def demo_is_ready(database_url: str, settings: Settings, *, emails: Iterable[str]) -> bool:
    """Tell whether the demo is loaded and its users have the configured password; False where that cannot be told."""
    rows = _ask(database_url, _DEMO_ACCOUNTS, list(emails), DEMO_LOADED)
    if not rows:
        return False
    wanted = demo_fingerprint(settings, {row["email"]: row["password_hash"] for row in rows})
    try:
        kept = (settings.data_dir / FINGERPRINT).read_text().strip()
    except OSError:
        return False
    return wanted is not None and hmac.compare_digest(wanted, kept)


def remember_demo(settings: Settings, hashes: Mapping[str, str | None]) -> None:
    """Keep the fingerprint of the demo users' password and of its stored hashes, by e-mail address.

    Raises:
        SettingsError: the data folder cannot be written.
    """
    fingerprint = demo_fingerprint(settings, hashes)
    if fingerprint is None:
        return
    path = settings.data_dir / FINGERPRINT
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(f"{fingerprint}\n")
        draft.replace(path)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}. Check STEPS_DATA_DIR") from None


def demo_fingerprint(settings: Settings, hashes: Mapping[str, str | None]) -> str | None:
    """Return what changes with the password, with any stored hash, and with the key of this installation.

    A hash is salted, so that the fingerprint of one database never fits another. None without a password or a key.
    """
    if settings.demo_password is None or settings.secret_key is None:
        return None
    mac = hmac.new(settings.secret_key.get_secret_value().encode(), digestmod=hashlib.sha256)
    for part in (settings.demo_password.get_secret_value(), *(f"{e}\n{h}" for e, h in sorted(hashes.items()))):
        data = part.encode("utf-8", "surrogatepass")
        mac.update(len(data).to_bytes(8, "big") + data)
    return mac.hexdigest()


def newest_revision(versions: Path = VERSIONS) -> str | None:
    """Return the one revision that no other follows, as Alembic would; None where that is not plain to see.

    Reads the files without running them: Alembic costs a second to import.
    """
    revisions: set[str] = set()
    followed: set[str] = set()
    for path in versions.glob("*.py"):
        try:
            found = {name: ast.literal_eval(value) for name, value in _REVISION.findall(path.read_text("utf-8"))}
        except (ValueError, SyntaxError):
            return None
        own, before = found.get("revision"), found.get("down_revision")
        if not isinstance(own, str):
            return None
        revisions.add(own)
        followed.update([before] if isinstance(before, str) else before or ())
    newest = revisions - followed
    return newest.pop() if len(newest) == 1 else None


def _ask(database_url: str, statement: str, *arguments: object) -> Sequence[Mapping[str, Any]] | None:
    """Return the rows; None where the server does not answer or has no such table."""
    try:
        return asyncio.run(_rows(database_url, statement, *arguments))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None


async def _rows(database_url: str, statement: str, *arguments: object) -> Sequence[Mapping[str, Any]]:
    dsn = database_url.replace("postgresql+asyncpg://", "postgresql://", 1)
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    try:
        rows: Sequence[Mapping[str, Any]] = await connection.fetch(statement, *arguments)
        return rows
    finally:
        await connection.close()
