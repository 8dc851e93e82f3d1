"""Records of any entity: one service that checks, writes and reads them for the API, the screens and the imports."""
