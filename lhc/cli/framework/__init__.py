"""Framework of all commands of the terminal: building, help, errors, output, progress."""
