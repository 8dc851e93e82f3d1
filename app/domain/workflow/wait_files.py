"""Files of the inbox that processes wait for: taken over as their evidence, with the hash of what was taken."""

import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from app.core.audit import AuditEntry
from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.documents.files import attach_file
from app.domain.workflow.process_row import lock_process
from app.domain.workflow.transitions import finish_waiting
from app.domain.workflow.wait_patterns import dated, name_matches
from app.domain.workflow.waits import WAITING, counts, file_arrival, note

INCOMPLETE = (".part", ".tmp", ".filepart")
PURPOSE = "arrival"
CHUNK = 1_048_576

WAITING_FOR_FILES = text(
    f"""
SELECT p.id, r.business_date, d.wait_pattern AS pattern, coalesce(d.wait_folder, '') AS folder,
       p.ready_at, p.created_at, coalesce(d.accept_early, false) AS early, p.reason {WAITING}
  AND d.wait_kind = 'file' AND coalesce(d.wait_from, 'inbox') = 'inbox' ORDER BY r.id, p.id
"""
)
REFUSE = text("UPDATE process_run SET reason = :reason, updated_at = :now WHERE id = :id")


@dataclass(frozen=True, slots=True)
class FileWait:
    """A process that waits for a file in `folder` below the inbox."""

    id: UUID
    business_date: date
    pattern: str
    folder: str
    ready_at: datetime | None
    created_at: datetime
    early: bool
    reason: str | None

    def takes(self, name: str, written_at: datetime) -> bool:
        """Whether a file counts: by its name, and by when it was written.

        It has to be written after the turn of the process has come. Where what comes early counts, a name with the
        business date in it says itself for which day the file is; any other file has to be newer than the run.
        """
        if not name_matches(self.pattern, name, self.business_date):
            return False
        if not self.early:
            return self.ready_at is not None and written_at >= self.ready_at
        return dated(self.pattern) or written_at >= self.created_at


async def waiting_for_files(uow: UnitOfWork) -> tuple[FileWait, ...]:
    """The processes that a file of the inbox could end; one statement."""
    found = (await uow.execute(WAITING_FOR_FILES)).mappings()
    return tuple(FileWait(**row) for row in found)


def files_for(
    waits: Sequence[FileWait], inbox: Path, *, settled: float, shift: timedelta
) -> list[tuple[FileWait, Path]]:
    """For each process the oldest file that it takes. `settled`: files changed after that may not be complete.

    `shift` is how far the platform's clock is from that of the files.
    """
    found: list[tuple[FileWait, Path]] = []
    for wait in waits:
        folder = inbox / wait.folder
        if not folder.resolve().is_relative_to(inbox.resolve()):
            continue
        folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        taken = [(at, path) for at, path in _files(folder, settled) if wait.takes(path.name, at + shift)]
        if taken:
            found.append((wait, min(taken)[1]))
    return found


def _files(folder: Path, settled: float) -> Iterator[tuple[datetime, Path]]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name.endswith(INCOMPLETE):
            continue
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue
        # A link could lead anywhere, so only files themselves count.
        if stat.S_ISREG(state.st_mode) and state.st_mtime <= settled:
            yield datetime.fromtimestamp(state.st_mtime, UTC), path


async def take_file(uow: UnitOfWork, wait: FileWait, path: Path) -> bool:
    """Keep the file as evidence of the process and end the wait; False where it does not count any more.

    A file that cannot be kept, such as one of a kind that is not accepted, is told at the process; it goes on waiting.
    """
    row = await lock_process(uow, wait.id)
    if not counts(row):
        return False
    try:
        content = _content(path)
        stored = await attach_file(
            uow, record=("process_run", row.id), name=path.name, content=content, purpose=PURPOSE
        )
    except StepsError as error:
        reason = f"“{path.name}” has come and was not taken: {error.detail}"[:2_000]
        if wait.reason != reason:
            await uow.execute(REFUSE, {"id": row.id, "reason": reason, "now": uow.now})
            uow.touch(f"process_run:{row.id}")
            uow.audit(AuditEntry(command="refuse_arrival", entity="process_run", record_id=row.id, reason=reason))
        return False
    await note(uow, row, file_arrival(stored.name, stored.sha256, stored.id))
    await finish_waiting(uow, (row.id,))
    return True


async def _content(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
