"""Our predefined rules hold at run time in the generated messages, not only in the protos' text."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import protovalidate
import pytest
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message
from tickmesh.common.v1 import money_pb2
from tickmesh.marketdata.v1 import environment_service_pb2, instrument_pb2, market_data_service_pb2
from tickmesh.order.v1 import order_service_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.strategy.v1 import strategy_service_pb2

CONTRACT = Path(__file__).parents[3] / "gen/tickmesh.binpb"


@pytest.mark.parametrize("amount", ["0", "-1", "100.50", "999999999999999999.999999999"])
def test_decimals_pass(amount: str) -> None:
    protovalidate.validate(money_pb2.Money(currency_code="USD", amount=amount))


@pytest.mark.parametrize("amount", ["", "1e5", "NaN", ".5", "1.", "01", "+1", "1" * 19, "0.1234567891", " 1"])
def test_other_text_is_refused_by_the_named_rule(amount: str) -> None:
    with pytest.raises(protovalidate.ValidationError) as refused:
        protovalidate.validate(money_pb2.Money(currency_code="USD", amount=amount))
    assert [violation.proto.rule_id for violation in refused.value.violations] == ["tickmesh.decimal"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (environment_service_pb2.CreateReplayRequest(data_set_id="us"), "environment_id"),
        (portfolio_service_pb2.CreatePortfolioRequest(environment_id="e"), "portfolio_id"),
    ],
)
def test_what_other_ids_begin_with_has_no_tilde(request_: Message, field: str) -> None:
    """Else the limits of (zz, a~b) and of (zz~a, b) would have one id, and so would their venue models."""
    found = {}
    for name in ("a", "a-b", "a~b", "a~", "~a", "x" * 64, "x" * 65):
        setattr(request_, field, name)
        violations = protovalidate.Validator().collect_violations(request_)
        own = [each.proto for each in violations if each.proto.field.elements[0].field_name == field]
        found[name] = [each.rule_id for each in own]
    wrong = ["tickmesh.part_id"]
    assert found == {"a": [], "a-b": [], "x" * 64: [], **dict.fromkeys(("a~b", "a~", "~a", "x" * 65), wrong)}


@pytest.mark.parametrize(
    "request_",
    [
        environment_service_pb2.CreateReplayRequest(),
        instrument_pb2.Instrument(),
        portfolio_service_pb2.CreatePortfolioRequest(),
        strategy_service_pb2.CreateStrategyRequest(),
    ],
)
def test_what_people_call_a_thing_is_one_line(request_: Any) -> None:
    """Else it breaks the tables that it is told in."""
    found = {}
    good = ["", "Trend, 2 % \u20ac \u00fc"]
    for name in (*good, "a\nb", "a\r", "\tb", "\0", "\x1b[2J", "\x7f", "\x85", "\u2028", "a\u202eb", "\u200b"):
        request_.display_name = name
        violations = protovalidate.Validator().collect_violations(request_)
        own = [each.proto for each in violations if each.proto.field.elements[0].field_name == "display_name"]
        found[name] = [each.rule_id for each in own]
    assert [name for name, rules in found.items() if not rules] == good
    assert {rule for rules in found.values() for rule in rules} == {"tickmesh.display_name"}


def texts() -> Iterator[tuple[str, validate_pb2.StringRules]]:
    """The rules of each text of the contract, of lists too."""
    for file in descriptor_pb2.FileDescriptorSet.FromString(CONTRACT.read_bytes()).file:
        for message in file.message_type:
            for field in message.field:
                rules = field.options.Extensions[validate_pb2.field]
                for each in (rules, rules.repeated.items):
                    yield f"{message.name}.{field.name}", each.string


def test_a_pattern_is_told_in_words() -> None:
    """protovalidate's own words for a pattern are the pattern, which nobody reads."""
    found = list(texts())
    assert len(found) > 500
    assert [name for name, rules in found if rules.HasField("pattern")] == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (money_pb2.Money(currency_code="usd", amount="1"), "must be three upper-case letters, like 'USD'"),
        (
            market_data_service_pb2.ListBarsRequest(symbol="AAPL", interval="0m"),
            "must be a number from 1 to 9999, then 's', 'm', 'h' or 'd', like '5m'",
        ),
        (
            order_service_pb2.ClosePositionRequest(position_id="trend", client_order_id="a"),
            "must be the id of a portfolio, '~' and a symbol, like 'trend~AAPL'",
        ),
    ],
)
def test_what_a_pattern_asks_for_is_told_by_an_example(request_: Message, words: str) -> None:
    assert [each.proto.message for each in protovalidate.Validator().collect_violations(request_)] == [words]


def over_several() -> Iterator[tuple[str, Any, set[str]]]:
    """Each CEL rule over several fields: the message it is of, the rule, and the names of those fields."""
    contract = descriptor_pb2.FileDescriptorSet.FromString(CONTRACT.read_bytes())
    messages = {
        f".{file.package}.{message.name}": message
        for file in contract.file
        if file.package.startswith("tickmesh.")
        for message in file.message_type
    }
    for message in messages.values():
        for rule in message.options.Extensions[validate_pb2.message].cel:
            yield message.name, rule, {field.name for field in message.field}
        for field in message.field:
            if field.type_name in messages:
                for rule in field.options.Extensions[validate_pb2.field].cel:
                    yield message.name, rule, {each.name for each in messages[field.type_name].field}


def test_the_words_of_a_rule_over_several_fields_begin_with_one_of_them() -> None:
    """So validation can tell which field is wrong."""
    found = list(over_several())
    assert len(found) > 12
    for name, rule, fields in found:
        # Of what an expression quotes, words have blanks.
        quoted = re.findall("'([^']*)'", rule.expression)
        told = [rule.message] if rule.message else [each for each in quoted if " " in each]
        assert told, (name, rule.id)
        for words in told:
            assert words.partition(": ")[0] in fields, (name, rule.id, words)
