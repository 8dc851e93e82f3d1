"""The few tables that cannot be metadata, and the SQL objects that tables alone do not express."""
