"""How a process begins to tell of its work."""

import logging
import sys

from services.chassis.telemetry.logs import JsonFormatter


def configure(service: str, *, otlp_endpoint: str | None = None, ratio: float = 1.0, log_level: str = "INFO") -> None:
    """Sets up logs for a process, and the exporter when an endpoint is set. Call once, before anything else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=log_level, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        from services.chassis.telemetry.exporting import export

        insecure = not otlp_endpoint.startswith("https")
        export(service, OTLPSpanExporter(endpoint=otlp_endpoint, insecure=insecure), ratio)
