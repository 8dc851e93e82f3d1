"""Workflows: their definitions and versions, runs, and the engine that moves the processes of a run."""
