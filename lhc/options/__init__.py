"""Every option of lhc, written once, and what is made of it."""
