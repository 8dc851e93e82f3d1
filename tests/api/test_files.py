"""Files of records over HTTP."""

from hashlib import sha256
from typing import Any

import httpx
import pytest

from tests.api.conftest import Api
from tests.service.workflow.bank import manual

SHEET = b"currency,rate\nUSD,1.0834\n"


@pytest.fixture
async def run(api: Api) -> Api:
    await api.run([manual("ours", node="G10-1"), manual("theirs", node="EM-1")])
    return api


async def attach(
    api: Api, who: str, code: str, content: bytes = SHEET, *, name: str = "rates.csv", key: str | None = None
) -> httpx.Response:
    row = await api.row(code)
    form = {"record_entity": "process_run", "record_id": str(row["id"])}
    upload = {"file": (name, content, "text/csv")}
    return await api.as_(who).post("/files", data=form, files=upload, headers={"idempotency-key": key} if key else {})


async def test_a_file_is_attached_and_its_bytes_come_back_as_a_download(run: Api) -> None:
    stored = await attach(run, "g10", "ours")
    assert stored.status_code == 201, stored.text
    file: dict[str, Any] = stored.json()
    assert (file["version"], file["size"], file["sha256"]) == (1, len(SHEET), sha256(SHEET).hexdigest())
    got = await run.as_("g10").get(f"/files/{file['id']}/content")
    assert (got.status_code, got.content) == (200, SHEET)
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''rates.csv"
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    again = await run.as_("g10").get(f"/files/{file['id']}/content", headers={"if-none-match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await run.as_("g10").get(f"/files/{file['id']}")).json()["name"] == "rates.csv"


async def test_the_same_name_again_is_a_new_version_and_the_old_one_stays_readable(run: Api) -> None:
    first = (await attach(run, "g10", "ours")).json()
    second = (await attach(run, "g10", "ours", SHEET + b"GBP,0.86\n")).json()
    assert (second["id"], second["version"]) == (first["id"], 2)
    versions = (await run.as_("g10").get(f"/files/{first['id']}/versions")).json()
    assert [version["number"] for version in versions] == [2, 1]
    old = await run.as_("g10").get(f"/files/{first['id']}/content", params={"version": "1"})
    assert old.content == SHEET


async def test_an_upload_sent_again_under_its_key_makes_no_second_version(run: Api) -> None:
    answers = [await attach(run, "g10", "ours", key="upload-1") for _ in range(2)]
    assert [answer.json()["version"] for answer in answers] == [1, 1]
    other = await attach(run, "g10", "ours", b"currency,rate\n", key="upload-1")
    assert other.status_code == 422


async def test_files_of_another_desk_are_neither_seen_nor_added_to(run: Api) -> None:
    file = (await attach(run, "em", "theirs")).json()
    for rest in ("", "/content", "/versions"):
        assert (await run.as_("g10").get(f"/files/{file['id']}{rest}")).status_code == 404, rest
    assert (await attach(run, "g10", "theirs")).status_code == 404
    removed = await run.as_("g10").delete(
        f"/files/{file['id']}", params={"reason": "x"}, headers={"if-match": f'"{file["row_version"]}"'}
    )
    assert removed.status_code in (403, 404)


async def test_what_is_not_what_its_name_says_is_refused(run: Api) -> None:
    for name, content in (("rates.exe", b"MZ"), ("rates.png", SHEET)):
        answer = await attach(run, "g10", "ours", content, name=name)
        assert answer.status_code in (415, 422), (name, answer.text)
    nowhere = await run.as_("g10").post(
        "/files",
        data={"record_entity": "nothing", "record_id": str(run.nodes["FX"])},
        files={"file": ("a.csv", SHEET)},
    )
    assert nowhere.status_code in (404, 422), nowhere.text
