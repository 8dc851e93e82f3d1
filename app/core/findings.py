"""What a check of a definition finds before it is published: the one shape of all linters."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """`place` is the code of the part it is about, or empty for the whole; `satisfy` says what to do."""

    severity: Severity
    rule: str
    place: str
    message: str
    satisfy: str


def error(rule: str, place: str, message: str, satisfy: str) -> Finding:
    return Finding(Severity.ERROR, rule, place, message, satisfy)


def warning(rule: str, place: str, message: str, satisfy: str) -> Finding:
    return Finding(Severity.WARNING, rule, place, message, satisfy)
