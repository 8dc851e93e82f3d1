"""Read the demo package's files: what belongs to the sample bank."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.wall_time import Occurrence, wall_to_utc, zone_info
from app.domain.finance.pnl import rate_with_spread
from app.domain.finance.rate_file import open_rate_file
from models.lifecycle import LifecycleDef

FOLDER = Path(__file__).resolve().parents[2] / "demo"


@dataclass(frozen=True)
class DemoUser:
    email: str
    name: str
    application: str
    roles: tuple[str, ...]
    node: str | None


class DemoPackage:
    """The package in `folder`; dates are those of the installed rate file.

    `history_days` shortens the history: what lies before it is loaded as figures only, without runs.
    """

    def __init__(self, folder: Path = FOLDER, *, history_days: int | None = None) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = yaml.safe_load((folder / "package.yaml").read_text("utf-8"))["package"]
        self.rates = open_rate_file()
        self.history_days: int = self.settings["history_days"] if history_days is None else history_days

    @cached_property
    def dates(self) -> tuple[date, ...]:
        return tuple(self.rates.dates)

    @property
    def today(self) -> date:
        """The last date that has rates."""
        return self.dates[-1]

    def date_of(self, day_offset: int) -> date:
        """0 is the last date of the rate file, -1 the one before."""
        return self.dates[day_offset - 1]

    @property
    def cut_off(self) -> time:
        return time.fromisoformat(self.settings["rates"]["cut_off"])

    @property
    def start_time(self) -> time:
        """The time of day at which the day's run is created."""
        return parse_deadline(self.settings["run"]["start"]).at

    def instant(self, day: date, at: time) -> datetime:
        """The moment at which the bank's clocks show `at` on `day`."""
        return wall_to_utc(day, at, zone_info(self.settings["zone"]), occurrence=Occurrence.FIRST)

    def users(self) -> list[DemoUser]:
        return [
            DemoUser(
                row["email"],
                row["full_name"],
                row["application"],
                tuple(row["roles"].split(";")),
                row["scope_node"] or None,
            )
            for row in self._rows(self.settings["users"])
        ]

    def hierarchy_csv(self, file: str) -> str:
        return (self.folder / file).read_text("utf-8")

    def workflow_text(self) -> str:
        path: Path = self.folder / self.settings["workflow"]
        return path.read_text("utf-8")

    def threshold_rule(self) -> dict[str, Any]:
        """The business rule that the thresholds ask, as its file has it."""
        given: dict[str, Any] = yaml.safe_load((self.folder / self.settings["threshold_rule"]).read_text("utf-8"))
        return given

    def lifecycles(self) -> Iterator[tuple[str, LifecycleDef]]:
        """(entity, lifecycle) of the records that follow one."""
        for file in self.settings["lifecycles"]:
            given: dict[str, Any] = yaml.safe_load((self.folder / file).read_text("utf-8"))
            yield given["entity"], LifecycleDef.model_validate(given["lifecycle"])

    def positions(self) -> Iterator[tuple[date, str, str, Decimal]]:
        """(date, book, currency, quantity) at the close of the day before the first trades."""
        for row in self._rows(self.settings["positions"]):
            yield self.date_of(int(row["day_offset"])), row["book"], row["currency"], Decimal(row["quantity"])

    def trades(self) -> Iterator[dict[str, Any]]:
        """Trades as the trade entity takes them; `book` is a code."""
        for row in self._rows(self.settings["trades"]):
            day = self.date_of(int(row["day_offset"]))
            reference_rate = self.rates.day(day).rates[row["currency"]]
            late = time.fromisoformat(row["captured_at"]) > self.cut_off
            quantity = Decimal(row["quantity"])
            yield {
                "reference": row["trade_ref"],
                "book": row["book"],
                "trade_date": day.isoformat(),
                "product": "spot",
                "currency": row["currency"],
                "quantity": str(quantity if row["side"] == "buy" else -quantity),
                "rate": str(rate_with_spread(reference_rate, Decimal(row["spread_bp"]))),
                "counterparty": row["counterparty"],
                **({"late": True, "late_reason": row["late_reason"]} if late else {}),
            }

    def thresholds(self) -> list[dict[str, str]]:
        return list(self._rows(self.settings["thresholds"]))

    def _rows(self, file: str) -> Iterator[dict[str, str]]:
        with (self.folder / file).open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)
