"""Tools of the repository, run by make; the product does not import them."""
