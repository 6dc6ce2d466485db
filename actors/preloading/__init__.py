"""What is to be at hand before it is asked for: needs, habits, and what they are worth."""
