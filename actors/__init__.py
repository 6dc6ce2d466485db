"""The domain: candles, quotes and rate limits, and the actors that own them."""
