"""DAC and ADC: codes, mismatch, and sensing of columns as voltages."""
