"""The built-in strategies."""

from services.domain.strategies.mean_reversion import MeanReversion
from services.domain.strategies.sma_cross import SmaCross

BUILT_IN = (SmaCross, MeanReversion)
