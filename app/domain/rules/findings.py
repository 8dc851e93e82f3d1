"""What is wrong, or odd, with a rule: a finding names its place in the editor and says what would put it right."""

from dataclasses import dataclass

from app.core.findings import Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """`row` and `column` are ids of the content (a column: that of a condition, or the name of an answer); or empty."""

    severity: Severity
    rule: str
    message: str
    satisfy: str = ""
    row: str = ""
    column: str = ""

    @property
    def place(self) -> str:
        return ".".join(part for part in (self.row, self.column) if part) or "rule"


def errors_of(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is Severity.ERROR]
