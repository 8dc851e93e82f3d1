"""What usually happens in a workflow, and when a run that is under way will probably be finished."""
