"""Questions that the owner answers, and attached tables that have to be what was asked for."""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from app.core.errors import NotFound, TransitionRefused, ValidationFailed
from app.core.file_store import open_file_store
from app.domain.documents.files import attach_file
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.preparation import answer_question
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, manual, reviewed

QUESTIONS = [
    {"code": "complete", "label": "Is the population complete?", "expected": "yes"},
    {"code": "items", "label": "How many open items?", "type": "number", "expected": "0", "required": False},
    {"code": "source", "label": "Which source?", "type": "choice", "options": ["ECB", "Desk"], "required": False},
]


async def _answer(bank: Bank, question: str, answer: str, comment: str | None = None, who: str = "preparer") -> None:
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people[who]) as uow:
        await answer_question(uow, process_run_id=row["id"], question=question, answer=answer, comment=comment)


async def _answers(bank: Bank) -> dict[str, tuple[str | None, str | None]]:
    async with bank.runtime.uow(SYSTEM) as uow:
        rows = await uow.execute(text("SELECT question, answer, comment FROM question_answer"))
        return {row.question: (row.answer, row.comment) for row in rows}


async def test_work_is_not_handed_in_before_its_required_questions_are_answered(bank: Bank) -> None:
    await bank.run([manual("a", questions=QUESTIONS)])
    with pytest.raises(TransitionRefused, match="Answer “Is the population complete"):
        await bank.do("submit", "a", "preparer")
    await _answer(bank, "complete", "Yes")
    assert await _answers(bank) == {"complete": ("yes", None)}
    assert (await bank.do("submit", "a", "preparer")).to_state == "done"


async def test_another_answer_than_the_expected_one_needs_a_comment(bank: Bank) -> None:
    await bank.run([manual("a", questions=QUESTIONS)])
    for question, answer in (("complete", "no"), ("items", "3")):
        with pytest.raises(ValidationFailed, match="say in a comment why"):
            await _answer(bank, question, answer)
    await _answer(bank, "complete", "no", "Two trades come tomorrow.")
    await _answer(bank, "items", "0.00")
    assert await _answers(bank) == {"complete": ("no", "Two trades come tomorrow."), "items": ("0.00", None)}


@pytest.mark.parametrize(("question", "answer"), [("complete", "perhaps"), ("items", "1,5"), ("source", "Reuters")])
async def test_what_is_no_answer_to_the_question_is_refused(bank: Bank, question: str, answer: str) -> None:
    await bank.run([manual("a", questions=QUESTIONS)])
    with pytest.raises(ValidationFailed):
        await _answer(bank, question, answer, "because")
    assert await _answers(bank) == {}


async def test_an_answer_taken_back_is_missing_again(bank: Bank) -> None:
    await bank.run([manual("a", questions=QUESTIONS)])
    await _answer(bank, "complete", "yes")
    await _answer(bank, "complete", "")
    with pytest.raises(TransitionRefused, match="Answer"):
        await bank.do("submit", "a", "preparer")


async def test_a_question_that_the_process_does_not_have_is_refused(bank: Bank) -> None:
    await bank.run([manual("a", questions=QUESTIONS)])
    with pytest.raises(NotFound, match="no question other"):
        await _answer(bank, "other", "yes")


async def test_what_is_signed_has_the_answers_in_it_and_they_stay(bank: Bank) -> None:
    await bank.run([reviewed("a", questions=QUESTIONS)])
    await _answer(bank, "complete", "yes")
    await bank.do("submit", "a", "preparer")
    first = (await bank.row("a"))["snapshot_hash"]
    with pytest.raises(TransitionRefused):
        await _answer(bank, "complete", "no", "Too late.")
    async with bank.runtime.uow(SYSTEM) as uow:  # past the engine
        await uow.execute(text("UPDATE question_answer SET answer = 'no'"))
    with pytest.raises(TransitionRefused, match="has changed since it was submitted"):
        await bank.do("approve", "a", "controller")
    assert (await bank.row("a"))["snapshot_hash"] == first


