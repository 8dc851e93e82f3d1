"""Measurements against bare SQL, in the same run on the same machine. `make bench` runs them all."""
