"""Financial measures: market data, PnL, thresholds. Everything here is pure except the reading of the rate file."""
