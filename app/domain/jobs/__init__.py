"""Background work: the outbox that delivers it, and job runs that record it with lease, fencing and attempts."""
