"""The edge's own pages."""

import re
from pathlib import Path

from tickmesh.marketdata.v1.market_data_pb2 import MarketDataRows

from gateway.render import _PAGES, ROOT

PAGES = ROOT / "gateway" / "pages"


def test_every_file_of_the_pages_is_served_and_every_served_file_is_there() -> None:
    served = {ROOT / file for file, _ in _PAGES.values()}
    assert all(file.is_file() for file in served)
    assert set(PAGES.iterdir()) <= served


def test_pages_ask_no_other_host() -> None:
    for file in PAGES.iterdir():
        hosts = re.findall(r"(?:https?:)?//([\w.-]+)", _code(file))
        assert set(hosts) <= {"localhost", "www.w3.org"}, file.name


def test_pages_name_only_what_is_served() -> None:
    for file in PAGES.iterdir():
        for path in re.findall(r"""(?:href|src)="(/[^"]*)"|from "(/[^"]+)\"""", _code(file)):
            assert "".join(path) in {*_PAGES, "/healthz"}, file.name


def test_the_prices_shown_are_fields_that_records_have() -> None:
    shown = re.findall(r"const (\w+) of [^\n]*rows\?\.(\w+)([^\n]*)", _code(PAGES / "index.js"))
    assert {kind for _, kind, _ in shown} == {"quotes", "trades", "bars"}
    for variable, kind, line in shown:
        record = MarketDataRows.DESCRIPTOR.fields_by_name[kind].message_type
        assert set(re.findall(rf"\b{variable}\.(\w+)", line)) <= set(record.fields_by_name), kind


def _code(file: Path) -> str:
    lines = file.read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("//"))
