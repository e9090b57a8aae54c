"""The pages, as a browser shows them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx

from gateway.contract import ROOT
from tests.integration.gateway.support import Edge

QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
HEADLESS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--virtual-time-budget=8000"]


def drawn(chromium: str, url: str, profile: Path) -> str:
    """The page's document after its scripts ran."""
    command = [chromium, *HEADLESS, *QUIET, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout


def test_pages_are_served_as_what_they_are(rest: httpx.Client) -> None:
    for path, kind in {
        "/": "text/html",
        "/docs": "text/html",
        "/docs.js": "text/javascript",
        "/page.css": "text/css",
    }.items():
        answer = rest.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def test_the_openapi_document_is_served_whole(rest: httpx.Client) -> None:
    committed = json.loads((ROOT / "gen/openapi/openapi.json").read_text())
    assert rest.get("/openapi.json").json() == committed


def test_the_front_page_shows_which_services_live(edge: Edge, tool: Callable[[str], str], tmp_path: Path) -> None:
    page = drawn(tool("chromium"), f"{edge.url}/", tmp_path)
    assert page.count("dot good") == 4
    assert page.count("dot bad") == 1
    assert f"grpcurl -plaintext {edge.address} list" in page


def test_the_reference_shows_every_operation(edge: Edge, tool: Callable[[str], str], tmp_path: Path) -> None:
    page = drawn(tool("chromium"), f"{edge.url}/docs#OrderService_CreateOrder", tmp_path)
    paths = json.loads((ROOT / "gen/openapi/openapi.json").read_text())["paths"]
    operations = {each["operationId"] for verbs in paths.values() for each in verbs.values()}
    own = {each for each in operations if not each.rpartition("_")[2].isdigit()}
    assert len(own) > 40
    for operation in own:
        assert f'id="{operation}"' in page
    # The one that the link names is open, with its fields, failures and a command to copy.
    assert "The client's id of it, unique in the portfolio" in page
    assert "INSUFFICIENT_BUYING_POWER" in page
    assert f"curl {edge.url}/api/v1/orders -d" in page
