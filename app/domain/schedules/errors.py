"""What can be wrong with a schedule; each message says what to change."""

from app.core.errors import FieldProblem, StepsError


class InvalidRecurrence(StepsError):
    """A part of a recurrence rule cannot be read, or contradicts another; `field` names the part."""

    code = "recurrence_invalid"
    status = 422
    title = "The schedule is not valid"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, problems=[FieldProblem(field, message)])
        self.field = field
