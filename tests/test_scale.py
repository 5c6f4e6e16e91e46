"""Recipes and the page about many processes: what is in them is understood by what reads it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser

from sagan import cli

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "docs" / "recipes"
PAGE = ROOT / "docs" / "scale.md"


def documents(name):
    return list(yaml.safe_load_all((RECIPES / name).read_text()))


def scripts():
    """Every piece of shell there is, by name."""
    sky, (_, job) = documents("skypilot.yaml")[0], documents("kubernetes.yaml")
    [container] = job["spec"]["template"]["spec"]["containers"]
    found = {"slurm": (RECIPES / "slurm.sh").read_text(), "page": ""}
    found |= {"skypilot": sky["run"], "skypilot setup": sky["setup"]}
    found["kubernetes"] = container["command"][-1]
    found["page"] = "\n".join(re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL))
    return found


SCRIPTS = scripts()
COMMANDS = [
    (name, re.sub(r"^exec ", "", line.strip()))
    for name, script in SCRIPTS.items()
    for line in script.replace("\\\n", " ").splitlines()
    if re.match(r"(exec )?([A-Z_]+=\S+ )*(torchrun|sagan) ", line.strip())
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_understands(name):
    found = subprocess.run(
        ["bash", "-n"], input=SCRIPTS[name], text=True, capture_output=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_every_recipe_trains():
    assert {name for name, _ in COMMANDS} == set(SCRIPTS) - {"skypilot setup"}


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_commands_are_those_of_torchrun_and_sagan(name, line):
    words = shlex.split(re.sub(r"\$\w+", "8", line))
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if words[0] == "torchrun":
        found = get_args_parser().parse_args(words[1:])
        assert found.module
        words = [found.training_script, *found.training_script_args]
    program, *arguments = words
    assert program == "sagan"
    cli.app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_without_two_dashes_torchrun_takes_our_flag_for_its_own():
    """If this fails, the dashes may be left out of every line."""
    with pytest.raises(SystemExit):
        get_args_parser().parse_args(["-m", "sagan", "train", "--run", "x"])


def test_slurm_requeues_what_was_stopped_and_saved():
    script = (RECIPES / "slurm.sh").read_text()
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", script, re.MULTILINE))
    assert asked["signal"].startswith("TERM@")
    assert "requeue" in asked
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    from sagan.errors import StoppedError

    assert f'"$code" -eq {StoppedError.exit_code} ]' in script


def test_pods_find_the_service_and_mount_what_there_is():
    service, job = documents("kubernetes.yaml")
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert service["metadata"]["name"] == pod["subdomain"] == job["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert {v["name"] for v in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    count = job["spec"]["completions"]
    assert job["spec"]["parallelism"] == count
    assert f"--nnodes {count} " in container["command"][-1]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}


def test_the_spot_job_keeps_its_run_outside_the_machine():
    [task] = documents("skypilot.yaml")
    assert task["resources"]["use_spot"]
    run = re.search(r"--run (\S+)", task["run"])[1]
    assert any(run.startswith(f"{place}/") for place in task["file_mounts"])
