"""`vitlab train -m`: Hydra's own combinations, a folder that the same command finds again, and real jobs that
fail alone."""

import json
import os
import shlex
import signal
import subprocess
import sys
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from vitlab.commands.sweep import take_up
from vitlab.config.compose import conf_dir
from vitlab.config.sweep_check import lines_of
from vitlab.config.sweep_plan import plan
from vitlab.config.sweep_sample import Checked, jobs_that_tell, told_of_sample, values_that_tell
from vitlab.dashboard.tags import Tags
from vitlab.sweeps.jobs import Sweep

PLAN = "sweep.print_commands=true"
TINY = [
    "hardware=cpu",
    "trainer.max_epochs=1",
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
    "schedule.warmup_epochs=0",
]
TINY += [
    "trainer.log_every_n_steps=5",
    "trainer.limit_train_batches=10",
    "callbacks=[default]",
    "callbacks.evaluation=null",
]


def planned(out):
    """Returns the overrides of each printed job, without where it runs and what it writes to."""
    jobs = [shlex.split(line) for line in out.splitlines()]
    for job in jobs:
        assert (
            job[1:5] == ["-P", "-m", "vitlab.cli", "train"]
            and job[-4].startswith("hydra.run.dir=")
            and job[-3] == "resume=auto"
            and (job[-2].startswith(">>") and job[-1] == "2>&1")
        )
    return [job[5:-4] for job in jobs]


@pytest.mark.parametrize(
    "arguments",
    [
        ["model.depth=2,4", "seed=range(3)"],
        ["model=vit_micro,vit_tiny", "optimizer.betas=[0.9,0.99],[0.9,0.95]", "name='a, b'"],
        [
            "model=glob(vit_m*)",
            "++augment.flip=choice(0,0.5)",
            "seed=range(0,10,step=5)",
            "optimizer.lr=sort(1e-3,1e-4)",
        ],
        ["seed=4"],
    ],
)
def test_the_jobs_are_those_of_hydras_own_multirun(arguments):
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(arguments)
        (theirs,) = BasicSweeper.split_arguments(parsed, None)
    ours = [job.overrides for job in plan(["-m", *arguments]).grid]
    assert [sorted(job) for job in ours] == [sorted(job) for job in theirs]


def test_the_same_command_finds_the_same_sweep_and_another_grid_adds_to_it(vitlab):
    first = vitlab("train", "-m", "model.depth=2,4", "sweep.name=depths", PLAN)
    assert vitlab("train", "-m", "model.depth=2,4", "sweep.name=depths", PLAN).out == first.out
    assert "hydra.run.dir=outputs/train/depths/1" in first.out
    wider = vitlab("train", "-m", "model.depth=2,4,6", "sweep.name=depths", PLAN)
    assert wider.out.startswith(first.out)
    assert planned(wider.out)[2:] == [["model.depth=6"]]
    assert plan(["-m", "seed=1,2", "name=mine", "hydra.sweep.dir=here/${name}"]).folder == Path("here/mine")


def test_a_reader_that_has_seen_enough_of_the_commands_is_no_error(tmp_path):
    command = [sys.executable, "-m", "vitlab.cli", "train", "-m", "seed=range(700)", "sweep.name=many", PLAN]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().count("seed=0 ") == 1
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


def test_what_is_complete_is_left_out_and_what_failed_only_comes_back_when_asked_for(vitlab):
    command = ["train", "-m", "model.depth=2,4,6", "sweep.name=depths", PLAN]
    vitlab(*command)
    for number, status in ((0, "completed"), (1, "failed")):
        folder = Path(f"outputs/train/depths/{number}")
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"status": status}))
    assert planned(vitlab(*command).out) == [["model.depth=6"]]
    assert planned(vitlab(*command, "sweep.retry_failed=true").out) == [["model.depth=4"], ["model.depth=6"]]


def test_a_space_in_a_file_of_the_users_own_is_a_sweep(tmp_path):
    folder = tmp_path / "mine" / "sweep"
    folder.mkdir(parents=True)
    (folder / "sizes.yaml").write_text(
        "defaults: [grid, _self_]\noverrides: [experiment=digits_vit]\nspace:\n  model.depth: choice(2, 4)\n"
    )
    ours = plan(["--config-dir", str(tmp_path / "mine"), "sweep=sizes", "seed=1"])
    common = ["experiment=digits_vit", "seed=1"]
    assert ours.config_dir == str(tmp_path / "mine")
    assert [job.overrides for job in ours.grid] == [[*common, "model.depth=2"], [*common, "model.depth=4"]]


