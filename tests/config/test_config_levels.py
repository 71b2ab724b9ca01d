"""Every shipped YAML composes, states its name, and is used; the schema is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from swallow_exp.config import compose_config
from swallow_exp.config.levels import list_groups, list_levels, shipped_folder
from swallow_exp.record.identity import NOT_IDENTITY, identity_of, run_id_of
from swallow_exp.sweep.expand import expand_question, find_contrasts
from swallow_exp.sweep.question import list_questions, read_question

CONF = shipped_folder("conf")
GROUPS = [group for group in list_groups() if group not in ("experiment", "source")]
LEVELS = [(group, level) for group in GROUPS for level in list_levels(group)]
# levels that only make sense together with another choice
COMPANIONS = {
    ("vocabulary", "miniature_en"): ["base_model=miniature_random"],
    ("mixture", "miniature_en"): ["parallel=none"],
    ("machine", "h100x16"): ["strategy=fsdp_hybrid"],
    ("machine", "slurm_h100x16"): ["strategy=fsdp_hybrid"],
    ("machine", "a100_40gb_8n"): ["experiment=swallow_7b", "strategy=table6_7b"],
    ("machine", "a100_40gb_32n"): ["experiment=swallow_70b", "strategy=table6_70b"],
    ("strategy", "table6_7b"): ["experiment=swallow_7b", "machine=a100_40gb_8n"],
    ("strategy", "table6_13b"): ["experiment=swallow_13b", "machine=a100_40gb_8n"],
    ("strategy", "table6_70b"): ["experiment=swallow_70b", "machine=a100_40gb_32n"],
}


def overrides_for(group: str, level: str) -> list[str]:
    extra = COMPANIONS.get((group, level), [])
    if group == "optim" and level.startswith("swallow"):
        extra = ["base_model=llama2_7b"]  # sequences of 4,096 need a model with as many positions
    return [f"{group}={level}", *extra]


@pytest.mark.parametrize(("group", "level"), LEVELS, ids=lambda value: str(value))
def test_level_composes_and_says_its_name(group: str, level: str) -> None:
    composed = compose_config(overrides_for(group, level))
    assert composed.plain[group]["name"], f"{group}/{level}.yaml has no name"
    assert (CONF / group / f"{level}.yaml").read_text(encoding="utf-8").count("\n") <= 25


@pytest.mark.parametrize("experiment", list_levels("experiment"))
def test_experiment_composes(experiment: str) -> None:
    compose_config([f"experiment={experiment}"])


def test_every_source_belongs_to_a_mixture() -> None:
    used = set()
    for mixture in list_levels("mixture"):
        used |= set(compose_config(overrides_for("mixture", mixture)).config.mixture.sources)
    assert used == set(list_levels("source"))


@pytest.mark.parametrize("name", list_questions())
def test_question_expands_into_cells_and_contrasts(name: str) -> None:
    question = read_question(name)
    cells = expand_question(question)
    assert len({cell.run_id for cell in cells}) == len(cells) >= 2
    assert find_contrasts(question, cells)


def test_numbers_of_the_paper() -> None:
    """Paper 3.1, 3.2, 4.3 and Table 1."""
    config = compose_config(["experiment=swallow_70b"]).config
    assert (config.optim.lr_peak, config.optim.warmup_steps) == (5e-5, 1000)
    assert (config.optim.beta1, config.optim.beta2, config.optim.eps) == (0.9, 0.95, 1e-8)
    assert (config.optim.weight_decay, config.optim.clip_norm) == (0.1, 1.0)
    assert config.optim.sequence_length * config.optim.global_batch_sequences == 4_194_304
    assert abs(config.optim.lr_final_ratio - 1 / 30) < 1e-9
    assert config.budget.checkpoint_every_tokens == 20_000_000_000
    japanese, english = config.mixture.groups["japanese"], config.mixture.groups["english"]
    assert (japanese.share, english.share) == (0.9, 0.1)
    assert japanese.sources["ja_wikipedia"].full and japanese.sources["swallow_corpus"].fill
    assert [english.sources[name].share for name in ("refinedweb_en", "pile_arxiv_en")] == [0.05, 0.05]


def test_circumstances_never_change_the_run_id(tmp_path: Path) -> None:
    plain = compose_config([]).plain
    moved = compose_config([f"paths.out={tmp_path}", "strategy=fsdp2x2", "machine=cpu_small", "suite=none", "tracking=offline"]).plain
    assert run_id_of(identity_of(plain)) == run_id_of(identity_of(moved))


def test_every_identity_field_changes_the_run_id() -> None:
    seen = {
        run_id_of(identity_of(compose_config(words).plain))
        for words in ([], ["seed=1"], ["optim.lr_peak=1e-3"], ["budget.tokens=2_000_000"])
    }
    assert len(seen) == 4


def test_excluded_names_exist_in_the_schema() -> None:
    """A misspelt exclusion would silently put a path into every run_id."""
    plain = compose_config([]).plain
    for dotted in NOT_IDENTITY:
        node = plain
        for part in dotted.split("."):
            node = next(iter(node.values())) if part == "*" else node[part]


def test_the_miniature_tokenizer_knows_the_worlds_characters() -> None:
    """The YAML repeats what the world exports, so that `show` and the identity hold it."""
    from swallow_exp.corpus.miniature import BASE_CHARACTERS

    config = compose_config(["experiment=miniature_base"]).config
    assert config.vocabulary.required_characters == BASE_CHARACTERS
