"""`python -m tinyml`: the command line, where the `tinyml` script is not on the PATH."""

from tinyml.cli.app import main

if __name__ == "__main__":
    main()
