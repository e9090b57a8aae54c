"""Where records come from: data sets that replays are made of.

A provider knows data sets and reads their records raw; `checks` refuses the bad ones, the same way for all.
"""

from services.marketdata.providers.base import DataSet, Provider, Records

__all__ = ["DataSet", "Provider", "Records"]
