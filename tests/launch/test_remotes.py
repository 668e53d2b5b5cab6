"""`dvc push` and `dvc pull`, with a folder and with an S3 server on loopback, for a colleague.

`make launch` runs this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.launch.test_cluster import tables
from tests.pipeline.test_pipeline import METHODS, PARAMS, _commit, _repro, clone_of_files

pytestmark = pytest.mark.launch
_KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "us-east-1"}


def call(folder: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, **_KEYS},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose benchmark is done and committed."""
    trained = tmp_path_factory.mktemp("trained")
    clone_of_files(trained)
    (trained / "params.yaml").write_text(
        yaml.safe_dump({**PARAMS, "grid": {**PARAMS["grid"], "methods": METHODS[:2]}})  # type: ignore[dict-item]
    )
    _repro(trained, "report")
    return trained


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Address of a remote, and the options that it needs."""
    if request.param == "folder":
        yield str(tmp_path / "remote"), []
        return
    server = pytest.importorskip(
        "moto.server", reason="`python -m pip install 'moto[server]' '.[s3]'` brings it"
    )
    pytest.importorskip("dvc_s3", reason="`python -m pip install '.[s3]'` brings it")
    import boto3

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        address = "http://{}:{}".format(*running.get_host_and_port())
        with pytest.MonkeyPatch.context() as patch:
            for key, value in _KEYS.items():
                patch.setenv(key, value)
            boto3.client("s3", endpoint_url=address).create_bucket(Bucket="lab")
        yield "s3://lab/bench", ["endpointurl", address]
    finally:
        running.stop()


def test_a_colleague_makes_the_tables_without_training(
    finished: Path, remote: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, options = remote
    call(finished, "dvc", "remote", "add", "--force", "--default", "lab", address)
    if options:
        call(finished, "dvc", "remote", "modify", "lab", *options)
    _commit(finished)
    call(finished, "dvc", "push", "dvc.yaml")

    colleague = tmp_path / "colleague"
    subprocess.run(["git", "clone", "-q", str(finished), str(colleague)], check=True)
    expected = tables(colleague)
    assert expected and not (colleague / "runs").exists()
    call(colleague, "dvc", "pull", "dvc.yaml")
    runs = sorted(colleague.glob("runs/quick/*/*/l*/last.safetensors"))
    assert len(runs) == 4
    for run in runs:
        assert run.read_bytes() == (finished / run.relative_to(colleague)).read_bytes()
    if not options:  # without a target, presets that nobody has run are missed
        assert "runs/acdc_cpu" in call(colleague, "dvc", "pull", code=1)
    subprocess.run(["git", "rm", "-rq", "reports/quick"], cwd=colleague, check=True)
    call(colleague, "benchmarks", "report")
    assert tables(colleague) == expected
