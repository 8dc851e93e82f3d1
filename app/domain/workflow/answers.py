"""What is an answer to a question. Pure."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import FieldProblem, ValidationFailed
from app.domain.workflow.definitions import AnswerType
from app.domain.workflow.table_files import decimal_of

MAX_ANSWER = 2_000
YES_NO = ("yes", "no")


def options_of(question: Mapping[str, Any]) -> tuple[str, ...]:
    """What can be chosen; empty where anything can be written."""
    match AnswerType(question["answer_type"]):
        case AnswerType.YES_NO:
            return YES_NO
        case AnswerType.CHOICE:
            return tuple(part.strip() for part in (question["options"] or "").split(",") if part.strip())
    return ()


def as_expected(question: Mapping[str, Any], answer: str) -> bool:
    """Whether it is the expected answer; numbers by their value."""
    expected = question["expected"]
    if not expected:
        return True
    if AnswerType(question["answer_type"]) is AnswerType.NUMBER:
        return decimal_of(answer) == decimal_of(expected)
    return answer.strip().casefold() == str(expected).strip().casefold()


def accepted(question: Mapping[str, Any], answer: str, comment: str | None) -> str | None:
    """The answer as it is kept; None for none. Raises ValidationFailed."""
    given = answer.strip()
    if not given:
        return None
    if len(given) > MAX_ANSWER:
        raise _refused("answer", f"At most {MAX_ANSWER:,} characters.")
    if comment is not None and len(comment) > MAX_ANSWER:
        raise _refused("comment", f"At most {MAX_ANSWER:,} characters.")
    options = options_of(question)
    if options:
        chosen = next((option for option in options if option.casefold() == given.casefold()), None)
        if chosen is None:
            raise _refused("answer", f"Choose one of: {', '.join(options)}.")
        given = chosen
    elif AnswerType(question["answer_type"]) is AnswerType.NUMBER:
        value = decimal_of(given)
        if value is None:
            raise _refused("answer", "Write a number, such as 1250.50.")
        given = format(value, "f")
    if not as_expected(question, given) and not (comment or "").strip():
        raise _refused("comment", f"The expected answer is {question['expected']}: say in a comment why it is another.")
    return given


def _refused(path: str, message: str) -> ValidationFailed:
    return ValidationFailed([FieldProblem(path, message)])
