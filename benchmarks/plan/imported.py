"""The code with which this process began, which is what it has imported.

A file that is edited later is on disk what nobody here runs: numbers made now must not be called
those of the code that is there then.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.plan.syntax import PACKAGES, Code, module_name

_CHECKOUT = Path(__file__).resolve().parents[2]


def _texts() -> dict[str, str]:
    """Source texts of this checkout by dotted name."""
    files = [path for package in PACKAGES for path in (_CHECKOUT / package).rglob("*.py")]
    return {
        module_name(path, _CHECKOUT): path.read_text(encoding="utf-8", errors="replace")
        for path in files
    }


_AT_START = _texts()


class _Begun(Code):
    """The modules as they were when this process began."""

    def names(self, package: str) -> list[str]:
        return [n for n in _AT_START if n == package or n.startswith(f"{package}.")]

    def _text(self, name: str) -> str | None:
        return _AT_START.get(name)


def code_at_start(root: Path) -> Code:
    """The code of a checkout when this process began.

    Args:
        root: the checkout, or a folder with links to its code. Of another checkout, of which
            nothing is imported here, it is the code that is there now.
    """
    ours = (root / PACKAGES[0]).resolve() == _CHECKOUT / PACKAGES[0]
    return _Begun(root) if ours else Code(root)
