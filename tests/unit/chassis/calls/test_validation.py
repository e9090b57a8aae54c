"""Violations of the rules in the protos become field violations with paths as clients write them."""

import grpc
import pytest
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from services.chassis.calls.validation import MAX_VIOLATIONS, validate
from services.chassis.errors import ApiError


@pytest.fixture(scope="module")
def basket() -> type[Message]:
    """A message with a rule of each shape: a field, a nested one, lists and maps, a rule over the whole."""
    file = descriptor_pb2.FileDescriptorProto(
        name="toy/basket.proto", package="toy", syntax="proto3", dependency=["buf/validate/validate.proto"]
    )
    file.dependency.append("google/protobuf/duration.proto")
    kinds = descriptor_pb2.FieldDescriptorProto
    leg = file.message_type.add(name="Leg")
    symbol = leg.field.add(name="symbol", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    symbol.options.Extensions[validate_pb2.field].string.max_len = 4
    delay = leg.field.add(
        name="delay",
        number=2,
        type=kinds.TYPE_MESSAGE,
        type_name=".google.protobuf.Duration",
        label=kinds.LABEL_OPTIONAL,
    )
    second = delay.options.Extensions[validate_pb2.field].cel.add()
    second.id, second.message, second.expression = "leg.delay", "must be a second", "this >= duration('1s')"
    message = file.message_type.add(name="Basket")
    name = message.field.add(name="name", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    name.options.Extensions[validate_pb2.field].string.min_len = 1
    message.field.add(name="legs", number=2, type=kinds.TYPE_MESSAGE, type_name=".toy.Leg", label=kinds.LABEL_REPEATED)
    labels = message.nested_type.add(name="LabelsEntry")
    labels.options.map_entry = True
    labels.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    labels.field.add(name="value", number=2, type=kinds.TYPE_MESSAGE, type_name=".toy.Leg", label=kinds.LABEL_OPTIONAL)
    message.field.add(
        name="labels",
        number=3,
        type=kinds.TYPE_MESSAGE,
        type_name=".toy.Basket.LabelsEntry",
        label=kinds.LABEL_REPEATED,
    )
    message.field.add(name="first", number=4, type=kinds.TYPE_MESSAGE, type_name=".toy.Leg", label=kinds.LABEL_OPTIONAL)
    rule = message.options.Extensions[validate_pb2.message].cel.add()
    rule.id, rule.message, rule.expression = "basket.name", "name: is not that of a leg", "this.name != 'leg'"
    rule = leg.options.Extensions[validate_pb2.message].cel.add()
    rule.id = "leg.symbol"
    rule.expression = "this.symbol == 'OLD' && has(this.delay) ? 'delay: is none for OLD' : ''"
    moods = file.enum_type.add(name="Mood")
    for number, value in enumerate(("MOOD_UNSPECIFIED", "MOOD_UP", "MOOD_DOWN")):
        moods.value.add(name=value, number=number)
    entry = message.nested_type.add(name="ByNameEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=kinds.TYPE_ENUM, type_name=".toy.Mood", label=kinds.LABEL_OPTIONAL)
    # Not looked at where it is not given, so that only a test of it must.
    mood = message.field.add(
        name="mood",
        number=5,
        type=kinds.TYPE_ENUM,
        type_name=".toy.Mood",
        label=kinds.LABEL_OPTIONAL,
        proto3_optional=True,
        oneof_index=0,
    )
    message.oneof_decl.add(name="_mood")
    several = message.field.add(
        name="moods", number=6, type=kinds.TYPE_ENUM, type_name=".toy.Mood", label=kinds.LABEL_REPEATED
    )
    by_name = message.field.add(
        name="by_name",
        number=7,
        type=kinds.TYPE_MESSAGE,
        type_name=".toy.Basket.ByNameEntry",
        label=kinds.LABEL_REPEATED,
    )
    rules = validate_pb2.field
    for of in (
        mood.options.Extensions[rules],
        several.options.Extensions[rules].repeated.items,
        by_name.options.Extensions[rules].map.values,
    ):
        of.enum.defined_only = True
        of.enum.not_in.append(0)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("toy.Basket"))


def refusal(message: Message) -> ApiError:
    with pytest.raises(ApiError) as caught:
        validate(message)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_ARGUMENT"
    return caught.value


def test_a_good_message_passes(basket: type[Message]) -> None:
    validate(basket(name="tech"))


def test_each_bad_field_is_named(basket: type[Message]) -> None:
    error = refusal(basket(legs=[{"symbol": "AAPL"}, {"symbol": "GOOGL"}], labels={"a": {"symbol": "TOO LONG"}}))
    assert [violation.field for violation in error.field_violations] == ["name", "legs[1].symbol", 'labels["a"].symbol']
    assert error.field_violations[0] == ("name", "must be given", "string.min_len")
    assert error.message.startswith("name: ")


def test_a_rule_over_several_fields_names_the_one_that_its_words_begin_with(basket: type[Message]) -> None:
    error = refusal(basket(name="leg"))
    assert error.field_violations == (("name", "is not that of a leg", "basket.name"),)
    assert error.message == "name: is not that of a leg"


def test_so_it_does_within_the_message_that_it_is_of(basket: type[Message]) -> None:
    old = {"symbol": "OLD", "delay": {"seconds": 1}}
    error = refusal(basket(name="tech", first=old, legs=[{}, old], labels={"a": old}))
    assert sorted(each.field for each in error.field_violations) == [
        "first.delay",
        'labels["a"].delay',
        "legs[1].delay",
    ]
    assert {each.description for each in error.field_violations} == {"is none for OLD"}


def test_what_is_wrong_with_a_field_alone_comes_first(basket: type[Message]) -> None:
    """What is wrong with several together often follows from it."""
    old = {"symbol": "OLD", "delay": {"seconds": 1}}
    error = refusal(basket(first=old, legs=[{"symbol": "GOOGL"}]))
    assert [each.field for each in error.field_violations] == ["name", "legs[0].symbol", "first.delay"]
    assert error.message.startswith("name: ")


@pytest.mark.parametrize("mood", [0, 9])
def test_the_choices_of_an_enum_are_named(basket: type[Message], mood: int) -> None:
    error = refusal(basket(name="tech", mood=mood, moods=[mood], by_name={"a": mood}))
    assert [each.field for each in error.field_violations] == ["mood", "moods[0]", 'by_name["a"]']
    assert {each.description for each in error.field_violations} == {"must be one of MOOD_UP, MOOD_DOWN"}


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(10**12, 0), (-(2**63), 0), (1, 10**9), (1, -(2**31)), (2, -1), (-2, 1), (315_576_000_001, 0)],
)
def test_a_duration_that_there_is_not_is_named(basket: type[Message], seconds: int, nanos: int) -> None:
    error = refusal(basket(name="tech", first={"delay": {"seconds": seconds, "nanos": nanos}}))
    assert [violation.field for violation in error.field_violations] == ["first.delay"]
    assert "no duration" in error.message


def test_a_duration_that_there_is_is_for_its_rule_to_judge(basket: type[Message]) -> None:
    validate(basket(name="tech", first={"delay": {"seconds": 1, "nanos": 999_999_999}}))
    [violation] = refusal(basket(name="tech", first={"delay": {"nanos": -1}})).field_violations
    assert violation == ("first.delay", "must be a second", "leg.delay")


def test_many_violations_still_fit_the_trailers(basket: type[Message]) -> None:
    error = refusal(basket(name="x" * 10_000, legs=[{"symbol": "x" * 10_000} for _ in range(1000)]))
    assert len(error.field_violations) == MAX_VIOLATIONS
    assert len(error.to_status().SerializeToString()) <= 4096
