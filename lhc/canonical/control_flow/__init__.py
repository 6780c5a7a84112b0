"""If, Loop, Scan and local functions, written out in the main graph."""
