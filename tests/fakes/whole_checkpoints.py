"""Everything that is wrong in a run's checkpoints, for tests that kill or damage runs."""

from __future__ import annotations

from swallow_exp.artefact.errors import SwallowError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.check_states import check_export, check_states
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.model.folder import weights_digest


def check_checkpoints(run: RunPaths) -> list[str]:
    """One line per problem of states, index and exports; none when all is well."""
    problems = check_states(run)
    records = read_checkpoints(run)
    if run.checkpoint_index.exists() and not records:
        problems.append(f"{run.checkpoint_index} is damaged")
    for record in (record for record in records if record.export):
        folder = resolve_export(run, record)
        try:
            check_export(folder)
            digest = weights_digest(folder)
        except (SwallowError, OSError) as error:
            problems.append(f"{record.trained_tokens:,} tokens: {error}")
        else:
            if digest != record.digest:
                problems.append(f"{record.trained_tokens:,} tokens: the weights are not those that were exported")
    return problems
