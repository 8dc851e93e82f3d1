"""File names that are safe to keep, show and save on any system. A name is never used as a path here."""

import re
import unicodedata

from app.core.errors import FieldProblem, ValidationFailed

MAX_NAME_BYTES = 200
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_NOT_IN_NAMES = frozenset('<>:"|?*')


def file_name(given: str) -> str:
    """The last part of what was given, as one clean name.

    Raises: ValidationFailed when nothing usable is left, or characters would hide what the name is.
    """
    name = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2].strip()
    if not name.strip("."):
        raise _refused("a file needs a name")
    # Control and formatting characters: a reversed “fdp.exe” reads like a PDF.
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in name):
        raise _refused("a file name cannot have control or invisible characters; rename the file")
    if _NOT_IN_NAMES.intersection(name):
        raise _refused('a file name cannot have any of < > : " | ? *; rename the file')
    if name.startswith(".") or name.endswith("."):
        raise _refused("a file name cannot begin or end with a dot; rename the file")
    if _RESERVED.fullmatch(name):
        raise _refused(f"{name} is a reserved name on Windows; rename the file")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _refused(f"a file name has at most {MAX_NAME_BYTES} bytes; shorten it")
    return name


def _refused(message: str) -> ValidationFailed:
    return ValidationFailed([FieldProblem("name", message)])
