"""Run every measurement one after the other, print a table, and keep the lines in `bench/results.json`.

`python -m bench` runs all of them, `python -m bench api sweep` these. Each runs in a process of its own, so that none
warms up or slows down another.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
APART = {"raw_server", "load"}  # parts of a measurement, not one of their own

Line = dict[str, Any]


def measurements() -> list[str]:
    """The modules here that measure something."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_") and path.stem not in APART)


def run(name: str, console: Console) -> tuple[list[Line], bool]:
    """Run one measurement and show its lines as they come. Returns them, and whether it ended well."""
    began = time.monotonic()
    console.print(f"[bold]{name}[/]")
    lines: list[Line] = []
    with subprocess.Popen([sys.executable, "-m", f"bench.{name}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                console.print(f"  {text.rstrip()}", markup=False, style="dim")
                continue
            lines.append({"bench": name, **line})
            console.print(f"  {line.get('name')}: ratio {line.get('ratio', '-')}", markup=False, style="dim")
    console.print(f"  {time.monotonic() - began:.0f} s", style="dim")
    return lines, process.returncode == 0


def table(lines: list[Line]) -> Table:
    """What was measured, side by side. The names of the figures vary; the ratio is always `ratio`."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for heading, right in (("bench", False), ("what", False), ("ours", True), ("bare", True), ("ratio", True)):
        shown.add_column(heading, justify="right" if right else "left")
    shown.add_column("target")
    for line in lines:
        figures = [_first(line, prefix) for prefix in ("ours", "raw")]
        shown.add_row(line["bench"], str(line.get("name", "")), *figures, _text(line.get("ratio")), _target(line))
    return shown


def _first(line: Line, prefix: str) -> str:
    return next((_text(value) for key, value in line.items() if key.startswith(prefix)), "")


def _target(line: Line) -> str:
    if "target" not in line:
        return ""
    met = line.get("met")
    return _text(line["target"]) + ("" if met is None else "  met" if met else "  MISSED")


def _text(value: object) -> str:
    return "" if value is None else f"{value:,.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    console = Console(highlight=False)
    asked = sys.argv[1:] or measurements()
    unknown = sorted(set(asked) - set(measurements()))
    if unknown:
        console.print(f"There is no measurement {unknown[0]!r}; there are: {', '.join(measurements())}.", style="red")
        return 2
    lines: list[Line] = []
    failed: list[str] = []
    for name in asked:
        found, well = run(name, console)
        lines += found
        if not well:
            failed.append(name)
    RESULTS.write_text(json.dumps(lines, indent=1) + "\n")
    console.print()
    console.print(table(lines))
    if failed:
        console.print(f"Did not end well: {', '.join(failed)}", style="red")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
