"""Ground that every feature stands on: settings, clock, database, unit of work, errors."""
