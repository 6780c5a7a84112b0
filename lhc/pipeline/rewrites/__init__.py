"""Networks rewritten for a machine: adapters, column copies, channel scaling, digital columns."""
