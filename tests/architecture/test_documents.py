"""What the documents say is true: places exist, the settings table is the settings."""

import re
from pathlib import Path

from app.core.settings import Settings
from scripts.reference import END, START, commands_page, settings_page, settings_table

ROOT = Path(__file__).resolve().parents[2]


def test_every_place_in_the_where_is_table_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\|\s*([^|]+?)\s*\|\s*([^|]+?)\s*\|\s*$", text, re.MULTILINE)
    heads = [position for position, row in enumerate(rows) if row == ("question", "path")]
    assert len(heads) == 1, "docs/architecture.md has one table | question | path |"
    places = [(question, path) for question, cell in rows[heads[0] + 2 :] for path in re.findall(r"`([^`]+)`", cell)]
    assert len(places) >= 20
    missing = [f"{question}: {path}" for question, path in places if not any(ROOT.glob(path.rstrip("/")))]
    assert missing == []


def test_the_readme_starts_with_the_two_commands_and_shows_every_setting() -> None:
    text = (ROOT / "README.md").read_text()
    assert -1 < text.find("make run") < text.find("make test") < 600
    shown = text.partition(START)[2].partition(END)[0].strip()
    assert shown == settings_table().strip(), "run `make docs`"
    assert len(re.findall(r"^\| `STEPS_", shown, re.MULTILINE)) == len(Settings.model_fields)


def test_the_generated_reference_is_up_to_date() -> None:
    reference = ROOT / "docs" / "reference"
    assert (reference / "settings.md").read_text() == settings_page(), "run `make docs`"
    assert (reference / "commands.md").read_text() == commands_page(), "run `make docs`"
