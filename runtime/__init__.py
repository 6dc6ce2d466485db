"""Market data at hand, rate limits kept, under supervision."""
