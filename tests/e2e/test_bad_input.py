"""Whatever clients get wrong is told by code and reason, over gRPC and REST alike, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor

from services.chassis.catalog import SERVICES
from tests.e2e.bad_input import (
    BAD_PAGE,
    INVALID,
    NO_METHOD,
    RIGHT,
    WRONG_TOKEN,
    Outcome,
    Row,
    over,
    wrong_fields,
    wrong_types,
)
from tests.e2e.bad_rows import FILTERS, OF_A_STRATEGY, ONE_PAGE, PAGES, ROWS, STREAMS
from tests.e2e.bad_words import INSIDE, JOINS, SESSIONS
from tests.e2e.front import Answer, Front, bindings, methods, refused, standing
from tests.e2e.world import everything, populate
from tests.nursery import Nursery

pytestmark = pytest.mark.timeout(300)


def _times(method: MethodDescriptor) -> list[str]:
    fields = method.input_type.fields
    return [field.name for field in fields if field.message_type and field.message_type.name == "Timestamp"]


def _durations(message: Descriptor) -> list[str]:
    """Of fields of fields too, as paths."""
    found = []
    for field in message.fields:
        inner = field.message_type
        if inner and inner.name == "Duration":
            found.append(field.name)
        elif inner and not field.is_repeated and inner.file.package.startswith("tickmesh."):
            found += [f"{field.name}.{each}" for each in _durations(inner)]
    return found


METHODS = methods()
UNARY = {name: method for name, method in METHODS.items() if not method.client_streaming}
BODIES = [name for name, method in UNARY.items() if bindings(method)[0][0] == "POST"]
INTERNAL = methods(internal=True)
ENTER = "OrderService/EnterOrders"
TIMES = [name for name, method in UNARY.items() if _times(method)]
DURATIONS = [name for name, method in UNARY.items() if _durations(method.input_type)]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, prepared: Path, nursery: Nursery) -> Iterator[Front]:
    """One mesh for all of them, in which nothing may change; at the end no log may tell of a fault."""
    with standing(tmp_path_factory.mktemp("bad-input"), prepared, nursery) as made:
        populate(made)
        before = everything(made)
        yield made
        assert everything(made) == before
        for name in SERVICES:
            for line in (made.mesh.folder / f"{name}.log").read_text().splitlines():
                assert "Traceback" not in line, line
                assert json.loads(line).get("level") not in {"ERROR", "CRITICAL"}, line


def told(answers: list[tuple[str, Any, Outcome, Answer]]) -> None:
    """That each answer is the one that was to come; tells of all that are not."""
    wrong = [
        f"{how} {str(request)[:200]}: {answer.outcome} instead of {outcome}: {answer.message or answer.body}"[:500]
        for how, request, outcome, answer in answers
        if answer.outcome != outcome
    ]
    assert not wrong, "\n".join(wrong)


def test_every_method_has_its_rows() -> None:
    assert set(UNARY) == set(RIGHT)
    assert set(ROWS) <= set(UNARY)
    assert set(METHODS) - set(UNARY) == {"ReplayService/JoinReplay", ENTER}
    assert {name for name, method in UNARY.items() if "page_token" in method.input_type.fields_by_name} == {
        *PAGES,
        *ONE_PAGE,
    }
    assert {name for name, method in UNARY.items() if method.server_streaming} == set(STREAMS)
    assert set(INTERNAL) == set(INSIDE)


@pytest.mark.parametrize("name", UNARY)
def test_a_wrong_request_is_told_what_is_wrong(front: Front, name: str) -> None:
    method, answers = UNARY[name], []
    for row in [*wrong_fields(method), *ROWS.get(name, [])]:
        request = over(RIGHT[name], row.change)
        answers.append(("gRPC", row.change, row.outcome, front.grpc(method, request)))
        answers.append(("REST", row.change, _over_rest(name, row), front.http(method, request)))
    told(answers)
    refusals = [answer for *_, answer in answers if answer.code == "INVALID_ARGUMENT"]
    assert not [each for each in refusals if not all(each.fields or [""])]


def _over_rest(name: str, row: Row) -> Outcome:
    """A path that lacks a field, or ends in a slash, is no path at all."""
    template = bindings(UNARY[name])[0][1]
    return (
        NO_METHOD
        if any(f"{{{each}}}" in template and value is None for each, value in row.change.items())
        else row.outcome
    )


@pytest.mark.parametrize("name", UNARY)
def test_a_wrong_request_over_every_other_path_is_told_the_same(front: Front, name: str) -> None:
    method, answers = UNARY[name], []
    for row in [*wrong_fields(method)][:1]:
        for number, (_, path) in enumerate(bindings(method)[1:], 1):
            answer = front.http(method, over(RIGHT[name], row.change), binding=number)
            answers.append((path, row.change, _over_rest(name, row), answer))
    told(answers)


@pytest.mark.parametrize("name", UNARY)
def test_an_unknown_parameter_is_refused_by_name(front: Front, name: str) -> None:
    verb, path, rest = front.target(UNARY[name], RIGHT[name])
    body = {"json": rest} if verb == "POST" else {}
    answer = front.send(verb, f"{path}?bogus=1", **body)
    assert answer.outcome == ("INVALID_ARGUMENT", "UNKNOWN_QUERY_PARAMETER")
    assert "bogus" in answer.message


@pytest.mark.parametrize("name", BODIES)
def test_a_wrong_body_is_refused(front: Front, name: str) -> None:
    verb, path, rest = front.target(UNARY[name], RIGHT[name])
    text = json.dumps(rest)
    wrong = {
        text[:-1]: "MALFORMED_JSON",
        text + text: "MALFORMED_JSON",
        "[]": "MALFORMED_JSON",
        '"text"': "MALFORMED_JSON",
        "NaN": "MALFORMED_JSON",
        json.dumps({**rest, "bogus": 1}): "UNKNOWN_FIELD",
        "{" + "[" * 10_000: "MALFORMED_JSON",
    }
    told(
        [
            (verb, body, ("INVALID_ARGUMENT", reason), front.send(verb, path, content=body))
            for body, reason in wrong.items()
        ]
    )
    if rest:  # Else nothing is needed.
        assert front.send(verb, path, content=b"").outcome == INVALID
    large = front.send(verb, path, content=json.dumps({**rest, "bogus": "x" * 2_000_000}))
    assert large.outcome == ("RESOURCE_EXHAUSTED", "TOO_LARGE")


@pytest.mark.parametrize("name", UNARY)
def test_a_value_of_another_type_is_refused(front: Front, name: str) -> None:
    """In a query everything is text, so there only what is no text can be of another type."""
    method, answers = UNARY[name], []
    verb, template = bindings(method)[0]
    for row in wrong_types(method):
        ((field, value),) = row.change.items()
        as_text = method.input_type.fields_by_name[field].type == 9 or isinstance(value, list | dict)
        if f"{{{field}}}" in template or (verb != "POST" and as_text):
            continue
        answers.append(("REST", row.change, INVALID, front.http(method, over(RIGHT[name], row.change))))
    told(answers)
    assert not [row for _, row, _, answer in answers if not answer.fields[0].startswith(tuple(row))]


@pytest.mark.parametrize("name", METHODS | INTERNAL)
def test_bytes_that_are_no_message_are_refused(front: Front, name: str) -> None:
    method = (METHODS | INTERNAL)[name]
    # Of a message without fields protobuf takes the zeros for unknown ones.
    none = [b"\xff\xff", b"\x08", *([b"\0" * 1000] if method.input_type.fields else [])]
    told([("gRPC", data, INVALID, front.grpc(method, data)) for data in none])


@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_there_is_not_is_refused(front: Front, name: str) -> None:
    """No JSON can say it, but a message can."""
    method, answers = UNARY[name], []
    for field in _times(method):
        for seconds, nanos in ((10**12, 0), (-(10**12), 0), (2**63 - 1, 0), (0, -1), (0, 10**9)):
            request = message_factory.GetMessageClass(method.input_type)()
            whole = OF_A_STRATEGY if field == "basis_time" else {}
            decided = {each: whole[each] for each in whole if each in method.input_type.fields_by_name}
            json_format.ParseDict({**RIGHT[name], **decided, field: "2005-03-01T00:00:00Z"}, request)
            getattr(request, field).seconds, getattr(request, field).nanos = seconds, nanos
            answer = front.grpc(method, request.SerializePartialToString())
            answers.append(("gRPC", (field, seconds, nanos), INVALID, answer))
    told(answers)


@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_that_there_is_not_is_refused(front: Front, name: str) -> None:
    """No JSON can say it, but a message can."""
    method, answers = UNARY[name], []
    for path in _durations(method.input_type):
        for seconds, nanos in ((10**12, 0), (-(10**12), 0), (2**63 - 1, 0), (1, 10**9), (1, -(10**9)), (2, -1)):
            request = message_factory.GetMessageClass(method.input_type)()
            json_format.ParseDict(over(RIGHT[name], {path: "1s"}), request)
            duration = reduce(getattr, path.split("."), request)
            duration.seconds, duration.nanos = seconds, nanos
            answer = front.grpc(method, request.SerializePartialToString())
            answers.append(("gRPC", (path, seconds, nanos), INVALID, answer))
    told(answers)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_token_of_another_list_or_filter_is_refused(front: Front, name: str) -> None:
    method, (first, other) = UNARY[name], PAGES[name]
    token = front.grpc(method, over(RIGHT[name], {**first, "page_size": 1})).body["next_page_token"]
    assert token
    again = front.grpc(method, over(RIGHT[name], {**first, "page_size": 1, "page_token": token}))
    assert again.code == "OK"
    answers = []
    for each in PAGES:
        if each != name or other:
            wrong = over(RIGHT[each], {**(other if each == name else {}), "page_token": token})
            answers.append(("gRPC", each, BAD_PAGE, front.grpc(UNARY[each], wrong)))
            answers.append(("REST", each, BAD_PAGE, front.http(UNARY[each], wrong)))
    told(answers)


def test_every_filter_has_its_row() -> None:
    """A list's symbol or strategy that it can do without is one."""
    fields = {name: UNARY[name].input_type.fields_by_name for name in PAGES}
    found = {(name, each) for name in PAGES for each in ("symbol", "strategy_id") if each in fields[name]}
    needed = {(name, each) for name in PAGES for each in RIGHT[name]}
    assert found - needed <= {(name, each) for name, filters in FILTERS.items() for each in filters}


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in FILTERS for field in FILTERS[name]])
def test_a_filter_that_nothing_fits_gives_an_empty_list(front: Front, name: str, field: str) -> None:
    method, found = UNARY[name], next(each.name for each in UNARY[name].output_type.fields if each.is_repeated)
    request = over(RIGHT[name], {field: FILTERS[name][field]})
    for answer in (front.grpc(method, request), front.http(method, request)):
        assert (answer.code, answer.body.get(found)) == ("OK", [])
    assert front.grpc(method, RIGHT[name]).body[found]


