"""Event logs: replayed through the product's own steps, and written for the tools that read them."""
