"""How codes and labels of nodes may be written."""

import re

from app.core.errors import FieldProblem

TREE_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,47}")
# Letters and digits first: a code that starts like a formula would run in a spreadsheet.
NODE_CODE = re.compile(r"[^\W_][\w .&/+-]{0,62}[^\W_]|[^\W_]")
MAX_LABEL = 200


def tree_code_problems(code: str) -> list[FieldProblem]:
    if TREE_CODE.fullmatch(code):
        return []
    return [FieldProblem("code", "write capital letters, digits and _, at most 48, a letter first", "pattern")]


def code_problems(code: str) -> list[FieldProblem]:
    if NODE_CODE.fullmatch(code):
        return []
    message = "write 1 to 64 letters, digits, spaces and . - _ / & +, with a letter or digit first and last"
    return [FieldProblem("code", message, "pattern")]


def label_problems(label: str) -> list[FieldProblem]:
    if label.strip() and len(label.strip()) <= MAX_LABEL and label.isprintable():
        return []
    return [FieldProblem("label", f"write a name of 1 to {MAX_LABEL} characters, on one line", "required")]
