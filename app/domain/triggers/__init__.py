"""What starts runs besides people and schedules: records, calls from outside, files, schedules, other runs."""
