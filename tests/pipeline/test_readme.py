"""The documented example method, taken from the page, passes the contract suite."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_documented_method_passes_the_contract(tmp_path: Path) -> None:
    text = (ROOT / "methods/README.md").read_text()
    name = re.search(r"Save this as `methods/(\w+)\.py`", text)
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert name and code
    for folder in ("benchmarks", "methods", "datasets", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("pyproject.toml", "params.yaml"):
        shutil.copy(ROOT / file, tmp_path)
    target = tmp_path / "methods" / f"{name[1]}.py"
    assert not target.exists()
    target.write_text(code[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/contract", "-k", name[1], "-p", "no:xdist"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d{2,} passed", done.stdout)


def test_landing_page_is_short_and_its_links_lead_somewhere() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180
    for page in ("README.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("*/README.md"))):
        text = (ROOT / page).read_text()
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        local = [link for link in links if "://" not in link]
        missing = [link for link in local if not (ROOT / page).parent.joinpath(link).exists()]
        assert missing == [], page
