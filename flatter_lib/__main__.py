"""``python -m flatter_lib`` is the command ``flatter``."""

from flatter_lib.publish.cli import main

if __name__ == "__main__":
    main()
