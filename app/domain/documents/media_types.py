"""Which kinds of files are accepted, and whether a content is what its name says. Pure; nothing is ever unpacked."""

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.core.errors import UnsupportedMedia
from app.core.file_store import Sample

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument."
_FIRST_PARTS = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/", b"word/", b"ppt/", b"customXml/")
_PROGRAMS = (b"MZ", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")
# What a browser would run if it took the text for a page.
_ACTIVE = re.compile(
    rb"<\s*(!doctype\s+html|html|head|body|script|iframe|svg|object|embed|img|meta)\b"
    rb"|<\?xml-stylesheet|http://www\.w3\.org/(1999/xhtml|2000/svg|1999/XSL)",
    re.IGNORECASE,
)
_CONTROL = frozenset(range(32)) - {9, 10, 12, 13, 27}


@dataclass(frozen=True, slots=True)
class MediaType:
    """`kind` in words; `fits` looks at the bytes."""

    name: str
    kind: str
    fits: Callable[[Sample], bool]


def _starts(*magic: bytes) -> Callable[[Sample], bool]:
    return lambda sample: sample.head.startswith(magic)


def _first_part(sample: Sample) -> bytes:
    """Name of the first entry of a ZIP archive, from its local header."""
    head = sample.head
    return head[30 : 30 + int.from_bytes(head[26:28], "little")] if head.startswith(b"PK\x03\x04") else b""


def _is_office(sample: Sample) -> bool:
    return _first_part(sample).startswith(_FIRST_PARTS)


def _is_open_document(sample: Sample) -> bool:
    return _first_part(sample) == b"mimetype" and _OPEN_DOCUMENT in sample.head[:200]


def _is_webp(sample: Sample) -> bool:
    return sample.head.startswith(b"RIFF") and sample.head[8:12] == b"WEBP"


def _is_pdf(sample: Sample) -> bool:
    return sample.head.lstrip(b"\r\n\t ").startswith(b"%PDF-")


def _is_mail(sample: Sample) -> bool:
    return _is_text(sample) and re.match(rb"[\w-]+:", sample.head) is not None


def _is_text(sample: Sample) -> bool:
    head = sample.head
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    return not _CONTROL.intersection(head) and not _CONTROL.intersection(sample.tail)


_ENDINGS: Mapping[str, MediaType] = {
    "pdf": MediaType("application/pdf", "a PDF", _is_pdf),
    "xlsx": MediaType(f"{_OFFICE}.spreadsheetml.sheet", "an Excel workbook", _is_office),
    "docx": MediaType(f"{_OFFICE}.wordprocessingml.document", "a Word document", _is_office),
    "pptx": MediaType(f"{_OFFICE}.presentationml.presentation", "a PowerPoint presentation", _is_office),
    "ods": MediaType("application/vnd.oasis.opendocument.spreadsheet", "an OpenDocument file", _is_open_document),
    "odt": MediaType("application/vnd.oasis.opendocument.text", "an OpenDocument file", _is_open_document),
    "zip": MediaType("application/zip", "a ZIP archive", _starts(b"PK\x03\x04", b"PK\x05\x06")),
    "png": MediaType("image/png", "a PNG image", _starts(b"\x89PNG\r\n\x1a\n")),
    "jpg": MediaType("image/jpeg", "a JPEG image", _starts(b"\xff\xd8\xff")),
    "jpeg": MediaType("image/jpeg", "a JPEG image", _starts(b"\xff\xd8\xff")),
    "gif": MediaType("image/gif", "a GIF image", _starts(b"GIF87a", b"GIF89a")),
    "webp": MediaType("image/webp", "a WebP image", _is_webp),
    "csv": MediaType("text/csv", "text", _is_text),
    "txt": MediaType("text/plain", "text", _is_text),
    "md": MediaType("text/markdown", "text", _is_text),
    "json": MediaType("application/json", "text", _is_text),
    "xml": MediaType("application/xml", "text", _is_text),
    "eml": MediaType("message/rfc822", "a mail", _is_mail),
}
ENDINGS = tuple(_ENDINGS)
_BY_NAME = {media.name: media for media in _ENDINGS.values()}
_FORBIDDEN_TYPES = re.compile(r"html|svg|javascript|x-msdownload|x-sh\b|x-executable|x-dosexec|x-httpd", re.IGNORECASE)


def media_type_of(name: str, *, declared: str | None = None, allowed: frozenset[str] | None = None) -> MediaType:
    """The type that the ending stands for; `allowed` limits the endings further.

    Raises: UnsupportedMedia, with the endings that are accepted.
    """
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    media = _ENDINGS.get(ending)
    accepted = [known for known in ENDINGS if allowed is None or known in allowed]
    if media is None or ending not in accepted:
        what = f"Files ending in .{ending}" if ending else "Files without an ending"
        raise UnsupportedMedia(f"{what} are not accepted here; use one of: {', '.join(accepted)}.")
    if declared and _contradicts(declared.partition(";")[0].strip().lower(), media):
        raise UnsupportedMedia(f"“{name}” is said to be {declared}, but its ending says {media.name}.")
    return media


def _contradicts(declared: str, media: MediaType) -> bool:
    """Browsers guess types from the ending, some of them oddly; only what is clearly something else counts."""
    other = _BY_NAME.get(declared) if declared != "application/zip" else None  # what office files are, too
    return bool(_FORBIDDEN_TYPES.search(declared)) or (other is not None and other.kind != media.kind)


def check_content(name: str, media: MediaType, sample: Sample) -> None:
    """Raises: UnsupportedMedia when the bytes are not what the ending says, or something that could run."""
    if sample.size == 0:
        raise UnsupportedMedia(f"“{name}” is empty; choose the file with its content.")
    # Text may begin like a program: a list of currencies with MZN first.
    if sample.head.startswith(b"#!") or (sample.head.startswith(_PROGRAMS) and not _is_text(sample)):
        raise UnsupportedMedia(f"“{name}” is a program or script; such files are not accepted.")
    if not media.fits(sample):
        raise UnsupportedMedia(f"“{name}” is not {media.kind}, which its ending says; save it in that format.")
    if media.kind == "text" and _is_page(sample):
        raise UnsupportedMedia(f"“{name}” contains HTML or SVG; such content is not accepted.")
    # The directory of an archive stands at its end, so macros are found without opening anything.
    if media.fits is _is_office and b"vbaProject.bin" in sample.tail:
        raise UnsupportedMedia(f"“{name}” contains macros; save it without them.")


def _is_page(sample: Sample) -> bool:
    head = sample.head
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.replace(b"\0", b"")
    return _ACTIVE.search(head[:4096]) is not None
