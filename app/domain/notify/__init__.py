"""Notifications: who is told what, inside the product and by mail, in the transaction in which it happened."""
