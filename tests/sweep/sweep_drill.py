"""A sweep of fake cells as a process of its own: sweep_drill.py OUT CELLS JOBS."""

from __future__ import annotations

import sys
from pathlib import Path

from swallow_exp.config.compose import compose_config
from swallow_exp.sweep import runs
from swallow_exp.sweep.expand import Cell

if __name__ == "__main__":
    out, num_cells, jobs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    runs.build_stages = lambda config, upto, tell: None  # type: ignore[assignment,misc,return-value]
    composed = compose_config([])
    cells = [Cell({}, seed, (f"seed={seed}",), composed, f"cell-{seed}", f"seed {seed}") for seed in range(num_cells)]
    fake = (sys.executable, str(Path(__file__).with_name("fake_cell.py")))
    sys.exit(runs.sweep_exit_code(runs.run_cells(cells, out=out, jobs=jobs, command=fake)))
