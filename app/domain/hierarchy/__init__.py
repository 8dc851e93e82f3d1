"""Named trees of the bank: effective-dated nodes, their moves, merges and ends, import and export, as of any date."""
