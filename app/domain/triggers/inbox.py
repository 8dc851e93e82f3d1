"""Files that arrive in watched folders below the inbox of the data folder.

A file counts once it has not changed for some seconds, and again when it changes. Names that begin with a dot or end in
`.part` or `.tmp` are uploads that are not complete. Any number of workers may look: a delivery is recorded once.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.core.uow import UnitOfWork
from app.domain.triggers.definitions import FileSource, Trigger, name_pattern
from app.domain.triggers.firing import set_off
from app.domain.triggers.index import triggers_in_force
from app.domain.triggers.payload import condition_holds

SETTLED_SECONDS = 5.0
MOST_FILES = 10_000
MOST_AT_ONCE = 200
INCOMPLETE = (".part", ".tmp", ".filepart")
CHUNK = 1_048_576


@dataclass(frozen=True, slots=True)
class Arrived:
    """`delivery` names the file in this state of it."""

    path: Path
    name: str
    size: int
    delivery: str


def inbox_of(data_dir: Path) -> Path:
    return data_dir / "inbox"


async def look_into_inbox(uow: UnitOfWork, inbox: Path) -> int:
    """Set off the triggers of files that have arrived; return how many there were."""
    index = triggers_in_force(uow)
    triggers = index.of("file", FileSource.FOLDER) if index is not None else ()
    done = 0
    for trigger in triggers:
        found = await asyncio.to_thread(_arrived, inbox, trigger, time.time() - SETTLED_SECONDS)
        for file in (await _new(uow, trigger, found))[:MOST_AT_ONCE]:
            done += await _take(uow, trigger, file)
    return done


def _arrived(inbox: Path, trigger: Trigger, before: float) -> list[Arrived]:
    folder = inbox / trigger.folder if trigger.folder else inbox
    folder.mkdir(mode=0o770, parents=True, exist_ok=True)
    pattern = name_pattern(trigger.file_name)
    found: list[Arrived] = []
    for path in folder.iterdir():
        name = path.name
        if name.startswith(".") or name.endswith(INCOMPLETE) or len(name) > 150 or not pattern.fullmatch(name):
            continue
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue
        # A link could lead anywhere, so only files themselves count.
        if not path.is_file() or path.is_symlink() or state.st_mtime > before:
            continue
        found.append(Arrived(path, name, state.st_size, f"file:{name}:{state.st_size}:{state.st_mtime_ns}"))
        if len(found) >= MOST_FILES:
            break
    return sorted(found, key=lambda file: file.delivery)


async def _new(uow: UnitOfWork, trigger: Trigger, found: Sequence[Arrived]) -> list[Arrived]:
    if not found:
        return []
    table = uow.table("trigger_firing")
    wanted = [file.delivery for file in found]
    known = select(table.c.delivery).where(table.c.trigger_id == trigger.id, table.c.delivery.in_(wanted))
    there = set((await uow.execute(known)).scalars())
    return [file for file in found if file.delivery not in there]


async def _take(uow: UnitOfWork, trigger: Trigger, file: Arrived) -> int:
    try:
        digest = await asyncio.to_thread(_digest, file.path)
    except OSError:  # taken away meanwhile
        return 0
    match = name_pattern(trigger.file_name).fullmatch(file.name)
    groups = match.groupdict() if match else {}
    values: dict[str, Any] = {"name": file.name, "folder": trigger.folder, "size": file.size, **groups}
    refused = None if condition_holds(trigger, values, uow.registry, uow.now) else "The condition does not hold."
    await set_off(uow, trigger, delivery=file.delivery, values=values, content_digest=digest, refused=refused)
    return 1


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
