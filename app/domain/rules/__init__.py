"""Business rules: decision tables and formulas that administrators write, test, publish and have in force from a day."""
