"""Where candles are kept; `base` says what a store must do."""
