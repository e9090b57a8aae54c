import json
import logging
import sys

from services.chassis.telemetry import tracing
from services.chassis.telemetry.logs import JsonFormatter

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_log_line_is_json_with_the_trace_and_the_extra_fields() -> None:
    tracing.adopt(SAMPLED)
    record = logging.getLogger("toy").makeRecord("toy", logging.INFO, "f", 1, "filled %s", ("all",), None)
    record.order_id = "r1-7"
    line = json.loads(JsonFormatter("order").format(record))
    tracing.adopt(None)
    assert line["message"] == "filled all"
    assert line["service"] == "order"
    assert line["level"] == "INFO"
    assert line["order_id"] == "r1-7"
    assert (line["trace_id"], line["span_id"]) == (SAMPLED[3:35], SAMPLED[36:52])
    assert line["time"].endswith("Z")


def test_a_log_line_of_an_error_has_its_stack_in_one_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.getLogger("toy").makeRecord("toy", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    text = JsonFormatter("order").format(record)
    assert "\n" not in text
    assert "ValueError: no" in json.loads(text)["exception"]
