"""The product's rules, one folder per feature: pure decisions, and services that apply them inside a unit of work."""
