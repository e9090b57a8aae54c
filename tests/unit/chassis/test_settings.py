"""Settings come from the environment, and bad ones end the process with a clear message."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from services.chassis import catalog
from services.chassis.settings import ServiceSettings, load, unknown
from services.chassis.streams.event_log import HEARTBEAT_SECONDS


class OrderSettings(ServiceSettings):
    service: ClassVar[str] = "order"
    order_check_deadline_ms: int = 500


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("TICKMESH_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("service", catalog.SERVICES.values(), ids=lambda service: service.name)
def test_every_service_of_the_catalog_has_an_address_and_a_database(service: catalog.Service) -> None:
    settings = ServiceSettings()
    assert settings.peer(service.name) == f"127.0.0.1:{service.port}"
    assert f"{service.name}_database_url" in ServiceSettings.model_fields


def test_the_default_database_is_a_file_of_the_service_in_the_data_directory() -> None:
    assert OrderSettings().database_url == f"sqlite:///{Path('.tickmesh/order.db').absolute()}"


def test_heartbeats_come_well_within_the_15_seconds_of_the_contract() -> None:
    assert ServiceSettings().heartbeat_seconds == HEARTBEAT_SECONDS == 10


def test_the_environment_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKMESH_ORDER_ADDRESS", "0.0.0.0:6000")
    monkeypatch.setenv("TICKMESH_RISK_ADDRESS", "dns:///risk:50054")
    monkeypatch.setenv("TICKMESH_ORDER_DATABASE_URL", "postgresql+asyncpg://me@host/orders")
    monkeypatch.setenv("TICKMESH_ORDER_CHECK_DEADLINE_MS", "7")
    monkeypatch.setenv("TICKMESH_LOG_LEVEL", "debug")
    monkeypatch.setenv("TICKMESH_REDIS_URL", "")
    settings = load(OrderSettings)
    assert settings.address == "0.0.0.0:6000"
    assert settings.peer("risk") == "dns:///risk:50054"
    assert settings.database_url == "postgresql+asyncpg://me@host/orders"
    assert settings.order_check_deadline_ms == 7
    assert settings.log_level == "DEBUG"
    assert settings.redis_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TICKMESH_LOG_LEVEL", "LOUD"),
        ("TICKMESH_TRACE_SAMPLE_RATIO", "1.5"),
        ("TICKMESH_HEARTBEAT_SECONDS", "15"),
        ("TICKMESH_ORDER_ADDRESS", "nowhere"),
        ("TICKMESH_ORDER_CHECK_DEADLINE_MS", "soon"),
    ],
)
def test_a_bad_setting_is_named_and_ends_the_process_with_code_2(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        load(OrderSettings)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert name in message
    assert value in message


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        OrderSettings().log_level = "ERROR"  # type: ignore[misc]


def test_a_misspelt_variable_is_told_of_by_the_service_it_was_meant_for() -> None:
    names = [
        "TICKMESH_ORDER_CHECK_DEADLINE",
        "tickmesh_log_levle",
        "TICKMESH_RISK_CHECK_PATIENCE",
        "TICKMESH_EDGE_ADRESS",
        "TICKMESH_ORDER_CHECK_DEADLINE_MS",
        "TICKMESH_ORDER_ADDRESS",
        "TICKMESH_FAILPOINTS",
        "TICKMESHED",
        "HOME",
    ]
    assert unknown(OrderSettings(), names) == ["TICKMESH_ORDER_CHECK_DEADLINE", "tickmesh_log_levle"]
    assert unknown(ServiceSettings(), names) == ["tickmesh_log_levle"]
