"""Ticking the items of a process's checklist, which is part of preparing it."""

from app.domain.workflow.preparation import answer_item

__all__ = ["answer_item"]
