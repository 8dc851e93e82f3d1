"""Lifecycles: the states of any entity's records, and every step between them."""
