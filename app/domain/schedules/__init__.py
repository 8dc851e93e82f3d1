"""When workflows run by themselves: recurrence rules, the runs that are due, what a rule will do over two years."""
