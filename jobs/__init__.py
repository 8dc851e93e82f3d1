"""Background work: the ARQ worker, the outbox relay, and thin calls into the domain."""
