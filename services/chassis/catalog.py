"""The one list of services.

The supervisor, Envoy's clusters, deployment manifests and scrape jobs are checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

EDGE: Final = "edge"
EDGE_PORT: Final = 8080
EDGE_ADMIN_PORT: Final = 9901


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the mesh.

    Attributes:
        name: its folder in `services/`, its name in settings and logs.
        port: the default port on loopback.
        public: full names of the gRPC services which Envoy exposes and reflection lists.
        internal: full names of the gRPC services which only the mesh calls.
        dependencies: names of the services it calls. They may form circles: no service waits for another to start.
    """

    name: str
    port: int
    public: tuple[str, ...]
    internal: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()

    @property
    def default_address(self) -> str:
        """The address it listens on when settings name none; loopback only."""
        return f"127.0.0.1:{self.port}"


MARKETDATA: Final = Service(
    name="marketdata",
    port=50051,
    public=(
        "tickmesh.marketdata.v1.MarketDataService",
        "tickmesh.marketdata.v1.InstrumentService",
        "tickmesh.marketdata.v1.EnvironmentService",
        "tickmesh.marketdata.v1.ReplayService",
    ),
    internal=("tickmesh.marketdata.v1.TapeService",),
)
STRATEGY: Final = Service(
    name="strategy",
    port=50052,
    public=("tickmesh.strategy.v1.StrategyService",),
    dependencies=("marketdata", "order", "portfolio"),
)
ORDER: Final = Service(
    name="order",
    port=50053,
    public=(
        "tickmesh.order.v1.OrderService",
        "tickmesh.order.v1.OrderBookService",
        "tickmesh.order.v1.VenueModelService",
        "tickmesh.order.v1.OrderExplanationService",
    ),
    dependencies=("marketdata", "strategy", "risk", "portfolio"),
)
RISK: Final = Service(
    name="risk",
    port=50054,
    public=("tickmesh.risk.v1.RiskService",),
    internal=("tickmesh.risk.v1.RiskGateService",),
    dependencies=("marketdata", "strategy", "order", "portfolio"),
)
PORTFOLIO: Final = Service(
    name="portfolio",
    port=50055,
    public=("tickmesh.portfolio.v1.PortfolioService",),
    dependencies=("marketdata", "order", "risk"),
)

SERVICES: Final = MappingProxyType({each.name: each for each in (MARKETDATA, STRATEGY, ORDER, RISK, PORTFOLIO)})

PUBLIC: Final = tuple(name for each in SERVICES.values() for name in each.public)
