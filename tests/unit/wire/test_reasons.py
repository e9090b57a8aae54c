"""The contract's error reasons are those that are sent: none is missing, none is left over."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tickmesh.common.v1 import error_reason_pb2

ROOT = Path(__file__).parents[3]
REASONS = {
    value.name.removeprefix("ERROR_REASON_") for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values if value.number
}
A_NAME = re.compile(r"[A-Z]+(_[A-Z]+)+")
_WORD = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")


def sources() -> Iterator[Path]:
    for folder in ("services", "gateway"):
        yield from (ROOT / folder).rglob("*.py")


def raised(tree: ast.AST) -> Iterator[str]:
    """Names given to `ApiError` and to `Refusal`, and those that limits state as theirs."""
    for node in ast.walk(tree):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call):
            of = node.func.value if isinstance(node.func, ast.Attribute) else node.func
            if isinstance(of, ast.Name) and of.id in {"ApiError", "Refusal"}:
                found = [*node.args[:4], *(each.value for each in node.keywords if each.arg == "reason")]
        elif isinstance(node, ast.Assign) and any(
            isinstance(to, ast.Name) and to.id == "reason" for to in node.targets
        ):
            found = [node.value]
        for each in found:
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and A_NAME.fullmatch(each.value):
                yield each.value


def test_every_reason_that_is_sent_is_in_the_contract() -> None:
    sent = {reason for path in sources() for reason in raised(ast.parse(path.read_text()))}
    assert len(sent) > 30
    assert not sent - REASONS


def test_every_reason_of_the_contract_is_sent() -> None:
    texts = [path for folder in ("services", "gateway") for path in (ROOT / folder).rglob("*") if path.is_file()]
    code = [path for path in texts if path.suffix in {".py", ".lua", ".yaml", ".j2", ".json"}]
    words = {word for path in code for word in _WORD.findall(path.read_text())}
    assert not REASONS - words
