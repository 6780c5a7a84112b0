"""What all commands of the terminal share: building, help, errors, output, progress."""
