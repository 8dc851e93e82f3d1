"""Every setting of the platform: read from `STEPS_*` environment variables, typed, frozen, built once.

A setting is declared here and nowhere else; the description is what the README and the reference print.
"""

import difflib
import ipaddress
import os
import secrets
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "STEPS_"
SECRET_KEY_LENGTH = 32
DEMO_PASSWORD_LENGTH = 8


class SettingsError(Exception):
    """A setting is missing, wrong or unsafe; the message says which one and what to do."""


class LogFormat(StrEnum):
    """Shape of a log line."""

    JSON = "json"
    CONSOLE = "console"


Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Settings of one installation. Unset servers mean embedded ones under `data_dir`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    database_url: str | None = Field(
        None,
        repr=False,
        description="PostgreSQL server as `postgresql://user:password@host:port/database`. "
        "Unset: an embedded PostgreSQL 18 under `STEPS_DATA_DIR`.",
    )
    redis_url: str | None = Field(
        None,
        repr=False,
        description="Redis server as `redis://:password@host:port/0`. Unset: an embedded Redis.",
    )
    data_dir: Path = Field(
        Path("var"),
        description="Folder of the embedded servers' data, stored files and generated secrets.",
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address that the web server listens on.")
    port: Port = Field(8000, description="Port that the web server listens on.")
    base_url: str = Field(
        "",
        description="Address that people use, for links in mails; for example `https://steps.bank.example`. "
        "Unset: `http://STEPS_HOST:STEPS_PORT`.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description=f"Key that signs sessions and tokens, at least {SECRET_KEY_LENGTH} characters. Required in "
        "production; otherwise a random one is kept in `STEPS_DATA_DIR`.",
    )
    log_format: LogFormat = Field(
        LogFormat.CONSOLE, description="`json` for a log collector, `console` for a person at a terminal."
    )
    smtp_url: str | None = Field(
        None,
        repr=False,
        description="Mail server as `smtp://user:password@host:25` or `smtps://...:465`. Unset: mails are kept and "
        "shown to administrators.",
    )
    notify_allowed_networks: str = Field(
        "",
        description="Networks and host names inside the bank that webhooks of notifications may call, with commas "
        "between, such as `10.20.0.0/16,hooks.bank.example`. Unset: public addresses only.",
    )
    demo: bool = Field(
        True,
        description="Load the demo and its users. Default: true with the embedded PostgreSQL, false with an "
        "external one. Leave it off in production.",
    )
    demo_password: SecretStr | None = Field(
        None,
        description=f"Password of the demo users, at least {DEMO_PASSWORD_LENGTH} characters. Unset: a random one, "
        "printed by `run`.",
    )
    web_processes: int = Field(1, ge=1, le=64, description="Web processes that `run` starts on one port.")
    worker_count: int = Field(1, ge=1, le=64, description="Worker processes that `run` starts.")
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="Comma-separated addresses of reverse proxies whose `X-Forwarded-*` headers are believed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: dict[str, Any]) -> dict[str, Any]:
        values.setdefault("demo", not values.get("database_url"))
        return values

    @field_validator("database_url")
    @classmethod
    def _asyncpg_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgresql", "postgres", "postgresql+asyncpg"}:
            raise ValueError("must start with postgresql:// (no other database is supported)")
        return f"postgresql+asyncpg://{rest}"

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp_scheme(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"smtp", "smtps"}:
            raise ValueError("must start with smtp:// or smtps://")
        return value

    @field_validator("notify_allowed_networks")
    @classmethod
    def _readable_networks(cls, value: str) -> str:
        for part in (part.strip() for part in value.split(",")):
            if "/" in part or part.replace(".", "").isdigit() or ":" in part:
                ipaddress.ip_network(part)  # raises ValueError in words
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("secret_key")
    @classmethod
    def _strong_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < SECRET_KEY_LENGTH:
            raise ValueError(f"must have at least {SECRET_KEY_LENGTH} characters")
        return value

    @field_validator("demo_password")
    @classmethod
    def _decent_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < DEMO_PASSWORD_LENGTH:
            raise ValueError(f"must have at least {DEMO_PASSWORD_LENGTH} characters")
        return value

    @model_validator(mode="after")
    def _production_names_its_secret(self) -> Self:
        if self.production and self.secret_key is None:
            raise ValueError(
                "STEPS_SECRET_KEY is not set. With an external database and no demo it is required: "
                "it must be the same in every process and survive restarts"
            )
        return self

    @property
    def production(self) -> bool:
        """Whether real data is at stake: an external database, and not a demo on it."""
        return self.database_url is not None and not self.demo

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the web server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def address(self) -> str:
        """Address that people use, without a slash at the end."""
        if self.base_url:
            return self.base_url.rstrip("/")
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - shown, not bound
        if ":" in shown and not shown.startswith("["):
            shown = f"[{shown}]"
        return f"http://{shown}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the settings as environment variables, for a child process that must see the same ones."""
        values: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None or value == "":
                continue
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            values[f"{PREFIX}{name.upper()}"] = text
        return values


def load_settings() -> Settings:
    """Read the settings from the environment and complete them with the secrets kept in the data folder.

    Raises:
        SettingsError: a value is wrong, a name is unknown, or the combination is unsafe.
    """
    _refuse_unknown(os.environ)
    try:
        settings = Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_lines(error))) from None
    missing: dict[str, SecretStr] = {}
    if settings.demo and settings.demo_password is None:
        if not settings.loopback:
            raise SettingsError(
                f"STEPS_HOST={settings.host} opens the demo to other machines: set STEPS_DEMO_PASSWORD, "
                "or STEPS_DEMO=false, or leave STEPS_HOST at 127.0.0.1"
            )
        missing["demo_password"] = SecretStr(kept_secret(settings.data_dir / "demo-password", size=9))
    if settings.secret_key is None:
        missing["secret_key"] = SecretStr(kept_secret(settings.data_dir / "secret-key", size=48))
    return settings.model_copy(update=missing)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read once."""
    return load_settings()


def kept_secret(path: Path, *, size: int) -> str:
    """Return the secret in the file, after creating it with `size` random bytes where there is none.

    The file is readable by its owner alone. Two processes that start at once agree: the first one's file wins.

    Raises:
        SettingsError: the file cannot be written or read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            draft.touch(mode=0o600)
            try:
                draft.write_text(secrets.token_urlsafe(size) + "\n")
                os.link(draft, path)  # refuses to replace, so that an earlier writer's secret stays
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        path.chmod(0o600)
        secret = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"cannot keep a secret in {path}: {error.strerror}. Check STEPS_DATA_DIR") from None
    if not secret:
        raise SettingsError(f"{path} is empty: delete it to have a new secret made")
    return secret


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name} is not a setting{hint}")


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        where = f"{PREFIX}{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
        lines.append(f"{where}{message}")
    return lines
