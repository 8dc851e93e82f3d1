"""Files of records, on a real database and a real folder."""
