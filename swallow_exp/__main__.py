"""`python -m swallow_exp VERB ...` is the same as `swallow VERB ...`."""

from swallow_exp.cli import main

if __name__ == "__main__":
    main()
