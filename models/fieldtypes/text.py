"""Text in its forms: plain, long, Markdown, code, e-mail, address, phone, secret."""

import re
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sqlalchemy import Column, LargeBinary, Text

from models.fieldtypes.base import TEXTUAL, FieldError, FieldKind, column
from models.schema import FieldDef, FieldType

_EMAIL = re.compile(r"^[^@\s\x00]{1,64}@[^@\s\x00]{1,190}\.[^@\s\x00.]{2,63}$")
_PHONE = re.compile(r"^\+?[0-9][0-9 ()./-]{3,30}$")


class PlainText(FieldKind):
    type = FieldType.TEXT
    widget = "text"
    operators: ClassVar[tuple[str, ...]] = TEXTUAL
    default_length: ClassVar[int] = 255

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, Text)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if not isinstance(value, str):
            raise FieldError("must be text")
        if "\x00" in value:
            raise FieldError("contains a null character; remove it")
        length = field.length or self.default_length
        if len(value) > length:
            raise FieldError(f"is {len(value)} characters long; at most {length} are allowed")
        if field.min is not None and len(value.strip()) < int(field.min):
            raise FieldError(f"too short: {len(value.strip())} of at least {field.min} characters")
        if field.pattern and not re.fullmatch(field.pattern, value):
            raise FieldError(field.help or f"does not match the pattern {field.pattern}")
        return value

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "maxLength": field.length or self.default_length}
        if field.pattern:
            schema["pattern"] = f"^(?:{field.pattern})$"
        return schema


class LongText(PlainText):
    type = FieldType.LONG_TEXT
    widget = "textarea"
    default_length = 20_000


class Markdown(LongText):
    type = FieldType.MARKDOWN
    widget = "markdown"
    default_length = 200_000


class Code(LongText):
    type = FieldType.CODE
    widget = "code"
    default_length = 500_000


class Email(PlainText):
    type = FieldType.EMAIL
    widget = "email"

    def parse(self, field: FieldDef, value: Any) -> Any:
        text = super().parse(field, value)
        if not _EMAIL.match(text):
            raise FieldError("is not an e-mail address, for example name@bank.example")
        return text.lower()

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {**super().json_schema(field), "format": "email"}


class Url(PlainText):
    type = FieldType.URL
    widget = "url"
    default_length = 2_000

    def parse(self, field: FieldDef, value: Any) -> Any:
        text = super().parse(field, value)
        try:
            parts = urlsplit(text)
        except ValueError:
            parts = urlsplit("")
        # Only these two: a `javascript:` address would run in the reader's session.
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FieldError("is not an address that starts with https:// or http://")
        return text

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {**super().json_schema(field), "format": "uri"}


class Phone(PlainText):
    type = FieldType.PHONE
    widget = "tel"

    def parse(self, field: FieldDef, value: Any) -> Any:
        text = super().parse(field, value)
        if not _PHONE.match(text):
            raise FieldError("is not a phone number, for example +49 69 1234")
        return text


class Secret(PlainText):
    """Encrypted by the entities service before it is written; never returned, filtered or exported."""

    type = FieldType.SECRET
    widget = "password"
    operators = ("is_null",)
    default_length = 10_000

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, LargeBinary)]

    def to_json(self, value: Any) -> Any:
        return None

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {**super().json_schema(field), "writeOnly": True, "format": "password"}


KINDS: tuple[FieldKind, ...] = (
    PlainText(), LongText(), Markdown(), Code(), Email(), Url(), Phone(), Secret(),
)  # fmt: skip
