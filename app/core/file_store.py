"""Where the bytes of documents are: objects addressed by their SHA-256, in a folder or an object store."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from app.core.errors import TooLarge, Unavailable
from app.core.settings import Settings

MEGABYTE = 1_000_000
SAMPLE = 65_536
# Up to this size an upload is held in memory until it is known what it is; beyond, in an unnamed temporary file.
IN_MEMORY = 2 * MEGABYTE
CHUNK = 256 * 1024

Content = bytes | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is looked at to tell what a content is: its beginning, its end, its size."""

    head: bytes
    tail: bytes
    size: int


@dataclass(frozen=True, slots=True)
class StoredContent:
    sha256: str
    size: int


class FileStore:
    """Objects that are written once and never change: what is equal is stored once."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder  # of a local store: its files are flushed to the disk before they are referred to

    async def put(self, content: Content, *, limit: int, accept: Callable[[Sample], None]) -> StoredContent:
        """Store a content of at most `limit` bytes, unless `accept` raises: nothing of a refused one is kept.

        The object appears under its final name only when it is complete. Raises TooLarge, Unavailable.
        """
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
            digest = hashlib.sha256()
            size, head, tail = 0, b"", b""
            async for chunk in _chunks(content):
                size += len(chunk)
                if size > limit:
                    raise TooLarge(f"The file is larger than {limit // MEGABYTE} MB; divide or compress it.")
                if len(head) < SAMPLE:
                    head = (head + chunk)[:SAMPLE]
                tail = chunk[-SAMPLE:] if len(chunk) >= SAMPLE else (tail + chunk)[-SAMPLE:]
                await asyncio.to_thread(_take, spool, digest.update, chunk)
            accept(Sample(head, tail, size))
            sha256 = digest.hexdigest()
            if not await self.exists(sha256):
                spool.seek(0)
                await self._write(sha256, spool)
        return StoredContent(sha256, size)

    async def _write(self, sha256: str, spool: IO[bytes]) -> None:
        # The store itself writes under a temporary name (or as an upload in parts) and gives the final one at the end.
        try:
            await obstore.put_async(self._store, address(sha256), _read(spool), mode="overwrite")
        except BaseError as error:
            raise Unavailable("The file could not be stored; try again in a moment.") from error
        if self._folder is not None:
            await asyncio.to_thread(_flush_to_disk, self._folder / address(sha256))

    async def exists(self, sha256: str) -> bool:
        try:
            await obstore.head_async(self._store, address(sha256))
        except FileNotFoundError:
            return False
        except BaseError as error:
            raise Unavailable("The file store is not reachable; try again in a moment.") from error
        return True

    async def open(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes, in portions. Raises Unavailable when they are not there."""
        try:
            found = await obstore.get_async(self._store, address(sha256))
        except BaseError as error:
            raise Unavailable("The content of this file cannot be read at the moment.") from error
        return _portions(found.stream(min_chunk_size=CHUNK))


async def _portions(stream: AsyncIterable[object]) -> AsyncIterator[bytes]:
    async for portion in stream:
        yield bytes(portion)  # type: ignore[call-overload]


async def _chunks(content: Content) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        for start in range(0, len(content), MEGABYTE):
            yield content[start : start + MEGABYTE]
    else:
        async for chunk in content:
            yield chunk


def _take(spool: IO[bytes], update: Callable[[bytes], None], chunk: bytes) -> None:
    update(chunk)
    spool.write(chunk)


async def _read(spool: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(spool.read, MEGABYTE):
        yield chunk


def address(sha256: str) -> str:
    """Where an object is: two levels of folders keep each of them small."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _flush_to_disk(path: Path) -> None:
    """The database commits a reference to these bytes next; they must outlive a power failure as it does."""
    for opened in (path, path.parent, path.parent.parent):
        descriptor = os.open(opened, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems do not flush folders
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_file_store(settings: Settings) -> FileStore:
    """The store of this installation: `files` in the data folder."""
    folder = settings.data_dir / "files"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return FileStore(LocalStore(folder), folder)
