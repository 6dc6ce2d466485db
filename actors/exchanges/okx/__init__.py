"""OKX: so far how its requests are signed."""
