"""The back office: SQLAdmin views generated from metadata, and the pages beside them."""
