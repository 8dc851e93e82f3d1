"""The metadata language and what is built from it; the lowest layer, which imports nothing else of ours."""
