"""The command line, as `python -m keras_sgdr`."""

import sys

from keras_sgdr.cli import main

if __name__ == "__main__":
    sys.exit(main())
