"""The training worker over the fake stream."""

from __future__ import annotations

import sys

from tiny_run import fake_open_stream

if __name__ == "__main__":
    from swallow_exp.train import fit
    from swallow_exp.train.worker import main

    fit.open_stream = fake_open_stream  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))
