"""Sensitivities of layers: measured one by one, or predicted from gradients."""
