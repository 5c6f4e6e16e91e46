"""``python -m sagan`` is the command ``sagan``."""

from sagan.cli import main

if __name__ == "__main__":
    main()
