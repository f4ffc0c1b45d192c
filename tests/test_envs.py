import ast
import importlib.metadata
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
CONDA = runpy.run_path(str(ENVS / "conda.py"))

# Where an import is not called as its distribution.
DISTRIBUTION = {"yaml": "pyyaml"}

# What nothing here imports and something else loads by its name: transformers for NF4 weights and 8-bit optimisers,
# Snakemake for `executor: slurm`.
BY_NAME = {"bitsandbytes", "snakemake-executor-plugin-slurm"}


def locked(name: str) -> dict[str, str]:
    """The versions of a lock by package, checked to be exact."""
    versions = {}
    for pin in CONDA["pins"]((ENVS / name).read_text(encoding="utf-8")):
        if pin.startswith("-r "):
            versions |= locked(pin.removeprefix("-r "))
            continue
        requirement = Requirement(pin)
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert "*" not in specifier.version
        assert "+" not in specifier.version, f"{pin}: a local version is on no public index"
        package = canonicalize_name(requirement.name)
        assert package not in versions, f"{name}: {package} is pinned twice"
        versions[package] = specifier.version
    return versions


def direct(name: str) -> dict[str, str]:
    """The pins of a lock that come with a reason."""
    text = (ENVS / name).read_text(encoding="utf-8")
    head = text.partition("# -- what these need")[0]
    pins = [line for line in head.splitlines() if "==" in line]
    for line in pins:
        assert "  # " in line, f"{name}: say why {line} is needed"
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1].split()[0] for line in pins}


def imports() -> set[str]:
    """The distributions that src/ and workflow/ import."""
    modules = set()
    for file in (ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")):
        modules |= set(re.findall(r"^ *(?:from|import) (\w+)", file.read_text(encoding="utf-8"), flags=re.M))
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                modules.add(node.module.split(".")[0])
    own = {path.name for path in (ROOT / "src").iterdir()}
    return {
        canonicalize_name(DISTRIBUTION.get(module, module)) for module in modules - set(sys.stdlib_module_names) - own
    }


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_conda_environment_is_in_step_with_its_lock(name):
    written = (ENVS / f"{name}.yaml").read_text(encoding="utf-8")
    assert written == CONDA["conda_yaml"](name), "run: python envs/conda.py"
    inline = yaml.safe_load(written)["dependencies"][-1]["pip"]
    assert not [pin for pin in inline if pin.startswith("-")]


def test_gpu_lock_is_the_cpu_lock_and_the_cuda_packages():
    cpu, gpu = locked("cpu.txt"), locked("gpu.txt")
    assert cpu.items() <= gpu.items()
    assert {name.split("-")[0] for name in gpu.keys() - cpu.keys()} == {"cuda", "nvidia", "triton"}


def test_vllm_has_a_lock_of_its_own_with_our_way_of_packing_weights():
    vllm, gpu = locked("vllm.txt"), locked("gpu.txt")
    assert direct("vllm.txt").keys() == {"vllm", "vllm-bnb-plugin", "bitsandbytes"}
    assert vllm["bitsandbytes"] == gpu["bitsandbytes"]
    # Where these become the same, it may live in the same environment.
    assert vllm["torch"] != gpu["torch"]


def test_each_import_is_pinned_with_a_reason():
    missing = imports() - direct("cpu.txt").keys()
    assert not missing, f"envs/cpu.txt: pin {sorted(missing)} directly"


def dependencies() -> dict[str, Requirement]:
    """What pyproject.toml says that the package depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        canonicalize_name(requirement.name): requirement for requirement in map(Requirement, project["dependencies"])
    }


def test_dependencies_are_what_is_used():
    assert dependencies().keys() == imports() | BY_NAME


def test_each_dependency_has_a_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, requirement in dependencies().items():
        assert re.search(rf'^    "{re.escape(str(requirement))}",  # \w', text, re.M), f"say why {name} is needed"


def test_each_dependency_is_pinned_within_its_range():
    pinned = direct("cpu.txt")
    for name, requirement in dependencies().items():
        assert name in pinned, f"envs/cpu.txt: {name} is a dependency in pyproject.toml but not pinned directly"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} does not allow the pinned {pinned[name]}"


@pytest.mark.parametrize("name", ["cpu.txt", "dev.txt"])
def test_lock_is_complete(name):
    """What each installed package of the lock requires is in the lock too."""
    versions = locked(name)
    for package in versions:
        try:
            requirements = importlib.metadata.requires(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # types only, or not on this platform
        for requirement in map(Requirement, requirements):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            # A CUDA build of torch may be installed; its lock is gpu.txt.
            needed = canonicalize_name(requirement.name)
            if not needed.startswith(("nvidia-", "cuda-", "triton")):
                assert needed in versions, f"envs/{name}: {package} requires {requirement}"
                assert requirement.specifier.contains(versions[needed], prereleases=True), f"{package}: {requirement}"
