"""Calendars, deadlines and SLA clocks."""
