"""Rare effects of circuits: currents in lines, faults, stuck cells."""
