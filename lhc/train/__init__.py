"""Training under the noise of analog tiles. PyTorch is loaded by the modules that need it, not here."""
