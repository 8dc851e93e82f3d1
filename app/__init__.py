"""STEPS: workflows, deadlines, figures and their audit trail for a financial institution."""
