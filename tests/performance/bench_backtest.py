"""How many bars a second a backtest goes through: the synthetic million, SMA crossover 10/30, one portfolio.

    python tests/performance/bench_backtest.py [--bars N] [--runs N] [--json PATH]

One process, after a warm-up run over a tenth. The tape is made beforehand; a run begins with a tape and portfolios and
ends with fills, ledger and equity. Beside it stands what the machine did meanwhile: its load, and how long a fixed
piece of Python took, by which runs on different machines compare. The garbage collector runs rarely, as it does in
``tickmesh backtest``.
"""

import argparse
import json
import resource
import statistics
import time
from decimal import Decimal
from pathlib import Path

from services.chassis.garbage import rare_collections
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation
from services.domain.deployment.parameters import parameters_from
from services.domain.strategies import SmaCross
from services.domain.tape import Tape
from tests.performance.machine import state
from tests.unit.domain.markets import SYNTHETIC, synthetic


def run(tape: Tape) -> tuple[float, float, Result]:
    """One backtest: seconds on the clock, seconds of this process's CPU, and what came of it."""
    strategy = SmaCross(parameters_from(SmaCross.Parameters, {"fast": 10, "slow": 30, "quantity": 1}), ["SYN"])
    portfolio = PortfolioPlan("p", "p", Decimal(10_000_000))
    began, used = time.perf_counter(), time.process_time()
    with rare_collections():
        result = Simulation(tape, SYNTHETIC, [portfolio], [DeploymentPlan(1, "d", "s", strategy, "p")]).run()
    return time.perf_counter() - began, time.process_time() - used, result


def tape_bytes(tape: Tape) -> int:
    """Bytes of a tape's columns."""
    return sum(column.nbytes for column in (tape.source, tape.time, tape.start, tape.values))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bars", type=int, default=1_000_000)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--json", type=Path, help="where the figures are written too")
    chosen = arguments.parse_args()
    tape = synthetic(chosen.bars)
    run(synthetic(chosen.bars // 10))
    print(state().line())
    runs: list[tuple[float, float]] = []
    for _ in range(chosen.runs):
        took, cpu, result = run(tape)
        runs.append((took, cpu))
        fills, equity = len(result.fills), result.equity[-1].equity
        # A run of its own has no other's results beside it in memory.
        del result
    seconds, used = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"bars                {chosen.bars:,}")
    print(f"orders filled       {fills:,}")
    print(f"final equity        {equity}")
    print(f"median of {chosen.runs} runs    {seconds:.3f} s ({', '.join(f'{took:.3f}' for took, _ in runs)})")
    print(f"bars a second       {chosen.bars / seconds:,.0f}")
    print(f"bars a CPU second   {chosen.bars / used:,.0f}")
    print(f"an order round      {used / max(fills, 1) * 1e6:.0f} us of CPU, if bars cost nothing")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory         {peak:,.0f} MB, of which the tape {tape_bytes(tape) / 2**20:,.0f} MB")
    print(state().line())
    if chosen.json:
        figures = {"bars": chosen.bars, "bars_a_second": chosen.bars / seconds, "bars_a_cpu_second": chosen.bars / used}
        chosen.json.write_text(json.dumps(figures | {"peak_mb": peak}, indent=2))


if __name__ == "__main__":
    main()
