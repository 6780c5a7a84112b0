"""Copies of weights and calibration of chips: left out where they do harm, no more than needed, and their gain."""
