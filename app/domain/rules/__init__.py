"""Business rules: decision tables and formulas that administrators write, test and publish, in force from a day."""
