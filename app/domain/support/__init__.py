"""Support: queries on processes and records, and issues."""
