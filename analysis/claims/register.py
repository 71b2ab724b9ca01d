"""The noise register that a null study leaves behind for other reports and plans.

Reads  a null study.  Writes  <out>/noise/<study>.json.  Source  Madaan et al. 2024, arXiv 2406.10229
"""

from __future__ import annotations

from analysis.claims.asked import usual_test
from analysis.claims.compare import Comparer
from analysis.load import Measure
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.noise import NoiseEntry, NoiseRegister, setting_names, setting_of, write_register


def record_noise(comparer: Comparer) -> NoiseRegister | None:
    """Write the register of a null study; None while fewer than two runs of a cell are finished.

    Raises:
        RequestError: the runs of the study do not share base model, mixture and budget.
    """
    study = comparer.study
    identities = [read_json(RunPaths.of(study.out, run_id).identity) for cell in study.cells for run_id in cell.run_ids]
    known = [identity for identity in identities if isinstance(identity, dict)]
    settings = {setting_of(identity) for identity in known}
    if len(settings) > 1:
        raise RequestError(
            f"sweep {study.name} declares `null_study: true`, and its runs differ in base model, mixture or budget",
            expected="cells that differ in nothing real",
            remedy="leave those groups out of its grids, or remove `null_study: true`",
        )
    entries = [entry for measure in study.measures if (entry := _entry(comparer, measure))]
    if not entries or not known:
        return None
    register = NoiseRegister(study.name, settings.pop(), setting_names(known[0]), tuple(entries))
    write_register(study.out, register)
    return register


def _entry(comparer: Comparer, measure: Measure) -> NoiseEntry | None:
    spread = comparer.noise.spread(measure)
    usual = usual_test(side[measure][-1][1] for side in comparer.noise.finals.values() if measure in side)
    if spread is None or usual is None:
        return None
    return NoiseEntry(
        task=measure.task,
        metric=measure.metric,
        profile=measure.profile,
        prompt_digest=usual[0],
        task_version=usual[1],
        unit=measure.unit,
        num_runs=spread.num_runs,
        num_items=comparer.noise.items(measure),
        variance=spread.paired.variance,
        freedom=int(spread.paired.freedom),
        within_variance=spread.within.variance,
        within_freedom=int(spread.within.freedom),
    )
