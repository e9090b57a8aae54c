"""Our predefined rules hold at run time in the generated messages, not only in the protos' text."""

import protovalidate
import pytest
from tickmesh.common.v1 import money_pb2


@pytest.mark.parametrize("amount", ["0", "-1", "100.50", "999999999999999999.999999999"])
def test_decimals_pass(amount: str) -> None:
    protovalidate.validate(money_pb2.Money(currency_code="USD", amount=amount))


@pytest.mark.parametrize("amount", ["", "1e5", "NaN", ".5", "1.", "01", "+1", "1" * 19, "0.1234567891", " 1"])
def test_other_text_is_refused_by_the_named_rule(amount: str) -> None:
    with pytest.raises(protovalidate.ValidationError) as refused:
        protovalidate.validate(money_pb2.Money(currency_code="USD", amount=amount))
    assert [violation.proto.rule_id for violation in refused.value.violations] == ["tickmesh.decimal"]