@pytest.mark.parametrize(
    "space",
    [
        ["sweep.space.model.depth=choice(2,4)", "sweep.space.seed='range(2)'"],
        ["sweep.space={model: {depth: '2,4'}, seed: '0,1'}"],
    ],
)
def test_a_space_may_be_said_on_the_command_line(space):
    assert [job.overrides for job in plan(["-m", *space]).grid] == [
        [f"model.depth={depth}", f"seed={seed}"] for depth in (2, 4) for seed in (0, 1)
    ]


def test_a_search_of_the_configs_proposes_jobs_of_its_space(vitlab):
    pytest.importorskip("optuna", reason="an extra of vitlab")
    ended = vitlab("train", "-m", "sweep=digits", "sweep.num_jobs=3", PLAN)
    jobs = planned(ended.out)
    assert len({tuple(job) for job in jobs}) == 3
    for job in jobs:
        values = dict(override.split("=") for override in job)
        assert values["experiment"] == "digits_vit"
        assert 3e-4 <= float(values["optimizer.lr"]) <= 1e-2
        assert values["model.depth"] in {"2", "4", "6"}
    sweep = Sweep.read(plan(["sweep=digits"]).folder.parent / "search")
    for other in ("optimizer.lr=interval(0, 1)", "sweep.metric=val/loss"):
        with pytest.raises(ValueError, match="holds another sweep"):
            take_up(sweep, plan(["-m", "sweep=digits", "sweep.num_jobs=3", other]))


