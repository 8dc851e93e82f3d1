"""Files of records: attach one, take its bytes in any version, list its versions, take it off."""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile, status
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.versions import etag, expected_version
from app.core.uow import UnitOfWork
from app.domain.documents.files import ATTACHMENT, attach_file, delete_file, file_versions, open_file

router = APIRouter(prefix="/api/v1/files", tags=["Files"], dependencies=[Depends(get_actor)])

CHUNK = 256 * 1024

# What somebody else uploaded is saved and never shown as a page of ours.
UNTRUSTED = "default-src 'none'; sandbox"


class StoredOutput(BaseModel):
    id: UUID
    name: str
    purpose: str
    version: int
    media_type: str
    size: int
    sha256: str
    row_version: int


class VersionOutput(BaseModel):
    number: int
    media_type: str
    size: int
    sha256: str
    original_name: str
    created_at: datetime
    created_by: UUID | None


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Attach a file to a record, or a new version of the one of this name and purpose",
    response_model=StoredOutput,
)
async def attach(
    *,
    request: Request,
    record_entity: Annotated[str, Form(max_length=48, pattern=r"^[a-z][a-z0-9_]*$", examples=["process_run"])],
    record_id: Annotated[UUID, Form()],
    file: Annotated[UploadFile, File()],
    purpose: Annotated[str, Form(max_length=48, description="Code of the evidence it serves as")] = ATTACHMENT,
) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        stored = await attach_file(
            uow,
            record=(record_entity, record_id),
            name=file.filename or "",
            content=_chunks(file),
            purpose=purpose,
            media_type=file.content_type,
        )
        content = {
            "id": stored.id,
            "name": stored.name,
            "purpose": stored.purpose,
            "version": stored.version,
            "media_type": stored.media_type,
            "size": stored.size,
            "sha256": stored.sha256,
            "row_version": stored.row_version,
        }
        headers = {"location": f"{router.prefix}/{stored.id}", "etag": etag(stored.row_version)}
        return json_response(content, status=201, headers=headers)

    digest = hashlib.sha256()
    for part in (record_entity, str(record_id), purpose, file.filename or ""):
        digest.update(part.encode() + b"\0")
    async for chunk in _chunks(file):
        digest.update(chunk)
    await file.seek(0)
    return await command(request, work, fingerprint=digest.digest())


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(CHUNK):
        yield chunk


@router.get(
    "/{id}/content",
    summary="The bytes of a file, in its latest version or another",
    response_class=Response,
    responses={200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def read_content(
    id: UUID, uow: CurrentUow, request: Request, version: Annotated[int | None, Query(ge=1, lt=2**31)] = None
) -> Response:
    found = await open_file(uow, id, version=version)
    tag = f'"{found.sha256}"'
    headers = {
        "etag": tag,
        "cache-control": "private, no-cache",
        "content-disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}",
        "content-security-policy": UNTRUSTED,
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["content-length"] = str(found.size)
    return StreamingResponse(found.stream, headers=headers, media_type=found.media_type)


@router.get("/{id}/versions", summary="Every version of a file, the latest first")
async def list_versions(id: UUID, uow: CurrentUow) -> list[VersionOutput]:
    return [
        VersionOutput(
            number=found.number,
            media_type=found.media_type,
            size=found.size,
            sha256=found.sha256,
            original_name=found.original_name,
            created_at=found.created_at,
            created_by=found.created_by,
        )
        for found in await file_versions(uow, id)
    ]


@router.delete(
    "/{id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Take a file off its record; its versions are kept",
    openapi_extra={
        "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}]
    },
)
async def remove(id: UUID, request: Request, reason: Annotated[str, Query(min_length=1, max_length=500)]) -> Response:
    version = expected_version(request)

    async def work(uow: UnitOfWork) -> Response:
        await delete_file(uow, file_id=id, expected_version=version, reason=reason)
        return Response(status_code=204)

    return await command(request, work)
