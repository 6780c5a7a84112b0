"""The test of a budget: what a search proposes, on samples and chips that it has not seen, and the emulation itself."""