BAD_SWEEPS = {
    "an unknown key": ("model.dept=2,4", "unknown key model.dept"),
    "an unknown sweep": ("sweep=gird", "gird"),
    "a typo in a sweep's key": ("seed=1,2 sweep.paralel=2", "sweep.paralel"),
    "no job at a time": (
        "seed=1,2 sweep.parallel=0",
        "sweep.parallel=0: a whole number from 1 on would work",
    ),
    "memory in words": ("seed=1,2 sweep.memory_limit_gib=4G", "sweep.memory_limit_gib=4G: a number above 0"),
    "a direction that is none": ("seed=1,2 sweep.direction=up", "maximize or minimize would work"),
    "an interval in a grid": (
        "optimizer.lr=interval(0,1)",
        "a search draws from it: sweep=random or sweep=tpe",
    ),
    "seeds in a search": ("sweep=random seed=1,2", "the luckiest seed"),
    "a logarithm of nothing": ("sweep=random optimizer.lr=tag(log,interval(0,1))", "is no interval"),
    "a sampler that is none": (
        "sweep=random sweep.sampler._target_=os.system",
        "is none of optuna.samplers; known there: BruteForceSampler",
    ),
    "a launcher": (
        "seed=1,2 hydra/launcher=joblib",
        "hydra/launcher=joblib: here sweep.parallel=N runs N jobs at a time",
    ),
    "a cluster's launcher": (
        "seed=1,2 hydra/launcher=submitit_slurm",
        "sweep.engine=slurm submits the jobs, with sbatch's options such as sweep.slurm.partition=NAME",
    ),
    "a launcher's number of jobs": (
        "seed=1,2 hydra.launcher.n_jobs=4",
        "hydra.launcher.n_jobs=4: here sweep.parallel=N",
    ),
    "a sweeper": (
        "hydra/sweeper=optuna seed=1",
        "sweep=tpe or sweep=random searches, through sweep.num_jobs=N",
    ),
    "a sweeper's number of jobs": ("hydra.sweeper.n_trials=9 seed=1", "sweep.num_jobs=N with sweep=tpe"),
    "what Hydra logs with": ("seed=1,2 hydra/job_logging=none", "a sweep starts its jobs itself"),
    "an engine that is none": (
        "seed=1,2 sweep.engine=slrum",
        "sweep.engine=slrum: local or slurm would work",
    ),
    "leaving jobs that end with the sweep": (
        "seed=1,2 sweep.detach=true",
        "sweep.detach=true: false would work, or true with sweep.engine=slurm",
    ),
    "a cluster's options without one": (
        "seed=1,2 sweep.slurm.partition=gpu",
        "sweep.slurm.partition=gpu is for sweep.engine=slurm",
    ),
    "an option of the engine's own": (
        "seed=1,2 sweep.engine=slurm sweep.slurm.array=1-9",
        "sweep.slurm.array=1-9: a sweep could not submit its jobs, or find them again",
    ),
    "a list for sbatch": (
        "seed=1,2 sweep.engine=slurm sweep.slurm.nodelist=[n1,n2]",
        "a word, a number, true or null would work",
    ),
    "a time that YAML has counted": (
        "seed=1,2 sweep.engine=slurm sweep.slurm.time=28800",
        "sweep.slurm.time=28800: a time with colons such as 8:00:00 would work",
    ),
    "a place to go on": ("seed=1,2 resume=auto", "resume=auto: a sweep starts its jobs itself"),
    "two places": ("seed=1,2 sweep.name=a hydra.sweep.dir=b", "give one of them"),
    "a key given twice": ("seed=1,2 seed=3", "seed is given twice"),
    "a number of jobs without a search": (
        "seed=1,2 sweep.num_jobs=3",
        "sweep.num_jobs=3: null (only a search is told how many",
    ),
    "a word for yes or no": (
        "seed=1,2 sweep.retry_failed=maybe",
        "sweep.retry_failed=maybe: true or false would work",
    ),
    "a new key": ("seed=1,2 +sweep.jobs=3", "unknown key sweep.jobs; known there: name, "),
    "memory without end": (
        "seed=1,2 sweep.memory_limit_gib=inf",
        "sweep.memory_limit_gib=inf: a number above 0",
    ),
    "a choice by the test": ("seed=1,2 sweep.metric=test/accuracy", "a test is for the one that was chosen"),
    "a loss to maximize": (
        "seed=1,2 sweep.metric=val/loss sweep.direction=maximize",
        "sweep.direction=maximize: with sweep.metric=val/loss minimize would work",
    ),
    "no name": ("seed=1,2 sweep.name=", "sweep.name=: a folder's name would work"),
    "overrides that are no list": ("seed=1,2 sweep.overrides=5", "sweep.overrides=5: a list such as"),
    "a space that is none": ("seed=1,2 sweep.space=5", "sweep.space=5: keys with values"),
    "a space of a number": ("sweep.space.seed=5", "sweep.space.seed=5: text such as choice(2, 4)"),
    "a seed in words": (
        "sweep=random sweep.seed=x optimizer.lr=1,2",
        "sweep.seed=x: a whole number from 0 on would work",
    ),
    "a sampler that is a number": (
        "sweep=random sweep.sampler=5 optimizer.lr=1,2",
        "sweep.sampler=5: sweep=random or sweep=tpe would work",
    ),
    "a pruner that is a number": (
        "sweep=random sweep.pruner=5 optimizer.lr=1,2",
        "sweep.pruner=5: null, or that of sweep=tpe, would work",
    ),
    "nothing to search": ("sweep=random seed=1", "a search has nothing to draw from"),
    "a key that a later option lacks": (
        "patch_embed=conv_stem,linear patch_embed.stem_width=32",
        "job 1 of 2 (patch_embed=linear): unknown key patch_embed.stem_width",
    ),
    "a search without validation": (
        "sweep=random optimizer.lr=1,2 trainer.limit_val_batches=0",
        "trainer.limit_val_batches=0 validates",
    ),
    "a search of what is validated without images for it": (
        "sweep=random optimizer.lr=1e-3,1e-2 data.val_fraction=0",
        "sweep.metric=best/val/accuracy: data.val_fraction=0 leaves no image to validate on",
    ),
    "a metric of what is validated without images for it": (
        "seed=1,2 data.val_fraction=0 sweep.metric=val/loss",
        "sweep.metric=val/loss: data.val_fraction=0 leaves no image to validate on",
    ),
    "early stopping without images to validate on": (
        "seed=1,2 data.val_fraction=0 callbacks=[default,early_stopping]",
        "callbacks.early_stopping watches val/accuracy, and data.val_fraction=0 leaves no image",
    ),
    "options by a pattern that none has": (
        "model=glob(resnext*)",
        "model=glob(resnext*) stands for no value at all",
    ),
    "a value given twice": ("optimizer.lr=1e-3,0.001", "optimizer.lr=1e-3,0.001 has 0.001 twice"),
    "nothing between two commas": ("seed=0,,1", "'seed=0,,1' extraneous input ','\n"),
    "two groups left out at once": (
        "~callbacks,logger seed=1,2",
        "~callbacks,logger: each is left out by itself; ~callbacks ~logger would work\n",
    ),
    "an equals sign in a value": (
        "name=a=b seed=1,2",
        "name=a=b: a value with such signs needs quotes: \"name='a=b'\" would work",
    ),
    "letters beyond those of Hydra's grammar": (
        "name=café seed=1,2",
        "name=café: a value with such signs needs quotes: \"name='café'\" would work",
    ),
    "a mode": ("seed=1,2 hydra.mode=MULTIRUN", "hydra.mode=MULTIRUN: -m runs several jobs"),
    "a sweeper's own choices": (
        "seed=1,2 +hydra.sweeper.params.seed=3",
        "hydra.sweeper.params.seed=3: here -m KEY=A,B varies KEY",
    ),
    "no folder of configs": ("--config-dir nowhere sweep=s", "--config-dir nowhere is no folder"),
    "a place where nothing can be written": (
        "seed=1,2 hydra.sweep.dir=/proc/here",
        "hydra.sweep.dir=DIR would put the sweep elsewhere",
    ),
    "a pruner without a search": (
        "seed=1,2 sweep.pruner={_target_:optuna.pruners.NopPruner}",
        "only a search stops jobs early",
    ),
}


