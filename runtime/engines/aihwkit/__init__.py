"""The engine ``aihwkit``: aihwkit's tile arithmetic in PyTorch, on any device, with every effect of a machine."""
