"""Documents on records: stored by content hash, in versions, seen by whoever sees the record."""
