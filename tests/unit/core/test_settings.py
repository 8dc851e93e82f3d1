"""Settings: defaults, checks, kept secrets, and what children receive."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.core.settings import PREFIX, LogFormat, Settings, SettingsError, kept_secret, load_settings

KEY = "k" * 32


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STEPS_DATA_DIR", str(tmp_path / "var"))


def test_nothing_configured_means_embedded_servers_and_the_demo_on_this_machine_only() -> None:
    settings = load_settings()
    assert (settings.database_url, settings.redis_url) == (None, None)
    assert settings.demo
    assert not settings.production
    assert settings.loopback
    assert settings.address == "http://127.0.0.1:8000"
    assert settings.log_format is LogFormat.CONSOLE


def test_an_external_database_turns_the_demo_off_and_requires_a_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS_DATABASE_URL", "postgresql://steps:pw@db.bank.example/steps")
    with pytest.raises(SettingsError, match="STEPS_SECRET_KEY is not set"):
        load_settings()
    monkeypatch.setenv("STEPS_SECRET_KEY", KEY)
    settings = load_settings()
    assert settings.production
    assert not settings.demo
    assert settings.demo_password is None
    assert settings.database_url == "postgresql+asyncpg://steps:pw@db.bank.example/steps"


def test_settings_cannot_be_changed_and_never_show_their_secrets() -> None:
    settings = Settings(
        database_url="postgresql://steps:hunter22@db/steps",
        redis_url="redis://:hunter22@cache/0",
        smtp_url="smtp://me:hunter22@mail:25",
        secret_key=SecretStr("hunter22" * 4),
    )
    assert "hunter22" not in repr(settings)
    assert "hunter22" not in str(settings)
    with pytest.raises(ValidationError):
        settings.port = 9000  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STEPS_DATABASE_URL", "mysql://x/y", "must start with postgresql://"),
        ("STEPS_REDIS_URL", "http://x", "must start with redis://"),
        ("STEPS_SMTP_URL", "mail.example", "must start with smtp://"),
        ("STEPS_PORT", "70000", "less than or equal to 65535"),
        ("STEPS_PORT", "eighty", "valid integer"),
        ("STEPS_LOG_FORMAT", "xml", "'json' or 'console'"),
        ("STEPS_SECRET_KEY", "short", "at least 32 characters"),
        ("STEPS_DEMO_PASSWORD", "short", "at least 8 characters"),
        ("STEPS_WORKER_COUNT", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_setting_is_refused_and_the_right_name_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS_DATABSE_URL", "postgresql://x/y")
    with pytest.raises(SettingsError, match="did you mean STEPS_DATABASE_URL"):
        load_settings()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS_DATABASE_URL", "")
    assert load_settings().database_url is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "steps.bank.example"])
def test_the_demo_refuses_other_machines_with_a_password_that_nobody_chose(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("STEPS_HOST", host)
    with pytest.raises(SettingsError, match="set STEPS_DEMO_PASSWORD"):
        load_settings()
    monkeypatch.setenv("STEPS_DEMO_PASSWORD", "chosen by a person")
    assert load_settings().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_demo_makes_a_password_where_only_this_machine_can_ask(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("STEPS_HOST", host)
    password = load_settings().demo_password
    assert password is not None
    assert len(password.get_secret_value()) >= 8


def test_generated_secrets_survive_a_restart_and_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    first, second = load_settings(), load_settings()
    assert first.secret_key is not None
    assert len(first.secret_key.get_secret_value()) >= 32
    assert (first.secret_key, first.demo_password) == (second.secret_key, second.demo_password)
    for name in ("secret-key", "demo-password"):
        assert stat.S_IMODE((tmp_path / "var" / name).stat().st_mode) == 0o600


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: kept_secret(path, size=16), range(64)))
    assert len(secrets) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_an_empty_secret_file_is_reported_and_not_used(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    with pytest.raises(SettingsError, match="is empty: delete it"):
        kept_secret(tmp_path / "secret", size=16)


def test_a_data_folder_that_cannot_be_made_is_reported_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STEPS_DATA_DIR", str(tmp_path / "file" / "var"))
    with pytest.raises(SettingsError, match="Check STEPS_DATA_DIR"):
        load_settings()


def test_a_child_that_receives_the_environment_has_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS_SMTP_URL", "smtps://me:pw@mail.bank.example:465")
    monkeypatch.setenv("STEPS_LOG_FORMAT", "json")
    parent = load_settings()
    for name, value in parent.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == parent
    monkeypatch.setenv("STEPS_DATABASE_URL", "postgresql+asyncpg://steps:pw@127.0.0.1:5555/steps")
    child = load_settings()
    assert child.demo
    assert child.secret_key == parent.secret_key


@pytest.mark.parametrize(
    ("host", "base_url", "address"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:8000"),
        ("0.0.0.0", "", "http://127.0.0.1:8000"),
        ("::1", "", "http://[::1]:8000"),
        ("::", "", "http://[::1]:8000"),
        ("10.1.1.1", "https://steps.bank.example/", "https://steps.bank.example"),
    ],
)
def test_the_address_for_people_is_one_they_can_open(host: str, base_url: str, address: str) -> None:
    assert Settings(host=host, base_url=base_url).address == address


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith((".", "`.")), name
