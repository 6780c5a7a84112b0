"""``python -m lhc``."""

from lhc.cli import main

if __name__ == "__main__":
    main()
