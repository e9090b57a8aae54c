"""The configuration that Envoy is started with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import generate
from gateway.contract import Contract
from gateway.render import GATEWAY, MAX_BODY_BYTES, command, render, write
from gateway.settings import EdgeSettings
from services.chassis import catalog

LOOPBACK = "127.0.0.1"


def configuration(**settings: Any) -> dict[str, Any]:
    return dict(yaml.safe_load(render(EdgeSettings(**settings))))


def manager(whole: dict[str, Any]) -> dict[str, Any]:
    [listener] = whole["static_resources"]["listeners"]
    return dict(listener["filter_chains"][0]["filters"][0]["typed_config"])


def routes(whole: dict[str, Any]) -> list[dict[str, Any]]:
    return list(manager(whole)["route_config"]["virtual_hosts"][0]["routes"])


def clusters(whole: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in whole["static_resources"]["clusters"]}


def endpoints(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    [group] = cluster["load_assignment"]["endpoints"]
    return [each["endpoint"]["address"] for each in group["lb_endpoints"]]


def sockets(value: Any) -> Iterator[dict[str, Any]]:
    """Every socket address of a configuration."""
    if isinstance(value, dict):
        if "socket_address" in value:
            yield value["socket_address"]
        for each in value.values():
            yield from sockets(each)
    elif isinstance(value, list):
        for each in value:
            yield from sockets(each)


def matching(path: str, whole: dict[str, Any]) -> dict[str, Any]:
    """The first route that a path takes."""
    for route in routes(whole):
        match = route["match"]
        if match.get("path") == path or path.startswith(match.get("prefix", "\0")):
            return route
    raise KeyError(path)


def test_what_is_committed_is_fresh() -> None:
    for name, text in generate.files().items():
        assert (GATEWAY / name).read_text() == text, f"gateway/{name} is stale, run `make gen`"


def test_everything_is_on_loopback_with_the_catalogs_ports() -> None:
    whole = yaml.safe_load((GATEWAY / "envoy.yaml").read_text())
    assert {each["address"] for each in sockets(whole)} == {LOOPBACK}
    assert whole["admin"]["address"]["socket_address"]["port_value"] == catalog.EDGE_ADMIN_PORT
    [listener] = whole["static_resources"]["listeners"]
    assert listener["address"]["socket_address"]["port_value"] == catalog.EDGE_PORT
    found = {
        name: [each["socket_address"]["port_value"] for each in endpoints(cluster)]
        for name, cluster in clusters(whole).items()
    }
    assert found.pop("any") == [each.port for each in catalog.SERVICES.values()]
    assert found == {name: [each.port] for name, each in catalog.SERVICES.items()}


def test_every_public_rpc_goes_to_its_service_and_streams_have_no_timeout() -> None:
    whole = configuration(edge_timeout_seconds=12)
    contract = Contract.load()
    for service in catalog.SERVICES.values():
        for name in service.public:
            assert contract.of(name), f"{name} is in the catalog, not in the contract"
            for method in contract.of(name):
                taken = matching(f"/{name}/{method.name}", whole)["route"]
                assert (taken["cluster"], taken["timeout"]) == (service.name, "0s" if method.streaming else "12s")


def test_no_internal_rpc_has_a_route() -> None:
    for service in catalog.SERVICES.values():
        for name in service.internal:
            with pytest.raises(KeyError):
                matching(f"/{name}/Any", configuration())


def test_all_services_of_the_contract_are_in_the_catalog() -> None:
    known = {name for each in catalog.SERVICES.values() for name in (*each.public, *each.internal)}
    assert {method.service for method in Contract.load().methods} == known


def test_only_calls_that_were_never_sent_are_sent_again() -> None:
    for route in routes(configuration()):
        policy = route.get("route", {}).get("retry_policy", {"retry_on": "connect-failure,refused-stream"})
        assert set(policy["retry_on"].split(",")) == {"connect-failure", "refused-stream"}


@pytest.mark.parametrize(
    ("address", "kind", "expected"),
    [
        ("10.0.0.7:9000", "STATIC", {"socket_address": {"address": "10.0.0.7", "port_value": 9000}}),
        ("[::1]:9000", "STATIC", {"socket_address": {"address": "::1", "port_value": 9000}}),
        ("order.mesh:9000", "STRICT_DNS", {"socket_address": {"address": "order.mesh", "port_value": 9000}}),
        ("dns:///order.mesh:9000", "STRICT_DNS", {"socket_address": {"address": "order.mesh", "port_value": 9000}}),
        ("unix:/run/order.sock", "STATIC", {"pipe": {"path": "/run/order.sock"}}),
    ],
)
def test_addresses_are_those_of_the_settings(address: str, kind: str, expected: dict[str, Any]) -> None:
    order = clusters(configuration(order_address=address))["order"]
    assert (order["type"], endpoints(order)) == (kind, [expected])


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKMESH_EDGE_ADDRESS", "127.0.0.1:18080")
    monkeypatch.setenv("TICKMESH_RISK_ADDRESS", "127.0.0.1:15054")
    whole = configuration()
    assert 18080 in {each["port_value"] for each in sockets(whole["static_resources"]["listeners"])}
    assert endpoints(clusters(whole)["risk"])[0]["socket_address"]["port_value"] == 15054
    # What is committed does not depend on who generates it.
    assert generate.files()["envoy.yaml"] == (GATEWAY / "envoy.yaml").read_text()


def test_spans_are_exported_where_an_endpoint_is_set_and_nowhere_else() -> None:
    assert "tracing" not in manager(configuration())
    whole = configuration(otlp_endpoint="http://127.0.0.1:4317", trace_sample_ratio=0.25)
    assert manager(whole)["tracing"]["random_sampling"] == {"value": 25}
    assert endpoints(clusters(whole)["otlp"]) == [{"socket_address": {"address": LOOPBACK, "port_value": 4317}}]


def test_a_rendering_names_its_files_wherever_it_is_started(tmp_path: Path) -> None:
    path = write(EdgeSettings(data_directory=tmp_path / "new"))
    whole = yaml.safe_load(path.read_text())
    for route in routes(whole):
        if "direct_response" in route:
            assert Path(route["direct_response"]["body"]["filename"]).is_file()
    assert command(path)[1:3] == ["-c", str(path)]


def test_a_bodys_limit_is_the_one_that_errors_name() -> None:
    assert MAX_BODY_BYTES == 1024 * 1024
    assert "1 MiB" in json.dumps(manager(configuration())["local_reply_config"])
    assert "1 MiB" in (GATEWAY / "filter" / "refusals.lua").read_text()
