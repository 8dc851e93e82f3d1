"""The pages keep the content security policy, and every file and icon that they name exists."""

import json
import re
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).resolve().parents[3] / "admin_views"
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"
PAGES = sorted(TEMPLATES.rglob("*.html"))
STYLES = sorted((STATIC / "css").glob("*.css"))
SCRIPTS = sorted((STATIC / "js").glob("*.js"))

COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
# An element with its attributes; a quoted value may hold ">".
TAG = re.compile(r"<[a-zA-Z][\w-]*(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>")
LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")


def name_of(path: Path) -> str:
    """Return the path as a test id."""
    return path.relative_to(ROOT).as_posix()


def markup_of(page: Path) -> str:
    """Return the page without its template comments."""
    return COMMENT.sub("", page.read_text())


def environment() -> jinja2.Environment:
    """Return an environment set up as SQLAdmin sets up its own."""
    return jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, enable_async=True)


def icons_of(text: str) -> set[str]:
    """Return the icon names of literal classes such as "ti ti-check"."""
    return {name for name in re.findall(r"\bti-([a-z0-9-]+)", text) if not name.endswith("-")}


@pytest.fixture(scope="module")
def known_icons() -> set[str]:
    """Return every icon of the Tabler set that the SQLAdmin package ships."""
    sqladmin = pytest.importorskip("sqladmin")
    css = Path(sqladmin.__file__).parent / "statics" / "css" / "tabler-icons.min.css"
    return set(re.findall(r"\.ti-([a-z0-9-]+):before", css.read_text()))


def test_the_checks_see_the_pages() -> None:
    assert {"base.html", "signin.html", "error.html", "list.html", "form.html", "detail.html"} <= {
        page.name for page in PAGES
    }
    assert STYLES
    assert SCRIPTS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_compiles(page: Path) -> None:
    environment().get_template(page.relative_to(TEMPLATES).as_posix())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_has_no_inline_style_script_or_handler(page: Path) -> None:
    markup = markup_of(page)
    for tag in TAG.findall(markup):
        attributes = LITERAL.sub('""', tag)
        assert not re.search(r"\sstyle\s*=", attributes), f"style attribute: {tag}"
        assert not re.search(r"\son[a-z]+\s*=", attributes), f"event handler: {tag}"
        assert not re.search(r"\shx-on\b", attributes), f"htmx handler needs eval: {tag}"
        assert "javascript:" not in tag.lower(), f"script address: {tag}"
        if tag.startswith("<script"):
            assert re.search(r"\ssrc=", attributes), f"inline script: {tag}"
    assert not re.search(r"<style\b", markup), "style element"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_loads_nothing_from_elsewhere(page: Path) -> None:
    for tag in TAG.findall(markup_of(page)):
        if tag.startswith(("<link", "<script", "<img", "<iframe")):
            assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", tag), tag


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_static_files_of_a_page_exist(page: Path) -> None:
    for reference in re.findall(r"[\"'](/static/[^\"'?]+)", markup_of(page)):
        if reference.startswith("/static/vendor/") or "{{" in reference:
            continue
        assert (ROOT / reference.removeprefix("/")).is_file(), reference
    for files in re.findall(r"for file in (\[[^\]]+\])", markup_of(page)):
        for name in json.loads(files.replace("'", '"')):
            assert (STATIC / "css" / f"{name}.css").is_file(), name
    for name in re.findall(r"\b(?:css|js)\('([\w.-]+)'", markup_of(page)):
        assert (STATIC / name.rsplit(".", 1)[-1] / name).is_file(), name


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_modules_that_a_script_imports_exist(script: Path) -> None:
    for reference in re.findall(r"(?:from|import|import\()\s*\"(\./[^\"]+)\"", script.read_text()):
        assert (script.parent / reference).is_file(), reference


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_script_never_turns_text_into_code_or_markup(script: Path) -> None:
    source = script.read_text()
    for forbidden in ("innerHTML", "outerHTML =", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in source, forbidden


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_icons_of_a_page_exist(page: Path, known_icons: set[str]) -> None:
    assert icons_of(markup_of(page)) - known_icons == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_icons_of_a_script_exist(script: Path, known_icons: set[str]) -> None:
    assert icons_of(script.read_text()) - known_icons == set()


def test_icon_of_every_state_exists(known_icons: set[str]) -> None:
    module = (
        jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
        .get_template("steps/macros.html")
        .module
    )
    for table in ("STATE_ICONS", "NOTE_ICONS"):
        icons = set(getattr(module, table).values())
        assert icons
        assert icons - known_icons == set()


@pytest.mark.parametrize("style", STYLES, ids=name_of)
def test_custom_properties_of_a_style_are_defined(style: Path) -> None:
    defined = set(re.findall(r"(--[\w-]+)\s*:", "".join(sheet.read_text() for sheet in STYLES)))
    assert set(re.findall(r"var\((--[\w-]+)\s*\)", style.read_text())) - defined == set()


@pytest.mark.parametrize("style", STYLES, ids=name_of)
def test_files_of_a_style_exist(style: Path) -> None:
    for reference in re.findall(r"url\(\"?([^\")]+)\"?\)", style.read_text()):
        if reference.startswith(("data:image/", "#")) or "/vendor/" in reference:
            continue
        assert (style.parent / reference).is_file(), reference


@pytest.mark.parametrize("name", ["grid", "legend"])
def test_class_that_tabler_uses_otherwise_is_not_reused(name: str) -> None:
    for sheet in STYLES:
        assert not re.search(rf"\.{name}(?![\w-])", sheet.read_text()), sheet.name
    for page in PAGES:
        assert not re.search(rf"class=\"(?:[^\"{{]*\s)?{name}(?:\s|\")", page.read_text()), page.name


def test_every_process_state_has_a_colour_in_both_themes() -> None:
    tokens = (STATIC / "css" / "tokens.css").read_text()
    light, dark = tokens.split('[data-bs-theme="dark"] {', 1)
    states = set(re.findall(r"--st-(\w+):", light))
    assert {"planned", "blocked", "ready", "in_progress", "in_review", "done", "failed", "on_hold"} <= states
    assert states == set(re.findall(r"--st-(\w+):", dark.split("\n}", 1)[0]))
    chips = (STATIC / "css" / "chips.css").read_text()
    for state in states:
        assert f".st-{state} " in chips or f".st-{state}," in chips, state