def nothing_written():
    return {path.name for path in Path().iterdir()} <= {"cache", "mine"}  # in which libraries keep their own


@pytest.mark.parametrize(("arguments", "says"), BAD_SWEEPS.values(), ids=BAD_SWEEPS.keys())
def test_a_bad_sweep_is_refused_in_one_line_before_anything_starts(vitlab, arguments, says):
    ended = vitlab("train", "-m", *arguments.split())
    assert ended.status == 2, ended
    assert len(ended.err.strip().splitlines()) == 1
    assert says in ended.err
    assert nothing_written()


HYDRAS_FILES = {
    "params": ("hydra: {sweeper: {params: {model.depth: '2,4'}}}", "here -m KEY=A,B varies KEY"),
    "mode": ("hydra: {mode: MULTIRUN}", "-m runs several jobs, and without it there is one"),
    "launcher": (
        "defaults: [override /hydra/launcher: joblib]",
        "here sweep.parallel=N runs N jobs at a time",
    ),
}


@pytest.mark.parametrize(("text", "says"), HYDRAS_FILES.values(), ids=HYDRAS_FILES.keys())
@pytest.mark.parametrize("multirun", [["-m"], []], ids=["sweep", "run"])
def test_what_a_file_of_hydras_says_of_sweeps_is_refused_with_our_word_for_it(
    vitlab, tmp_path, multirun, text, says
):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "theirs.yaml").write_text(f"# @package _global_\n{text}\n")
    ended = vitlab("train", *multirun, "--config-dir", "mine", "experiment=theirs")
    assert ended.status == 2 and len(ended.err.splitlines()) == 1 and says in ended.err, ended
    assert nothing_written()


@pytest.mark.parametrize("argument", ["hydra/launcher=joblib", "hydra.sweeper.params.seed=3"])
def test_a_single_run_is_told_so_too(vitlab, argument):
    ended = vitlab("train", argument)
    assert ended.status == 2 and ended.err.startswith(f"vitlab: {argument}: here "), ended
    assert nothing_written()


WRONG_JOBS = {
    "in all jobs, said once": (
        "seed=1,2,3 data=folder data.root=nowhere",
        ["data.root=* No such file or directory; name a readable folder*"],
    ),
    "in some jobs": (
        "model.depth=2,4 optimizer.lr=1e-3,-1",
        ["job 1 of 4 and 1 more (model.depth=2 optimizer.lr=-1): optimizer.lr=-1 must be above 0*"],
    ),
    "in what does not go together": (
        "model.num_heads=2,3 model.embed_dim=64,96",
        [
            "job 2 of 4 (model.num_heads=3 model.embed_dim=64): model.num_heads=3 does not divide"
            " model.embed_dim=64*"
        ],
    ),
    "of another kind, and in an option": (
        "optimizer=adamw,sgd model.depth=2,four",
        ["job 1 of 4 and 1 more (optimizer=adamw model.depth=four): model.depth=four is of the wrong kind*"],
    ),
    "a key that the first option lacks": (
        "patch_embed=linear,conv_stem patch_embed.stem_width=32",
        ["job 0 of 2 (patch_embed=linear): unknown key patch_embed.stem_width*"],
    ),
    "an option that is a list": (
        "callbacks=[default],[default,emma]",
        ["job 1 of 2 (callbacks=[default,emma]): *emma*"],
    ),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG_JOBS.values(), ids=WRONG_JOBS.keys())
