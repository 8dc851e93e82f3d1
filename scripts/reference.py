"""Write docs/reference and the settings table of the README from the code itself."""

from pathlib import Path

import typer.main
from pydantic_core import PydanticUndefined

from app.cli import app
from app.core.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference"
START, END = "<!-- settings: made by `make docs` -->", "<!-- end of settings -->"
NOTICE = "Made from the code by `make docs`; change it there.\n"

# Defaults that depend on other settings; the description explains them.
DERIVED = {"demo"}


def settings_table() -> str:
    """Return one Markdown row for each setting."""
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        unset = field.default in (None, "", PydanticUndefined) or name in DERIVED
        default = "" if unset else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    return f"# Settings\n\n{NOTICE}\n{settings_table()}"


def commands_page() -> str:
    """Return docs/reference/commands.md."""
    parts = [f"# The `steps` command\n\n{NOTICE}"]
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for name, command in group.commands.items():
        parts.append(f"## steps {name}\n\n{command.help or ''}\n")
        options = [
            f"- `{' '.join(parameter.opts)}`: {getattr(parameter, 'help', '')}"
            for parameter in command.params
            if not getattr(parameter, "hidden", False) and parameter.name != "help"
        ]
        if options:
            parts.append("\n".join(options) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Write the pages and the table."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    (REFERENCE / "settings.md").write_text(settings_page())
    (REFERENCE / "commands.md").write_text(commands_page())
    head, _, rest = README.read_text().partition(START)
    _, _, tail = rest.partition(END)
    README.write_text(f"{head}{START}\n{settings_table()}{END}{tail}")


if __name__ == "__main__":
    main()
