"""Who may import whom: the contracts of pyproject.toml hold, and light commands stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_composing_a_run_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from swallow_exp.config import compose_config\n"
        "import swallow_exp.inspect.show, swallow_exp.sweep.runs, swallow_exp.sweep.expand, swallow_exp.inspect.status\n"
        "compose_config([])\n"
        "heavy = {'torch', 'lightning', 'transformers', 'lm_eval', 'pandas', 'matplotlib', 'wandb', 'sentencepiece'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
