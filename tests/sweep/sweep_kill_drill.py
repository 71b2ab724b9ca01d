"""A real sweep, killed with SIGKILL again and again at random moments, then run until it is done; compared with an undisturbed one.

python tests/sweep/sweep_kill_drill.py FOLDER [--kills 10] [--how tree|parent] [--steps 400] [--seed 0] [--no-wandb]

(1) calm      the sweep to its end in FOLDER/calm (taken over when it is there already)
(2) killed    the same in FOLDER/<how>: kill `--kills` times, each in its own tenth of the work; then until exit 0, and once more
(3) compare   scores, curves, digests of checkpoints, rows of the outboxes, rows at a W&B server on loopback

tree: the sweep and everything it started at once. parent: only the sweep; nothing of it may live on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "fakes"))


from wandb_server import FakeWandbServer

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.check_states import check_states
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.model.folder import weights_digest
from swallow_exp.record.events import read_events
from swallow_exp.record.status import read_status
from swallow_exp.record.store import list_run_ids, read_curve, read_evaluations
from swallow_exp.sweep.progress import evaluated_tasks
from swallow_exp.track.rows import read_metric_rows

NAME, TOKENS_PER_STEP, MARKS = "drill", 1_024, 4
CELLS, TASKS, ARTEFACTS = 4, 6, 5
QUESTION = """\
question: Does a sweep that is killed end as one that is not?
fixed: {base_model: miniature_random, vocabulary: miniature_en, mixture: miniature_en, budget: drill, optim: miniature, suite: smoke}
baseline: {numerics: fp32}
grids:
  - {numerics: [fp32, bf16_mixed]}
seeds: [0, 1]
"""
LONGEST_WAIT, ORPHAN_SECONDS, SWEEP_SECONDS = 1.0, 20.0, 3_000.0


@dataclass(frozen=True)
class Drill:
    """One sweep in one output root."""

    out: Path
    levels: Path
    steps: int
    server: FakeWandbServer | None

    @property
    def environment(self) -> dict[str, str]:
        own = {"SWALLOW_OUT": str(self.out)}
        if self.server is not None:
            own |= {"WANDB_BASE_URL": self.server.url, "WANDB_API_KEY": "x" * 40, "HOME": str(self.out.parent)}
        return {**{name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}, **own}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "swallow_exp", *words]

    def start(self) -> subprocess.Popen[bytes]:
        tracking = "none" if self.server is None else "online"
        words = [f"tracking={tracking}", f"tracking.wandb_project={self.out.name}", "tracking.log_every_steps=1"]
        if self.server is not None:
            words.append("tracking.publish_every_seconds=10")
        words += [f"machine.rolling_checkpoint_tokens={25 * TOKENS_PER_STEP}", "--config-dir", str(self.levels), "--jobs", "2"]
        with (self.out.parent / f"{self.out.name}.log").open("ab") as log:
            line = self.command("train", "-m", f"+sweep={NAME}", *words)
            return subprocess.Popen(line, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def publish(self, run_id: str) -> int:
        """What a user may do at any time."""
        line = self.command("publish", run_id, "--out", str(self.out), "--mode", "online", "--project", self.out.name)
        return subprocess.run(line, env=self.environment, capture_output=True, check=False).returncode

    def progress(self) -> float:
        """Share of the work that is done, 0 to 1; never falls."""
        artefacts = len(list(self.out.glob("artefacts/*/*/manifest.json")))
        steps = results = published = 0
        for run_id in list_run_ids(self.out):
            run = RunPaths.of(self.out, run_id)
            steps += max((int(row["step"]) for row in read_events(run.events, "train")), default=0)
            results += sum(map(len, evaluated_tasks(run).values()))
            published += run.publication("wandb-online").exists()
        done = 0.1 * min(artefacts / ARTEFACTS, 1) + 0.45 * steps / (CELLS * self.steps) + 0.4 * results / (CELLS * TASKS * (MARKS + 1))
        return done + 0.05 * (published / CELLS if self.server is not None else results / (CELLS * TASKS * (MARKS + 1)))

    def states(self) -> str:
        return " ".join(
            f"{read_status(RunPaths.of(self.out, one).status)['state']}:{len(evaluated_tasks(RunPaths.of(self.out, one)))}"
            for one in list_run_ids(self.out)
        )


def descendants(of: int) -> set[int]:
    """Processes that `of` started, and theirs."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, grown = {of}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return found - {of}


