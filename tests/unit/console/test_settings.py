"""Settings are shown as they are in effect, without what is secret."""

import pytest

from services.console.main import main
from services.console.settings import differing, effective, masked


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("order_database_url", "postgresql+asyncpg://me:geheim@host/db", "postgresql+asyncpg://me:***@host/db"),
        ("redis_url", "redis://:geheim@host:6379/0", "redis://:***@host:6379/0"),
        ("redis_url", "redis://host:6379/0", "redis://host:6379/0"),
        ("some_token", "geheim", "***"),
        ("some_api_key", "geheim", "***"),
        ("order_address", "127.0.0.1:50053", "127.0.0.1:50053"),
        ("log_level", None, ""),
    ],
)
def test_secrets_are_masked(name: str, value: object, shown: str) -> None:
    assert masked(name, value) == shown


def test_every_setting_is_listed_once_and_says_whether_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKMESH_RISK_ADDRESS", "127.0.0.1:7")
    listed = dict(effective())
    names = [each.variable for settings in listed.values() for each in settings]
    assert len(names) == len(set(names))
    assert {"TICKMESH_EDGE_ADDRESS", "TICKMESH_STRATEGY_PATH", "TICKMESH_ORDER_BATCH_SIZE"} <= set(names)
    found = {each.variable: each for settings in listed.values() for each in settings}
    assert found["TICKMESH_RISK_ADDRESS"][1:3] == ("127.0.0.1:7", True)
    assert not found["TICKMESH_ORDER_ADDRESS"].given


def test_config_prints_lines_that_a_shell_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TICKMESH_REDIS_URL", "redis://:geheim@localhost/0")
    assert main(["config"]) == 0
    shown = capsys.readouterr().out
    assert "\nTICKMESH_REDIS_URL=redis://:***@localhost/0" in shown
    assert "\n# TICKMESH_ORDER_ADDRESS=127.0.0.1:50053" in shown
    assert "geheim" not in shown


def test_variables_that_are_no_settings_are_named_with_what_they_resemble(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TICKMESH_ORDER_RISK_DEADLINE", "500")
    monkeypatch.setenv("TICKMESH_ZZZZ", "1")
    monkeypatch.setenv("TICKMESH_FAILPOINTS", "")
    monkeypatch.setenv("TICKMESH_LOG_LEVEL", "INFO")
    assert main(["config"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "TICKMESH_ORDER_RISK_DEADLINE: there is no such setting; did you mean TICKMESH_ORDER_RISK_DEADLINE_MS?",
        "TICKMESH_ZZZZ: there is no such setting",
    ]


def test_a_bad_setting_is_said_and_stops_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TICKMESH_EDGE_ADDRESS", "nowhere")
    with pytest.raises(SystemExit) as stopped:
        main(["status"])
    assert stopped.value.code == 2
    assert "TICKMESH_EDGE_ADDRESS" in capsys.readouterr().err


def test_what_differs_from_another_environment_is_told_masked_and_only_that(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {
        "REDIS_URL": "redis://:geheim@localhost/0",
        "LOG_LEVEL": "DEBUG",
        "STRATEGY_PATH": "",
        "RISK_ADDRESS": "127.0.0.1:50054",
        "DATA_DIRECTORY": "elsewhere",
    }
    for name, value in here.items():
        monkeypatch.setenv(f"TICKMESH_{name}", value)
    there = {
        "TICKMESH_REDIS_URL": "redis://:secret@localhost/0",
        "tickmesh_strategy_path": "strategies",
        "TICKMESH_ORDER_ADDRESS": "127.0.0.1:50053",
        "TICKMESH_ORDER_DATABASE_URL": "postgresql://me:geheim@host/db",
        "PATH": "/bin",
    }
    masked_url = "redis://:***@localhost/0"
    assert {each.variable.removeprefix("TICKMESH_"): each[1:] for each in differing(there)} == {
        "REDIS_URL": (masked_url, masked_url, True),
        "LOG_LEVEL": ("DEBUG", "INFO", True),
        "STRATEGY_PATH": ("", "strategies", False),
        "ORDER_DATABASE_URL": ("", "postgresql://me:***@host/db", False),
    }


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("DRAIN_SECONDS", "", "5"),
        ("DRAIN_SECONDS", "5.0", "5"),
        ("DRAIN_SECONDS", "5", ""),
        ("LOG_LEVEL", "INFO", "info"),
    ],
)
def test_what_is_only_written_otherwise_does_not_differ(
    monkeypatch: pytest.MonkeyPatch, name: str, here: str, there: str
) -> None:
    monkeypatch.setenv(f"TICKMESH_{name}", here)
    assert not list(differing({f"TICKMESH_{name}": there}))
