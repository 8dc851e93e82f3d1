"""Calendars with a database."""
