"""Declaration of options: fields, parsing, help, configuration files."""
