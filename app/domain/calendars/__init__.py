"""Working calendars and deadline formulas: pure rules about days, hours and zones."""
