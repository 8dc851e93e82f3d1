"""Do a command once, however often it is sent: the answer is kept under the client's key, in the same transaction.

A client that does not know whether its request arrived sends it again with the same Idempotency-Key and gets the same
answer. Duplicates that come at the same time wait for the first. A command that failed has changed nothing and is not
kept: sending it again tries again.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from starlette.requests import Request
from starlette.responses import Response

from app.api.deps import actor_of, get_runtime
from app.core.errors import FieldProblem, InvalidRequest, ValidationFailed
from app.core.uow import UnitOfWork
from models.system.tables import idempotency_key

HEADER = "idempotency-key"
REPLAYED = "idempotency-replayed"
KEPT_FOR = timedelta(hours=24)
_KEY = re.compile(r"^[\x21-\x7e]{1,200}$")
_KEPT_HEADERS = ("content-type", "etag", "location")

Work = Callable[[UnitOfWork], Awaitable[Response]]


async def command(request: Request, work: Work, *, fingerprint: bytes | None = None) -> Response:
    """Do the work in one unit of work, committed before the answer is returned; once per key where there is one.

    `fingerprint` stands for the body where that is not the same bytes each time it is sent, such as a form with files.
    """
    actor = await actor_of(request)
    key = _key(request)
    async with get_runtime(request).uow(actor) as uow:
        if key is None:
            return await work(uow)
        hashed = await _request_hash(request, fingerprint)
        kept = await _claim(uow, key, hashed)
        if kept is not None:
            return kept
        response = await work(uow)
        await _keep(uow, key, response)
        return response


def _key(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not _KEY.match(key):
        raise InvalidRequest("Idempotency-Key must be 1 to 200 visible characters, for example a UUID.")
    return key


async def _request_hash(request: Request, fingerprint: bytes | None) -> str:
    digest = hashlib.sha256()
    parts = (request.method, request.url.path, request.url.query, request.headers.get("if-match", ""))
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    digest.update(await request.body() if fingerprint is None else fingerprint)
    return digest.hexdigest()


async def _claim(uow: UnitOfWork, key: str, request_hash: str) -> Response | None:
    """Take the key for this transaction, waiting for one that holds it; return the answer that is kept under it.

    Raises:
        ValidationFailed: the key was used for another request.
    """
    table, now = idempotency_key, uow.resources.clock.real()
    row = {"actor_id": uow.actor.id, "key": key, "request_hash": request_hash, "created_at": now}
    statement = insert(table).values(row)
    claimed = await uow.scalar(
        statement.on_conflict_do_update(
            index_elements=["actor_id", "key"],
            set_={**row, "status": None, "headers": None, "body": None},
            where=table.c.created_at < now - KEPT_FOR,
        ).returning(table.c.key)
    )
    if claimed is not None:
        return None
    mine = (table.c.actor_id == uow.actor.id) & (table.c.key == key)
    kept = (await uow.execute(select(table).where(mine))).mappings().one()
    if kept["request_hash"] != request_hash:
        message = "was used for another request in the last 24 hours; use a new key for each command"
        raise ValidationFailed([FieldProblem("Idempotency-Key", message, "key_reused")])
    headers = {**kept["headers"], REPLAYED: "true"}
    return Response((kept["body"] or "").encode(), status_code=kept["status"], headers=headers)


async def _keep(uow: UnitOfWork, key: str, response: Response) -> None:
    table = idempotency_key
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    mine = (table.c.actor_id == uow.actor.id) & (table.c.key == key)
    values = {"status": response.status_code, "headers": headers, "body": bytes(response.body).decode()}
    await uow.execute(update(table).where(mine).values(**values))