async def test_questions_checks_and_waits_are_read_back_as_they_were_written(bank: Bank) -> None:
    wanted = [{"code": "rec", "label": "Reconciliation", "min_count": 2, "min_rows": 3, "tie_column": "Amount",
               "tie_figure": "10.00", "file_types": ["csv"]}]  # fmt: skip
    wait = {"kind": "file", "pattern": "rates_{business_date}.csv", "folder": "rates", "early": True}
    version = await bank.publish(
        [manual("a", questions=QUESTIONS, evidence=wanted), {"code": "w", "kind": "wait_for", "wait": wait}],
        [("w", "a")],
    )
    async with bank.runtime.uow(SYSTEM) as uow:
        definition = await read_definition(uow, version)
    a, w = (process for process, _ in definition.processes())
    assert [q.model_dump(mode="json", exclude_defaults=True) for q in a.questions] == QUESTIONS
    assert a.evidence[0].model_dump(mode="json", exclude_defaults=True) == wanted[0]
    assert w.wait is not None
    assert w.wait.model_dump(mode="json", exclude_defaults=True) == wait


@pytest.fixture
def with_files(bank: Bank) -> Bank:
    bank.runtime.services = {"file_store": open_file_store(bank.runtime.settings)}
    return bank


async def _attach(bank: Bank, name: str, content: bytes) -> None:
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        await attach_file(uow, record=("process_run", row["id"]), name=name, content=content, purpose="rec")


def _wanted(**values: Any) -> list[dict[str, Any]]:
    return [{"code": "rec", "label": "Reconciliation", "file_types": ["csv"], **values}]


async def test_a_table_with_too_few_rows_or_another_total_is_not_handed_in(with_files: Bank) -> None:
    bank = with_files
    await bank.run([manual("a", evidence=_wanted(min_rows=2, tie_column="Amount", tie_figure="12.50"))])
    await _attach(bank, "rec.csv", b"Trade;Amount\nT1;12.50\n\n")
    with pytest.raises(TransitionRefused, match="has 1 rows of data; at least 2"):
        await bank.do("submit", "a", "preparer")
    await _attach(bank, "rec.csv", b"Trade;Amount\nT1;10.00\nT2;2.00\n")
    with pytest.raises(TransitionRefused, match=r"adds up to 12\.00, 12\.50 is 12\.50, -0\.50 apart"):
        await bank.do("submit", "a", "preparer")
    await _attach(bank, "rec.csv", b"Trade;Amount\nT1;10.00\nT2;2.50\n")
    assert (await bank.do("submit", "a", "preparer")).to_state == "done"


async def test_so_many_files_are_needed_as_the_definition_says(with_files: Bank) -> None:
    bank = with_files
    await bank.run([manual("a", evidence=_wanted(min_count=2))])
    await _attach(bank, "one.csv", b"x\n1\n")
    with pytest.raises(TransitionRefused, match="2 files, 1 is there"):
        await bank.do("submit", "a", "preparer")
    await _attach(bank, "two.csv", b"x\n1\n")
    assert (await bank.do("submit", "a", "preparer")).to_state == "done"


def _workbook(*rows: Sequence[str | float]) -> bytes:
    """A workbook of one sheet, as a spreadsheet program writes it: numbers as numbers, texts in the cells."""

    def cell(column: int, row: int, value: str | float) -> str:
        at = f"{'ABCDEF'[column]}{row}"
        if isinstance(value, str):
            return f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>'
        return f'<c r="{at}"><v>{value!r}</v></c>'

    lines = "".join(
        f'<row r="{n}">{"".join(cell(column, n, value) for column, value in enumerate(row))}</row>'
        for n, row in enumerate(rows, 1)
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType='
        f'"{sheet}.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType='
        f'"{sheet}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type='
        f'"{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Rec" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type='
        f'"{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
    }
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return written.getvalue()


async def test_a_workbook_is_checked_like_a_csv_and_its_binary_fractions_tie_out(with_files: Bank) -> None:
    bank = with_files
    wanted = _wanted(file_types=["xlsx"], min_rows=3, tie_column="Amount", tie_figure="0.60")
    await bank.run([manual("a", evidence=wanted)])
    await _attach(bank, "rec.xlsx", _workbook(("Trade", "Amount"), ("T1", 0.1), ("T2", 0.2)))
    with pytest.raises(TransitionRefused, match="has 2 rows of data; at least 3"):
        await bank.do("submit", "a", "preparer")
    await _attach(bank, "rec.xlsx", _workbook(("Trade", "Amount"), ("T1", 0.1), ("T2", 0.2), ("T3", 0.31)))
    with pytest.raises(TransitionRefused, match=r"adds up to 0\.61, 0\.60 is 0\.60, 0\.01 apart"):
        await bank.do("submit", "a", "preparer")
    await _attach(bank, "rec.xlsx", _workbook(("Trade", "Amount"), ("T1", 0.1), ("T2", 0.2), ("T3", 0.1 + 0.2)))
    assert (await bank.do("submit", "a", "preparer")).to_state == "done"
