"""Passes that decide of single layers: qualify, select, copies, digital columns, tiles."""
