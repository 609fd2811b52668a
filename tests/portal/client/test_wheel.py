"""The distribution: it is built and used without Django, Prefect or anything of the portal."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "portal" / "client"
PROGRAM = """
import sys
sys.path[:] = [each for each in sys.path if "site-packages" not in each] + sys.argv[1:]
import portal_client
from portal_client.command_line import main
portal_client.Portal("https://portal.example.com", "portal_x").close()
assert not {"django", "prefect", "pydantic", "portal", "runs", "flows"} & set(sys.modules), sorted(sys.modules)
sys.argv = ["portal", "completion", "bash"]
sys.exit(main(["completion", "bash"]))
"""


def requirements(name: str, found: set[str]) -> set[str]:
    """Return a distribution and what it requires, without extras."""
    if name not in found:
        found.add(name)
        for line in metadata.requires(name) or ():
            if "extra ==" not in line and "python_version <" not in line and "platform_system ==" not in line:
                requirements(re.split(r"[^A-Za-z0-9._-]", line)[0], found)
    return found


def link_requirements(folder: Path) -> None:
    """Put links to what the client declares into a folder, and to nothing else that is installed here."""
    folder.mkdir()
    for name in requirements("httpx", requirements("rich", set())):
        tops = {file.parts[0] for file in metadata.files(name) or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            (folder / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))


def test_the_wheel_works_with_what_it_declares(tmp_path: Path) -> None:
    copy = tmp_path / "client"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=copy, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("portal_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
        names = set(archive.namelist())
    assert {f"portal_client/{path.name}" for path in SOURCE.glob("*.py")} | {"portal_client/py.typed"} <= names
    link_requirements(tmp_path / "required")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, tmp_path / "unpacked", tmp_path / "required"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "complete -F _portal portal" in ended.stdout


def test_in_the_repository_it_loads_neither_django_nor_prefect() -> None:
    program = "import portal.client.command_line, sys; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=SOURCE.parents[1], capture_output=True, text=True, check=True
    )
    assert not {"django", "prefect", "runs", "flows", "portal.settings"} & set(ended.stdout.split())