def test_what_is_wrong_in_some_jobs_or_all_is_told_before_any_begins_and_nothing_is_written(
    vitlab, arguments, says
):
    ended = vitlab("train", "-m", "hardware=cpu", *arguments.split())
    lines = ended.err.splitlines()
    assert ended.status == 2 and len(lines) == len(says), ended
    for line, pattern in zip(lines, says, strict=True):
        assert fnmatchcase(line, f"vitlab: {pattern}".replace("[", "[[]")), line
    assert nothing_written()


def test_values_are_checked_before_a_command_is_printed_but_not_what_another_machine_may_have(vitlab):
    wrong = vitlab("train", "-m", "optimizer.lr=1e-3,-1", "sweep.name=x", PLAN)
    assert wrong.status == 2 and not wrong.out and nothing_written()
    assert "job 1 of 2 (optimizer.lr=-1): optimizer.lr=-1 must be above 0" in wrong.err
    there = vitlab(
        *("train", "-m", "hardware=gpu", "data=folder", "data.root=nowhere", "seed=1,2", "sweep.name=x", PLAN)
    )
    assert there.status == 0 and len(planned(there.out)) == 2, there.err
    assert there.err.startswith("vitlab: not here, so not every value was checked: data.root=")
    assert len(there.err.splitlines()) == 1


def test_a_value_of_two_lines_is_refused_before_a_command_is_printed(vitlab):
    given = ["data=folder", 'data.root="no\nwhere"', "seed=1,2", "sweep.name=x", PLAN]
    refused = vitlab("train", "-m", *given)
    assert refused.status == 2 and not refused.out
    assert """vitlab: job 0: 'data.root="no\\nwhere"' has a line break, and a printed""" in refused.err


def test_what_a_printed_job_says_is_where_a_report_looks_for_it(vitlab, tmp_path):
    ended = vitlab("train", "-m", "seed=1,2", "sweep.name='a b'", PLAN)
    folder = tmp_path / "outputs" / "train" / "a b"
    (folder / "0").touch()  # no run can begin there
    (line, _) = ended.out.splitlines()
    subprocess.run(["bash", "-c", f'eval "exec {line}"'], cwd=tmp_path)
    said = (folder / "logs" / "0.log").read_text().splitlines()[-1]
    assert "hydra.run.dir=DIR would put the run elsewhere" in said
    report = vitlab("report", str(folder))
    assert report.status == 0 and report.out.count("waiting  no run has begun; its log ends: ") == 1, report
    assert said.strip() in report.out


def grid_of(**values):
    return values, [dict(zip(values, job, strict=True)) for job in product(*values.values())]


def test_of_a_large_grid_each_value_is_looked_at_and_of_many_numbers_of_a_kind_the_ends():
    rates = [*map(str, range(1, 50)), "-1", "x"]
    values, grid = grid_of(lr=rates, depth=[str(depth) for depth in range(20)])
    looked_at = jobs_that_tell(values, grid, lambda job: ())
    assert len(looked_at) == 300 and all(grid[job.number] == job.values for job in looked_at)
    assert {job.values["depth"] for job in looked_at} == set(values["depth"])
    assert {"1", "-1", "49", "x"} <= {job.values["lr"] for job in looked_at}
    assert told_of_sample(values, grid, looked_at)[0].startswith("300 of 1020 jobs were checked: ")
    assert len(jobs_that_tell(values, grid[:290], lambda job: ())) == 290
    assert values_that_tell([*map(str, range(100)), "2.5", "null"]) == ["0", "99", "2.5", "null"]


def test_every_combination_is_looked_at_where_only_seeds_make_a_grid_large():
    values, grid = grid_of(
        depth=[str(depth) for depth in range(29)], lr=[*"123456789"], seed=["0", "1", "2", "-7"]
    )
    looked_at = jobs_that_tell(values, grid, lambda job: ())
    pairs = {(job.values["depth"], job.values["lr"]) for job in looked_at}
    assert len(pairs) == 29 * 9 and {job.values["seed"] for job in looked_at} == set(values["seed"])
    assert len(looked_at) < 270 and told_of_sample(values, grid, looked_at) == []


def test_more_than_ten_complaints_are_counted_not_listed():
    complaints = {f"wrong {number}": [Checked(number, {"lr": "1"})] for number in range(13)}
    lines = lines_of(complaints, 14, 14)
    assert lines[:1] == ["job 0 of 14 (lr=1): wrong 0"] and len(lines) == 10
    assert lines[-1] == "and 4 more complaints like these"