@pytest.mark.parametrize("name", STREAMS)
def test_a_resume_token_of_another_stream_or_filter_is_refused(front: Front, name: str) -> None:
    method, answers = UNARY[name], []
    token = front.grpc(method, RIGHT[name]).body["resume_token"]
    assert front.grpc(method, over(RIGHT[name], {"resume_token": token})).code == "OK"
    for each, other in STREAMS.items():
        wrong = over(RIGHT[each], {**(other if each == name else {}), "resume_token": token})
        answers.append(("gRPC", each, WRONG_TOKEN, front.grpc(UNARY[each], wrong)))
        answers.append(("REST", each, WRONG_TOKEN, front.http(UNARY[each], wrong)))
    told(answers)


@pytest.mark.parametrize("via", ["edge", "marketdata"])
def test_a_wrong_word_to_a_replay_ends_the_stream(front: Front, via: str) -> None:
    join = METHODS["ReplayService/JoinReplay"]
    rows = [(words, outcome) for words, outcome in JOINS if via == "edge" or outcome[0] != "PERMISSION_DENIED"]
    told([(via, words, outcome, front.grpc(join, *words, via=via)) for words, outcome in rows])


@pytest.mark.parametrize("via", ["edge", "order"])
def test_a_wrong_message_ends_a_session(front: Front, via: str) -> None:
    told([(via, words, INVALID, front.grpc(METHODS[ENTER], *words, via=via)) for words in SESSIONS])


