"""Look at a page as a person would: does it fit, can everybody use it, and what does it look like?

Pictures are written to build/screenshots, to be held beside the mock-ups; nothing compares them by pixels.
"""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.person import DESKTOP, PHONE

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "build" / "assets" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = ROOT / "build" / "screenshots"
BAD = ("serious", "critical")
THEMES = ("light", "dark")

# What axe finds, one entry for each kind of trouble with the first elements that have it.
RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"], preload: false });
  return found.violations.map(({ id, impact, help, nodes }) => ({
    id, impact, help, count: nodes.length,
    nodes: nodes.slice(0, 4).map((node) => {
      const check = node.any[0] || node.all[0] || node.none[0] || {};
      return `${node.target.join(" ")}: ${check.message}`;
    }),
  }));
}"""
OVERFLOW = """() => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return [];
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > room + 1)
    .map((element) => `${element.tagName} ${element.className} ${Math.round(element.getBoundingClientRect().right)}`)
    .slice(0, 6);
}"""


async def examine(page: Page, name: str) -> None:
    """Take a picture at both sizes in both themes, and assert that nothing sticks out and axe finds nothing bad.

    The page is loaded at each size, as it is on such a screen.
    """
    troubles: list[str] = []
    for size in (DESKTOP, PHONE):
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.reload(wait_until="load")
        for theme in THEMES:
            await page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
            where = f"{name}_{theme}_{size[0]}x{size[1]}"
            await picture(page, where)
            troubles += [f"{where}: sticks out: {element}" for element in await sticking_out(page)]
            if theme == "light" or size == DESKTOP:
                troubles += [f"{where}: {trouble}" for trouble in await accessibility(page)]
    await page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    await page.reload(wait_until="load")
    assert troubles == [], "\n".join(troubles)


async def sticking_out(page: Page) -> list[str]:
    """Elements that make a person scroll sideways."""
    found: list[str] = await page.evaluate(OVERFLOW)
    return found


async def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")


async def accessibility(page: Page) -> list[str]:
    """What axe calls serious or critical."""
    if not await page.evaluate("typeof axe === 'object'"):
        if not AXE.is_file():
            pytest.fail("axe-core is missing: remove admin_views/static/vendor and run `make assets`.")
        await page.evaluate(AXE.read_text("utf-8"))
    found: list[dict[str, Any]] = await page.evaluate(RUN)
    return [
        f"{f['impact']} {f['id']} ({f['count']}): {f['help']} | " + " | ".join(f["nodes"])
        for f in found
        if f["impact"] in BAD
    ]