WRONG_SEARCHES = {
    "the end of an interval": (
        "optimizer.momentum=interval(0,1)",
        ["with optimizer.momentum=1.0: optimizer.momentum=1.0 must lie from 0*"],
    ),
    "the fixed part": (
        "optimizer.lr=1,2 model.num_heads=5",
        ["model.num_heads=5 does not divide model.embed_dim=64*"],
    ),
    "a choice, and one that is right beside others": (
        "model.num_heads=2,3 model.embed_dim=64,96 optimizer.weight_decay=-1,0",
        ["with optimizer.weight_decay=-1: optimizer.weight_decay=-1 must be 0 or more"],
    ),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG_SEARCHES.values(), ids=WRONG_SEARCHES.keys())
def test_a_search_is_refused_for_what_none_of_its_jobs_could_have(vitlab, arguments, says):
    pytest.importorskip("optuna", reason="an extra of vitlab")
    ended = vitlab("train", "-m", "sweep=random", "hardware=cpu", "optimizer=sgd", *arguments.split())
    lines = ended.err.splitlines()
    assert ended.status == 2 and len(lines) == len(says), ended
    for line, pattern in zip(lines, says, strict=True):
        assert fnmatchcase(line, f"vitlab: {pattern}"), line
    assert nothing_written()


@pytest.mark.parametrize("name", ["it's a, b=c [x] (1)", 'say "x"', "café"])
def test_a_sweep_may_have_any_name(vitlab, name):
    text = name.replace("'", "\\'")
    ended = vitlab("train", "-m", "seed=1,2", f"sweep.name='{text}'", PLAN)
    assert ended.status == 0, ended.err
    folder = Path("outputs") / "train" / name
    assert (folder / "sweep.json").is_file()
    for number, line in enumerate(ended.out.splitlines()):
        (place,) = OverridesParser.create().parse_overrides([shlex.split(line)[-4]])
        assert str(place.value()) == str(folder / str(number))


STRANGE_SWEEPS = {
    "an option": ({"overrides": ["--config-dir=/tmp"]}, "which no sweep gives its jobs"),
    "something for Hydra": (
        {"overrides": ["+hydra.callbacks.x._target_=torch.hub.load"]},
        "which no sweep gives its jobs",
    ),
    "another run": ({"overrides": ["resume=/tmp"]}, "which no sweep gives its jobs"),
    "a job elsewhere": ({"number": "../../x"}, "job 0 has the number ../../x"),
    "another job's folder": ({"number": 7}, "job 0 has the number 7"),
    "no list": ({"overrides": 5}, "overrides is of the wrong kind"),
    "no text": ({"overrides": [5]}, "job 0 is none of a sweep's"),
}


@pytest.mark.parametrize(("change", "says"), STRANGE_SWEEPS.values(), ids=STRANGE_SWEEPS.keys())
def test_a_strange_sweep_is_not_gone_on_with(vitlab, change, says):
    (job := {"number": 0, "overrides": ["seed=1"], "varied": {"seed": "1"}}).update(change)
    folder = Path("theirs")
    folder.mkdir()
    (folder / "sweep.json").write_text(
        json.dumps({"metric": "val/loss", "direction": "minimize", "space": None, "jobs": [job]})
    )
    ended = vitlab("train", "-m", "seed=1,2", "hydra.sweep.dir=theirs", PLAN)
    assert ended.status == 2 and says in ended.err and len(ended.err.splitlines()) == 1, ended.err


def test_a_folder_with_a_comma_is_one_of_a_job_and_of_a_sweep(tmp_path):
    (tmp_path / "a,b").mkdir()
    root = ["data=folder", f"data.root={tmp_path}/a,b"]
    ours = plan(["-m", *root, "seed=0,1", "hydra.sweep.dir=s,w"])
    assert [job.overrides[-1] for job in ours.grid] == ["seed=0", "seed=1"] and ours.folder == Path("s,w")


def test_a_file_of_the_users_own_that_leaves_keys_out_is_told_which(vitlab, tmp_path):
    (tmp_path / "mine" / "sweep").mkdir(parents=True)
    (tmp_path / "mine" / "sweep" / "short.yaml").write_text("space:\n  model.depth: choice(2, 4)\n")
    ended = vitlab("train", "--config-dir", str(tmp_path / "mine"), "sweep=short", PLAN)
    assert ended.status == 2
    assert "sweep.name is missing" in ended.err and "[grid, _self_]" in ended.err