@pytest.mark.parametrize("command", METHODS[ENTER].input_type.fields_by_name["commands"].message_type.fields_by_name)
def test_a_wrong_command_of_a_session_is_told_what_its_own_call_is(front: Front, command: str) -> None:
    verb, _, noun = command.partition("_")
    name = f"OrderService/{verb.capitalize()}Order{noun.capitalize()}"
    rows = [Row({}), *wrong_fields(UNARY[name]), *ROWS[name]]
    commands = [{command: over(RIGHT[name], row.change)} if row.change else {} for row in rows]
    words = [{"commands": commands[start : start + 256]} for start in range(0, len(rows), 256)]
    acks = front.answers(METHODS[ENTER], *words, via="edge")
    numbered = sorted((ack for each in acks for ack in each["acks"]["acks"]), key=lambda ack: int(ack["number"]))
    assert [int(ack["number"]) for ack in numbered] == list(range(1, len(rows) + 1))
    answers = [Answer("OK", body=ack) if "error" not in ack else refused(ack["error"]) for ack in numbered]
    told([("session", row.change, row.outcome, answer) for row, answer in zip(rows, answers, strict=True)])


@pytest.mark.parametrize("name", INTERNAL)
def test_what_only_the_mesh_calls_refuses_too_and_is_not_at_the_edge(front: Front, name: str) -> None:
    method, closed = INTERNAL[name], ("UNIMPLEMENTED", "METHOD_NOT_FOUND")
    told([("inside", words, outcome, front.grpc(method, *words)) for words, outcome in INSIDE[name]])
    told([("edge", words, closed, front.grpc(method, *words, via="edge")) for words, _ in INSIDE[name]])


@pytest.mark.parametrize(
    ("verb", "path"), [("GET", "/api/v1/nothing"), ("PUT", "/api/v1/orders"), ("POST", "/nowhere")]
)
def test_what_is_not_there_is_not_found(front: Front, verb: str, path: str) -> None:
    assert front.send(verb, path).outcome == NO_METHOD
