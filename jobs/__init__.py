"""The worker: announces the outbox in Redis, takes jobs from there, and does what is due by time."""