@pytest.mark.parametrize("sweep", [["-m"], ["sweep=grid", "sweep.name=x"]])
def test_cfg_shows_the_config_of_the_first_job_and_runs_nothing(vitlab, sweep):
    alone = vitlab("train", "--cfg", "job", "optimizer=sgd", "optimizer.lr=0.5", "seed=3")
    shown = vitlab("train", *sweep, "optimizer=sgd,adamw", "--cfg", "job", "optimizer.lr=0.5,1", "seed=3,4")
    assert shown == alone
    assert not list(Path().iterdir())


def test_a_wrong_key_of_a_sweep_is_told_without_torch(tmp_path):
    program = (
        f"import sys; sys.argv = ['vitlab', 'train', '-m', 'model.dept=1,2', '{PLAN}']\n"
        "from vitlab.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 2, end\n"
        "heavy = {'torch', 'pytorch_lightning', 'matplotlib', 'optuna'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path)


def test_jobs_that_are_on_a_cluster_are_not_checked_again(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command, checked = ["-m", "seed=1,2", "sweep.name=there"], []
    planned = plan(command)
    for job in planned.grid:
        job.place = f"17_{job.number}"
    (sweep := Sweep(planned.folder, planned.facts(), planned.grid)).write()
    plan(command, lambda *config: checked.append(config))
    assert not checked
    sweep.jobs[1].place = None
    sweep.write()
    plan(command, lambda *config: checked.append(config))
    assert checked


def test_a_sweep_whose_jobs_have_all_ended_is_told_so_without_torch(vitlab, tmp_path):
    command = ["train", "-m", "seed=1,2", "sweep.name=ended"]
    vitlab(*command, PLAN)
    for number in ("0", "1"):
        (folder := tmp_path / "outputs" / "train" / "ended" / number).mkdir()
        (folder / "run.json").write_text('{"status": "completed"}')
    vitlab(*command, PLAN)
    program = (
        f"import sys; sys.argv = {['vitlab', *command]}\n"
        "from vitlab.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path)


def hparams_tab(folder):
    """Returns what the HParams tab is told of each run, by its name (status, metrics, settings), settings
    that differ, metrics."""
    provider = MultiplexerDataProvider(
        EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload(), str(folder)
    )
    backend, context = backend_context.Context(TBContext(data_provider=provider)), RequestContext()
    experiment = get_experiment.Handler(context, backend, "", api_pb2.GetExperimentRequest()).run()
    columns = [api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos]
    columns += [api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos]
    statuses = [
        api_pb2.STATUS_SUCCESS,
        api_pb2.STATUS_FAILURE,
        api_pb2.STATUS_RUNNING,
        api_pb2.STATUS_UNKNOWN,
    ]
    request = api_pb2.ListSessionGroupsRequest(
        col_params=columns, allowed_statuses=statuses, start_index=0, slice_size=100
    )
    groups = list_session_groups.Handler(context, backend, "", request).run().session_groups
    told = {
        Path(session.name).name: (
            session.status,
            {value.name.tag: value.value for value in session.metric_values},
            dict(group.hparams),
        )
        for group in groups
        for session in group.sessions
    }
    differing = {info.name for info in experiment.hparam_infos if info.differs}
    return told, differing, [info.name.tag for info in experiment.metric_infos]


def run(tmp_path, *arguments, **environment):
    """Runs the command as a user does."""
    return subprocess.run(
        [Path(sys.executable).with_name("vitlab"), "train", *arguments],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")} | environment,
        capture_output=True,
        text=True,
    )


def records(folder):
    return {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/run.json")}


def test_a_job_that_diverges_fails_alone_the_other_is_not_run_again_and_the_dashboard_tells(vitlab, tmp_path):
    (tmp_path / "tensorboard.py").write_text("open('ran', 'w')")
    command = [
        "train",
        "-m",
        *TINY,
        "optimizer=sgd",
        "trainer.gradient_clip_val=null",
        "optimizer.lr=1e30,1e-2",
        "sweep.name=rates",
    ]
    ended = vitlab(*command)
    assert ended.status == 1, ended
    assert "job 0 failed" in ended.out and "Diverged: train/loss is" in ended.out
    assert "job 1 completed" in ended.out
    assert not (tmp_path / "ran").exists()  # what lies in the present folder is no job's
    folder = tmp_path / "outputs" / "train" / "rates"
    first = records(folder)
    assert {number: record["status"] for number, record in first.items()} == {"0": "failed", "1": "completed"}

    again = vitlab(*command)
    assert again.status == 1
    assert "starts" not in again.out
    assert records(folder) == first

    told, differing, columns = hparams_tab(folder)
    assert differing == {"optimizer.lr"}
    assert set(told["0"][2]) == {"optimizer.lr", "seed"}  # and nothing that all jobs share
    assert columns[:2] == [
        "10_result/best_val_accuracy",
        "10_result/test_accuracy",
    ]  # the tab shows the first five
    assert {name: status for name, (status, _, _) in told.items()} == {
        "0": api_pb2.STATUS_FAILURE,
        "1": api_pb2.STATUS_SUCCESS,
    }
    assert told["0"][2]["optimizer.lr"].number_value == 1e30
    tags, reached = Tags("accuracy"), first["1"]["metrics"]
    for metric in ("val/accuracy", "best/val/accuracy", "test/accuracy"):
        assert told["1"][1][tags.of_number(metric)] == pytest.approx(reached[metric])
    assert not [value for _, values, _ in told.values() for value in values.values() if value == -1]


@pytest.mark.slow
def test_nine_trainings_of_which_five_die_each_in_its_own_way(tmp_path):
    kinds = ["fine0", "raise", "fine1", "exit", "kill", "fine2", "memory", "diverge", "fine3"]
    here = {"PYTHONPATH": str(Path(__file__).parent), "VITLAB_TARGETS": "trouble"}
    trouble = ["+callbacks.trouble._target_=trouble.Trouble", f"+callbacks.trouble.kind={','.join(kinds)}"]
    command = [
        "-m",
        *TINY,
        "trainer.log_every_n_steps=1",
        *trouble,
        "sweep.name=nine",
        "sweep.memory_limit_gib=3",
    ]
    command.remove("trainer.log_every_n_steps=5")
    ended = run(tmp_path, *command, **here)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    folder = tmp_path / "outputs" / "train" / "nine"
    jobs = {
        job["varied"]["callbacks.trouble.kind"]: job
        for job in json.loads((folder / "sweep.json").read_text())["jobs"]
    }
    statuses = {kind: jobs[kind]["status"] for kind in kinds}
    failed = {
        "raise": "failed",
        "exit": "failed",
        "memory": "failed",
        "diverge": "failed",
        "kill": "interrupted",
    }
    assert statuses == {kind: "completed" for kind in kinds} | failed, ended.stdout
    assert jobs["raise"]["reason"] == "RuntimeError: raised"
    assert jobs["exit"]["reason"] == "SystemExit: 3"
    assert "can't allocate memory" in jobs["memory"]["reason"]
    assert jobs["diverge"]["reason"].startswith("Diverged: train/loss is nan")
    assert "SIGKILL" in jobs["kill"]["reason"]
    table = ended.stdout[ended.stdout.index("\njob  ") :]
    assert all(f"{kind} " in table for kind in kinds)

    whole = {number: record for number, record in records(folder).items() if record["status"] == "completed"}
    assert len(whole) == 4
    again = run(tmp_path, *command, **here)
    assert again.returncode == 1
    assert [line.split()[1] for line in again.stdout.splitlines() if " starts: " in line] == [
        "4"
    ]  # what was killed
    assert {number: record for number, record in records(folder).items() if number in whole} == whole


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_weights_of_one_that_was_not(tmp_path):
    import signal
    import time

    import torch

    def weights(folder):
        files = [folder / number / "checkpoints" / "last.ckpt" for number in ("0", "1")]
        return [torch.load(file, weights_only=True)["state_dict"] for file in files]

    longer = ["trainer.max_epochs=40", "trainer.limit_train_batches=1.0", "checkpoint_every_steps=7"]
    settings = [
        *(setting for setting in TINY if not setting.startswith(("trainer.max_epochs", "trainer.limit"))),
        *longer,
        "seed=0,1",
    ]
    assert run(tmp_path, "-m", *settings, "sweep.name=whole").returncode == 0
    command = ["-m", *settings, "sweep.name=killed"]
    folder = tmp_path / "outputs" / "train" / "killed"
    for number, job in ((signal.SIGINT, "0"), (signal.SIGKILL, "1")):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "vitlab.cli", "train", *command], cwd=tmp_path, env=environment
        )
        while not (folder / job / "checkpoints" / "last.ckpt").exists():
            assert process.poll() is None, "it ended too early"
            time.sleep(0.02)
        process.send_signal(number)
        process.wait()
    assert run(tmp_path, *command).returncode == 0
    for before, now in zip(weights(tmp_path / "outputs" / "train" / "whole"), weights(folder), strict=True):
        assert all(torch.equal(value, now[name]) for name, value in before.items())