def is_running(process: int) -> bool:
    """Neither gone nor a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill_once(drill: Drill, target: float, wait: float, how: str) -> str | None:
    """Start, and SIGKILL `wait` seconds after `target` of the work is done; None when the sweep ended first."""
    sweep = drill.start()
    while drill.progress() < target:
        if sweep.poll() is not None:
            return None
        time.sleep(0.05)
    time.sleep(wait)
    if sweep.poll() is not None:
        return None
    started = descendants(sweep.pid)
    if how == "tree":
        for process in (sweep.pid, *started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    else:
        sweep.kill()
    assert sweep.wait() == -signal.SIGKILL
    deadline = time.monotonic() + ORPHAN_SECONDS
    while any(map(is_running, started)):
        assert time.monotonic() < deadline, f"they work on without the sweep: {[one for one in started if is_running(one)]}"
        time.sleep(0.05)
    return f"at {drill.progress():4.0%}, {len(started):>2} processes below it gone; {drill.states() or 'no run yet'}"


def disturb(drill: Drill, *, kills: int, how: str, seed: int) -> Iterator[str]:
    """Kill `kills` times, publish now and then, then run to the end; one line each."""
    chance = random.Random(seed)
    for number in range(kills):
        target = chance.uniform(number, number + 0.9) / kills
        said = kill_once(drill, max(target, drill.progress()), chance.uniform(0, LONGEST_WAIT), how)
        while said is None:  # it can only have ended badly, or there was nothing left to kill
            assert drill.progress() < 1, f"the sweep was done before kill {number + 1}"
            said = kill_once(drill, drill.progress(), chance.uniform(0, LONGEST_WAIT), how)
        yield f"kill {number + 1:>2} ({how}) {said}"
        run_ids = list_run_ids(drill.out)
        if drill.server is not None and run_ids and chance.random() < 0.5:
            chosen = chance.choice(run_ids)
            yield f"         publish {chosen}: exit {drill.publish(chosen)}"
    for attempt in ("to the end", "once more"):
        code = drill.start().wait(timeout=SWEEP_SECONDS)
        yield f"{attempt}: exit {code}"
        assert code == 0, f"see {drill.out.parent / drill.out.name}.log"


def repeats(run: RunPaths, attempts: int) -> tuple[int, int]:
    """(training rows written twice, times it went back); each going back must be a resume from the newest state or a later one."""
    saved = newest = last = back = rows = 0
    for row in read_events(run.events):
        if row["kind"] == "checkpoint" and "bytes" in row:
            saved = max(saved, int(row["step"]))
        if row["kind"] != "train":
            continue
        rows, step = rows + 1, int(row["step"])
        if step <= newest and step != last + 1:
            back += 1
            assert saved < step, f"{run.run_id}: step {step} again, although a state at {saved} was saved"
        newest, last = max(newest, step), step
    unique = len({row["step"] for row in read_events(run.events, "train")})
    assert unique == newest and back <= attempts - 1, f"{run.run_id}: {back} times back in {attempts} attempts"
    return rows - unique, back


def compare_runs(calm: Drill, killed: Drill, run_id: str) -> str:
    """Everything a reader of the records could see must be equal; asserts it, and says how many rows were written again."""
    first, second = RunPaths.of(calm.out, run_id), RunPaths.of(killed.out, run_id)
    scores = [
        sorted((e.trained_tokens, e.task, e.metric, e.profile, e.score, e.num_items) for e in read_evaluations(out, run_id))
        for out in (calm.out, killed.out)
    ]
    assert scores[0] == scores[1] and len(scores[0]) >= TASKS * (MARKS + 1)
    curves = [[(row.step, row.loss, row.learning_rate, row.grad_norm) for row in read_curve(d.out, run_id)] for d in (calm, killed)]
    assert curves[0] == curves[1] and len(curves[0]) == calm.steps
    digests = [[(one.step, one.digest) for one in read_checkpoints(run)] for run in (first, second)]
    assert digests[0] == digests[1] and len(digests[0]) == MARKS + 1
    assert check_states(second) == []
    assert all(weights_digest(resolve_export(second, record)) == record.digest for record in read_checkpoints(second))
    asked = Counter((row["trained_tokens"], row["task"], row["metric"], row["profile"]) for row in read_events(second.events, "evaluation"))
    assert set(asked.values()) == {1}
    attempts = int(read_status(second.status)["attempts"])
    again, back = repeats(second, attempts)
    said = f"{run_id}: {attempts} attempts, {back} resumes, {again} of {calm.steps} steps written again"
    return f"{said}; {len(scores[0])} scores, {len(digests[0])} digests, curve equal; {_published(killed, second)}"


def _published(drill: Drill, run: RunPaths) -> str:
    """Rows at the server: each row of the outbox at most once, and of a step that was written again one only."""
    if drill.server is None:
        return "not published"
    history, outbox = drill.server.runs[drill.out.name, run.run_id].rows(), read_metric_rows(run.events)
    sequences = [row["_step"] for row in history]
    assert len(set(sequences)) == len(sequences), "a row of the outbox was published twice"
    assert set(sequences) <= {row.sequence for row in outbox}
    losses = [row["train/loss"] for row in history if "train/loss" in row]
    assert losses == [row.loss for row in read_curve(drill.out, run.run_id)], "a step was published twice, or not at all"
    scores = Counter((row["trained_tokens"], name) for row in history for name in row if name.startswith("eval/"))
    assert set(scores.values()) == {1} and len(scores) == len(list(read_events(run.events, "evaluation")))
    return f"{len(history)} rows at the server: {len(losses)} steps, {len(scores)} scores, none twice"


def write_levels(folder: Path, steps: int) -> Path:
    """The question and its budget."""
    budget = f"name: {NAME}\ntokens: {steps * TOKENS_PER_STEP}\ncheckpoint_every_tokens: {steps * TOKENS_PER_STEP // MARKS}\n"
    for name, text in ((f"sweeps/{NAME}.yaml", QUESTION), (f"budget/{NAME}.yaml", budget)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run_drill(folder: Path, *, kills: int, how: str, steps: int, seed: int, wandb: bool = True) -> Iterator[str]:
    """What happened, a line each; raises AssertionError where the two differ."""
    levels = write_levels(folder / "levels", steps)
    with FakeWandbServer() if wandb else contextlib.nullcontext() as server:
        calm, killed = (Drill(folder / name, levels, steps, server) for name in ("calm", how))
        there, started = calm.out.exists(), time.monotonic()
        assert calm.start().wait(timeout=SWEEP_SECONDS) == 0, f"see {folder / 'calm.log'}"
        yield f"undisturbed: {time.monotonic() - started:.0f} s" + (", of an earlier drill" if there else "")
        yield from disturb(killed, kills=kills, how=how, seed=seed)
        run_ids = list_run_ids(calm.out)
        assert run_ids == list_run_ids(killed.out) and len(run_ids) == CELLS
        for run_id in run_ids:
            if server is not None:
                assert killed.publish(run_id) == 0
        yield from (compare_runs(calm, killed, run_id) for run_id in run_ids)
        assert server is None or server.unknown == []
    yield "the same scores, curves and weights as undisturbed; nothing trained or published twice"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--how", choices=("tree", "parent"), default="tree")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-wandb", action="store_true")
    options = parser.parse_args()
    asked = {"kills": options.kills, "how": options.how, "steps": options.steps, "seed": options.seed}
    for line in run_drill(options.folder.resolve(), wandb=not options.no_wandb, **asked):
        print(line, flush=True)
