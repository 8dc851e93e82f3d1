"""Escalation: ladders of people who are told, one step after the other, until somebody takes care of a matter."""
