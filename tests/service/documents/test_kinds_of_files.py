"""Names and contents that are accepted, and those that are not."""

import io
import zipfile

import pytest
import xlsxwriter

from app.core.errors import UnsupportedMedia, ValidationFailed
from app.core.file_store import SAMPLE, Sample
from app.domain.documents.media_types import check_content, media_type_of
from app.domain.documents.names import file_name
from tests.service.documents.conftest import PDF, Papers

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
EXE = b"MZ\x90\0\3\0\0\0" + bytes(60)


def workbook() -> bytes:
    written = io.BytesIO()
    book = xlsxwriter.Workbook(written, {"in_memory": True})
    book.add_worksheet().write(0, 0, "PnL")
    book.close()
    return written.getvalue()


def archive(*names: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            zipped.writestr(name, b"0" * 100)
    return written.getvalue()


def check(name: str, content: bytes, declared: str | None = None) -> str:
    media = media_type_of(name, declared=declared)
    check_content(name, media, Sample(content[:SAMPLE], content[-SAMPLE:], len(content)))
    return media.name


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("a.pdf", PDF, "application/pdf"),
        ("A.PDF", PDF, "application/pdf"),
        ("a.png", PNG, "image/png"),
        ("a.xlsx", workbook(), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.zip", archive("x.txt"), "application/zip"),
        ("a.csv", b"MZN,BRL\n1,2\n", "text/csv"),
        ("a.csv", "Währung;Betrag\r\n".encode("cp1252"), "text/csv"),
        ("a.csv", "currency;amount\r\n".encode("utf-16"), "text/csv"),
        ("a.json", b'{"a": "<b>"}', "application/json"),
        ("a.xml", b'<?xml version="1.0"?><Document xmlns="urn:iso:std:iso:20022"/>', "application/xml"),
        ("a.eml", b"From: a@bank.example\r\n\r\n<html>hello</html>", "message/rfc822"),
    ],
)
def test_files_of_the_bank_are_accepted(name: str, content: bytes, media_type: str) -> None:
    assert check(name, content) == media_type


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", b"", "is empty"),
        ("a.pdf", EXE, "is a program or script"),
        ("a.txt", EXE, "is a program or script"),
        ("a.txt", b"#!/bin/sh\nrm -rf /", "is a program or script"),
        ("a.txt", b"\x7fELF\2\1\1\0", "is a program or script"),
        ("a.exe", EXE, "ending in .exe are not accepted"),
        ("a.html", b"<html>", "ending in .html are not accepted"),
        ("a.svg", b"<svg>", "ending in .svg are not accepted"),
        ("a.xlsm", workbook(), "ending in .xlsm are not accepted"),
        ("a.pdf.js", b"alert(1)", "ending in .js are not accepted"),
        ("README", b"text", "without an ending are not accepted"),
        ("a.pdf", PNG, "is not a PDF, which its ending says"),
        ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a PNG image"),
        ("a.xlsx", archive("x.txt"), "is not an Excel workbook"),
        ("a.xlsx", archive("[Content_Types].xml", "xl/vbaProject.bin"), "contains macros"),
        ("a.txt", b"\xef\xbb\xbf \n<!DOCTYPE html><title>", "contains HTML or SVG"),
        ("a.csv", b"a,b\n<script>alert(1)</script>,2", "contains HTML or SVG"),
        ("a.xml", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "contains HTML or SVG"),
        ("a.txt", "<html>".encode("utf-16"), "contains HTML or SVG"),
        ("a.csv", b"a,b\0c", "is not text"),
    ],
)
def test_what_could_run_or_is_not_what_it_says_is_refused(name: str, content: bytes, message: str) -> None:
    with pytest.raises(UnsupportedMedia, match=message):
        check(name, content)


@pytest.mark.parametrize(
    ("declared", "fits"),
    [
        ("application/pdf", True),
        ("application/octet-stream", True),
        ("application/pdf; charset=binary", True),
        ("text/html", False),
        ("image/svg+xml", False),
        ("image/png", False),
    ],
)
def test_a_declared_type_must_not_contradict_the_ending(declared: str, fits: bool) -> None:
    if fits:
        assert check("a.pdf", PDF, declared) == "application/pdf"
    else:
        with pytest.raises(UnsupportedMedia, match="is said to be"):
            check("a.pdf", PDF, declared)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        (" Bericht März (2).pdf ", "Bericht März (2).pdf"),
        ("../../etc/report.pdf", "report.pdf"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("..\\..\\report.pdf", "report.pdf"),
        ("/etc/cron.d/report.pdf", "report.pdf"),
        ("Bericht Ma\u0308rz.pdf", "Bericht März.pdf"),
    ],
)
def test_only_the_last_part_of_a_path_is_the_name(given: str, kept: str) -> None:
    assert file_name(given) == kept


@pytest.mark.parametrize(
    "given",
    ["", " ", ".", "..", "a/..", "a/", ".htaccess", "a.pdf.", "a\0.pdf", "a\n.pdf", "fdp\u202efdp.exe", "a\u200b.pdf",
     "con.pdf", "LPT1", "a.pdf:stream", "a|b.pdf", "é" * 101 + ".pdf"],
)  # fmt: skip
def test_names_that_hide_or_harm_are_refused(given: str) -> None:
    with pytest.raises(ValidationFailed, match="name: "):
        file_name(given)


async def test_a_path_in_a_name_does_not_lead_out_of_the_store(papers: Papers) -> None:
    file = await papers.attach("G10", "../../../../outside.pdf")
    assert file.name == "outside.pdf"
    [stored] = papers.stored()
    assert stored.name == file.sha256


async def test_a_refused_content_leaves_nothing_behind(papers: Papers) -> None:
    with pytest.raises(UnsupportedMedia, match="is a program or script"):
        await papers.attach("G10", content=EXE)
    assert papers.stored() == []


async def test_evidence_is_of_the_kinds_that_the_process_asks_for(papers: Papers) -> None:
    with pytest.raises(UnsupportedMedia, match=r"ending in \.csv are not accepted here; use one of: pdf, xlsx"):
        await papers.attach("G10", "statement.csv", b"a,b\n")
    assert (await papers.attach("G10", "statement.xlsx", workbook())).version == 1
    assert (await papers.attach("G10", "other.csv", b"a,b\n", purpose="attachment")).version == 1
