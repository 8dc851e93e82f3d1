"""Files of records: stored once, in versions, and seen by whoever sees the record."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, TooLarge, ValidationFailed
from app.domain.access.scope import scope
from app.domain.documents.files import FileContent, attach_file, delete_file, file_versions, list_files, open_file
from models.base import uuid7
from models.system.tables import audit_entry
from tests.factories import SYSTEM
from tests.service.documents.conftest import PDF, Papers

OTHER_PDF = PDF + b"another page\n"


async def read(content: FileContent) -> bytes:
    return b"".join([portion async for portion in content.stream])


async def stream(megabytes: int) -> AsyncIterator[bytes]:
    yield PDF
    for number in range(megabytes):
        yield bytes([number % 251]) * 1_000_000


async def test_what_was_attached_is_what_is_opened(papers: Papers) -> None:
    file = await papers.attach("G10")
    assert (file.name, file.version, file.media_type, file.size) == ("statement.pdf", 1, "application/pdf", len(PDF))
    async with papers.runtime.uow(SYSTEM) as uow:
        opened = await open_file(uow, file.id)
        assert await read(opened) == PDF
    sha256 = hashlib.sha256(PDF).hexdigest()
    assert (opened.sha256, opened.media_type, opened.size) == (sha256, "application/pdf", len(PDF))
    folder = papers.runtime.settings.data_dir / "files"
    assert papers.stored() == [folder / sha256[:2] / sha256[2:4] / sha256]


async def test_the_same_bytes_are_stored_once(papers: Papers) -> None:
    first = await papers.attach("G10")
    second = await papers.attach("EM", "same.pdf")
    assert first.id != second.id
    assert len(papers.stored()) == 1


async def test_a_file_of_the_same_name_is_its_next_version(papers: Papers) -> None:
    first = await papers.attach("G10")
    second = await papers.attach("G10", content=OTHER_PDF)
    other = await papers.attach("G10", content=OTHER_PDF, purpose="explanation")
    assert (first.id, second.version, other.version) == (second.id, 2, 1)
    assert other.id != first.id, "another purpose is another file"
    async with papers.runtime.uow(SYSTEM) as uow:
        assert await read(await open_file(uow, first.id, version=1)) == PDF
        assert await read(await open_file(uow, first.id)) == OTHER_PDF
        assert [version.number for version in await file_versions(uow, first.id)] == [2, 1]
        with pytest.raises(NotFound, match="has no version 3; its latest one is 2"):
            await open_file(uow, first.id, version=3)


async def test_versions_uploaded_at_the_same_moment_get_a_number_each(papers: Papers) -> None:
    contents = [PDF + str(n).encode() for n in range(8)]
    files = await asyncio.gather(*(papers.attach("G10", content=content) for content in contents))
    assert len({file.id for file in files}) == 1
    assert sorted(file.version for file in files) == list(range(1, 9))
    async with papers.runtime.uow(SYSTEM) as uow:
        for file, content in zip(files, contents, strict=True):
            assert await read(await open_file(uow, file.id, version=file.version)) == content
        [latest] = await list_files(uow, record=papers.records["G10"])
    assert latest.version == 8


async def test_a_large_stream_arrives_whole(papers: Papers) -> None:
    digest = hashlib.sha256()
    async for chunk in stream(20):
        digest.update(chunk)
    file = await papers.attach("G10", content=stream(20))
    async with papers.runtime.uow(SYSTEM) as uow:
        opened = await open_file(uow, file.id)
        size, seen = 0, hashlib.sha256()
        async for portion in opened.stream:
            size += len(portion)
            seen.update(portion)
    assert file.size == size == 20_000_000 + len(PDF)
    assert file.sha256 == digest.hexdigest() == seen.hexdigest()


async def test_what_is_over_the_limit_is_refused_and_not_kept(papers: Papers) -> None:
    with pytest.raises(TooLarge, match="larger than 100 MB"):
        await papers.attach("G10", content=stream(100))
    assert papers.stored() == []
    async with papers.runtime.uow(SYSTEM) as uow:
        assert await list_files(uow, record=papers.records["G10"]) == []


async def test_a_transaction_that_fails_leaves_no_file_on_the_record(papers: Papers) -> None:
    async def attach_and_fail() -> None:
        async with papers.runtime.uow(SYSTEM) as uow:
            await attach_file(uow, record=papers.records["G10"], purpose="statement", name="a.pdf", content=PDF)
            raise LookupError("something else went wrong")

    with pytest.raises(LookupError):
        await attach_and_fail()
    async with papers.runtime.uow(SYSTEM) as uow:
        assert await list_files(uow, record=papers.records["G10"]) == []
    assert (await papers.attach("G10", "a.pdf")).version == 1


async def test_who_sees_the_process_sees_its_files_and_nobody_else_by_id(papers: Papers) -> None:
    files = {place: await papers.attach(place) for place in ("FX", "G10", "EM")}
    desk = papers.actor("preparer", node="G10")
    async with papers.runtime.uow(desk) as uow:
        for place in ("G10", "FX"):  # the run of the business above is in the desk's sight, and so are its papers
            assert await read(await open_file(uow, files[place].id)) == PDF
            assert [file.id for file in await list_files(uow, record=papers.records[place])] == [files[place].id]
        hidden = files["EM"].id
        for attempt in (open_file(uow, hidden), file_versions(uow, hidden), open_file(uow, uuid7())):
            with pytest.raises(NotFound, match="There is no such file, or you may not see it"):
                await attempt
        with pytest.raises(NotFound):
            await list_files(uow, record=papers.records["EM"])
        table = uow.table("file")
        listed = (await uow.execute(scope(select(table.c.id), uow, "read", "file"))).scalars().all()
    assert listed == [files["G10"].id]


async def test_files_of_a_record_that_only_its_own_place_sees_are_hidden_from_below(papers: Papers) -> None:
    above = await papers.attach("trade FX", purpose="attachment")
    own = await papers.attach("trade EM-1", purpose="attachment")
    async with papers.runtime.uow(papers.actor("preparer", node="EM")) as uow:
        assert await read(await open_file(uow, own.id)) == PDF
        with pytest.raises(NotFound):
            await open_file(uow, above.id)


async def test_a_role_in_another_application_opens_nothing(papers: Papers) -> None:
    file = await papers.attach("G10")
    async with papers.runtime.uow(papers.actor("preparer", application="TREASURY")) as uow:
        with pytest.raises(NotFound):
            await open_file(uow, file.id)


async def test_files_are_added_only_where_one_works(papers: Papers) -> None:
    desk = papers.actor("preparer", node="G10")
    assert (await papers.attach("G10", actor=desk)).version == 1
    with pytest.raises(Forbidden, match="your roles allow it only elsewhere"):
        await papers.attach("FX", actor=desk)  # seen, because it is above, and not worked on
    with pytest.raises(NotFound):
        await papers.attach("EM", actor=desk)
    with pytest.raises(Forbidden, match="the permission “create” on file"):
        await papers.attach("G10", actor=papers.actor("auditor"))
    controller = papers.actor("controller")
    assert (await papers.attach("G10", "review.pdf", actor=controller)).version == 1
    with pytest.raises(Forbidden, match="the permission “update” on file"):
        await papers.attach("G10", actor=controller)
    async with papers.runtime.uow(SYSTEM) as uow:
        assert [file.version for file in await list_files(uow, record=papers.records["G10"])] == [1, 1]


@pytest.mark.parametrize("state", ["done", "skipped", "cancelled"])
async def test_a_closed_process_takes_no_more_files(papers: Papers, state: str) -> None:
    await papers.set_process("G10", state=state)
    with pytest.raises(Conflict, match=f"“Explain G10” is {state}: its files do not change any more"):
        await papers.attach("G10")
    assert papers.stored() == []


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "in_review", "snapshot_hash": "h"},
        {"state": "on_hold", "state_before_hold": "in_review", "snapshot_hash": "h"},
    ],
)
async def test_what_was_submitted_stays_as_it_was_handed_in(papers: Papers, columns: dict[str, str]) -> None:
    file = await papers.attach("G10")
    await papers.set_process("G10", **columns)
    for name in ("statement.pdf", "late.pdf"):
        with pytest.raises(Conflict, match="“Explain G10” has been submitted"):
            await papers.attach("G10", name)
    async with papers.runtime.uow(SYSTEM) as uow:
        with pytest.raises(Conflict, match="“Explain G10” has been submitted"):
            await delete_file(uow, file_id=file.id, expected_version=1, reason="Wrong file")
        assert len(await list_files(uow, record=papers.records["G10"])) == 1


async def test_an_upload_waits_for_a_submission_that_is_under_way(papers: Papers) -> None:
    async with papers.runtime.uow(SYSTEM) as uow:
        table = uow.table("process_run")
        await uow.execute(select(table.c.id).where(table.c.id == papers.id("G10")).with_for_update(key_share=True))
        upload = asyncio.create_task(papers.attach("G10"))
        await asyncio.sleep(0.5)
        assert not upload.done()
        values = {"state": "in_review", "snapshot_hash": "h"}
        await uow.execute(table.update().where(table.c.id == papers.id("G10")).values(**values))
    with pytest.raises(Conflict, match="has been submitted"):
        await upload


async def test_a_removed_file_is_gone_from_sight_and_its_name_is_free(papers: Papers) -> None:
    file = await papers.attach("G10")
    async with papers.runtime.uow(SYSTEM) as uow:
        with pytest.raises(ValidationFailed, match="say why"):
            await delete_file(uow, file_id=file.id, expected_version=1, reason=" ")
        with pytest.raises(StaleVersion):
            await delete_file(uow, file_id=file.id, expected_version=7, reason="Wrong file")
        await delete_file(uow, file_id=file.id, expected_version=1, reason="Wrong file")
    async with papers.runtime.uow(SYSTEM) as uow:
        assert await list_files(uow, record=papers.records["G10"]) == []
        with pytest.raises(NotFound):
            await open_file(uow, file.id)
    again = await papers.attach("G10", content=OTHER_PDF)
    assert (again.version, again.id != file.id) == (1, True)
    async with papers.runtime.uow(papers.actor("controller")) as uow:
        with pytest.raises(Forbidden):
            await delete_file(uow, file_id=again.id, expected_version=1, reason="Mine")


async def test_each_change_of_a_file_is_in_the_audit_trail(papers: Papers) -> None:
    actor = papers.actor("preparer")
    file = await papers.attach("G10", actor=actor)
    await papers.attach("G10", content=OTHER_PDF, actor=actor)
    async with papers.runtime.uow(SYSTEM) as uow:
        wanted = select(audit_entry).where(audit_entry.c.record_id == file.id).order_by(audit_entry.c.sequence)
        entries = (await uow.execute(wanted)).all()
    assert [entry.command for entry in entries] == ["file.attach", "file.replace"]
    assert entries[1].after["sha256"] == hashlib.sha256(OTHER_PDF).hexdigest()
    assert entries[1].context == {"record_entity": "process_run", "record_id": str(papers.id("G10"))}
    assert entries[1].grant_id == actor.grants[0].id


async def test_records_that_take_no_files_say_so(papers: Papers) -> None:
    async with papers.runtime.uow(SYSTEM) as uow:
        for entity in ("hierarchy_node", "process_evidence", "nothing"):
            with pytest.raises(ValidationFailed, match="take no files"):
                await attach_file(uow, record=(entity, uuid7()), name="a.pdf", content=PDF)
        with pytest.raises(ValidationFailed, match="purpose: write lower case letters"):
            await attach_file(uow, record=papers.records["G10"], purpose="Not a code", name="a.pdf", content=PDF)
