"""Trees on a real database."""
