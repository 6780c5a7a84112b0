"""Search by estimate: the binary program of a placement, its terms, its solver and its front."""
