"""What has become nothing, is beyond measure, or cannot be computed: of one order, and never of the others."""

from decimal import Decimal

from services.domain.accounting.ledger import Ledger
from services.domain.instrument import Instrument
from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, ExecType, OrderEvent, OrderType, Refusal, Side
from services.domain.risk.limits import make_limit
from services.domain.risk.preview import preview
from services.risk.gate.parts import Cursor, OpenGate, Part
from services.risk.gate.session import Verdicts
from services.risk.mapping import told_to_proto
from tests.unit.domain.risk.gates import restarted, state
from tests.unit.domain.risk.market import INSTRUMENTS, D, Market
from tests.unit.domain.risk.room import Room

DUST = D("0.000000001")
_UNKNOWABLE = Refusal("LIMIT_EXCEEDED", "arithmetic", D(0), D(0))


def test_rule_20_a_split_that_rounds_a_short_to_nothing_frees_its_collateral() -> None:
    """The smallest quantity there is, of which a split of 1 for 3 leaves a third."""
    room, ledger, instrument = Room(), Ledger("p"), Instrument("A", quantity_increment=DUST)
    room.limit("short_sale", 1)
    short = room.fill(room.place(str(DUST), side=Side.SELL, strategy_id="s"))
    ledger.apply(OrderEvent(ExecType.TRADE, short, 0, 1, last_quantity=DUST, last_price=D(100)), instrument)
    assert room.gate.exposure("p").collateral == D("1.5e-7")
    for entry in ledger.split("A", D(1), D(3), time=2, tape_sequence=2, instrument=instrument, mark=D(100)).entries:
        room.gate.fold_entry("p", entry)
    instruments = {each: Instrument(each) for each in ("A", "B")}
    for gate in (room.gate, restarted(room.gate, instruments)):
        room.gate, found = gate, gate.exposure("p")
        assert (found.collateral, found.spendable, found.positions) == (0, found.cash, ())
        assert gate.funds["p"].sleeves["s"].collateral == 0
        assert room.asks(1).reservation is not None
        assert room.asks(1, side=Side.SELL).reservation is not None


def test_a_stored_portfolio_that_kept_collateral_for_nothing_is_freed_of_it() -> None:
    holdings = {"A": ["0E-9", "1.5"], "B": ["-2", "60"]}
    rest = {"opened": False, "recent": [], "curve": ["0", "0"]}
    sleeve = {"cash": "0", "collateral": "61.5", "holdings": holdings, **rest}
    stored = sleeve | {"opened": True, "cash": "1000", "collateral": "61.5", "sleeves": {"s": sleeve}, "filled_at": 0}
    gate = OpenGate()
    gate.rebuild(Part("e", Cursor(), {}, {"p": stored}))
    found = gate.exposure("p")
    assert (found.collateral, found.spendable) == (60, 940)
    assert gate.funds["p"].sleeves["s"].collateral == 60


def test_an_order_beyond_all_money_is_refused_with_what_it_comes_to() -> None:
    """Units, price and multiplier come to 54 digits before the point, and 27 behind it."""
    market, most = Market(), D("999999999999999999.999999999")
    huge = Instrument("AAPL", contract_multiplier=most, quantity_increment=DUST)
    order = market.order(Side.BUY, str(most), order_type=OrderType.LIMIT, limit_price=D("999999999999999"))
    verdict = market.gate.check(order, huge, D(100), 0)
    assert verdict.refusal is not None
    assert (verdict.refusal.limit, verdict.refusal.bound) == ("buying_power", 10_000)
    assert verdict.refusal.value == most * D("999999999999999") * most
    found = preview(market.gate, order, huge, D(100), 0)
    assert (found.verdict, found.largest) == (verdict, 0)
    refusal = told_to_proto(Verdicts(1, [verdict], [found])).verdicts.verdicts[0].refusal
    assert Decimal(refusal.value) == verdict.refusal.value
    for side in Side:
        asked = market.order(side, str(most), order_type=OrderType.LIMIT, limit_price=most)
        market.gate.set_limit(make_limit("short_sale", D(1), "p"))
        assert market.gate.check(asked, huge, D(100), 0).refusal is not None


class _Broken(Room):
    """A room in which one symbol has a mark that nothing can be computed of; only portfolio p holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.fill(self.place(5, "B"))
        self.opened = self.place(5, limit_price=D(90))
        for portfolio_id in ("p", "q"):
            self.limit("max_gross_exposure", 50_000, portfolio_id=portfolio_id)
        self.gate.mark("B", D("NaN"))


def test_an_order_whose_figures_cannot_be_computed_is_refused_alone_and_changes_nothing() -> None:
    room = _Broken()
    before = state(room.gate)
    assert room.check(room.order(1)).refusal == _UNKNOWABLE
    assert state(room.gate) == before
    assert room.asks(1, portfolio_id="q").reservation is not None
    assert room.asks(1, side=Side.SELL, reduce_only=True).reservation is not None, "a way out stays"


def test_a_preview_whose_figures_cannot_be_computed_says_so() -> None:
    room = Room()
    before = state(room.gate)
    found = preview(room.gate, room.order(1), INSTRUMENTS["AAPL"], D("sNaN"), 0)
    assert (found.verdict.refusal, found.beyond) == (_UNKNOWABLE, _UNKNOWABLE)
    assert state(room.gate) == before


def test_new_terms_whose_figures_cannot_be_computed_leave_an_order_what_it_was() -> None:
    room = _Broken()
    before, terms = state(room.gate), room.opened._replace(quantity=D(7), leaves_quantity=D(7))
    verdict = room.gate.check_replacement(terms, INSTRUMENTS["AAPL"], D(100), 0)
    assert verdict.refusal == _UNKNOWABLE
    assert state(room.gate) == before


def test_a_twin_whose_figures_cannot_be_computed_leaves_the_other_its_claim() -> None:
    room = Room()
    legs = listed(ContingencyType.OCO, [room.order(3, limit_price=D(90)), room.order(4, limit_price=D(80))])
    assert room.check(legs[0]).reservation is not None
    room.limit("max_gross_exposure", 50_000, portfolio_id="p")
    room.fill(room.place(5, "B"))
    room.gate.mark("B", D("NaN"))
    before = state(room.gate)
    assert room.check(legs[1]).refusal == _UNKNOWABLE
    assert state(room.gate) == before
