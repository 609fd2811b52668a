"""The long proofs, one after another: `make proof` prints their table and keeps it in benchmarks/proof.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime

from portal.demo.processes import ROOT

PYTEST = (sys.executable, "-m", "pytest", "-q")
RESULT = ROOT / "benchmarks" / "proof.json"
# name -> command; the last line that each prints is its figure.
PROOFS: dict[str, tuple[str, ...]] = {
    "guard of the expectations": (sys.executable, "-m", "tests.expectations.guard"),
    "kills": (*PYTEST, "tests/demo", "tests/crm/test_lake.py"),
    "kills of background processes": (sys.executable, "-m", "tests.process_kills"),
    "kills of deliveries": (sys.executable, "-m", "tests.delivery_kills"),
    "properties, new examples": (*PYTEST, "-m", "hypothesis", "--hypothesis-profile=search"),
    "races": (sys.executable, "-m", "benchmarks.races", "--minutes", "12"),
    "tampering": (
        *PYTEST,
        "tests/governance/test_database_refuses.py",
        "tests/runs/audit",
        "tests/runs/test_row_versions.py",
    ),
    "permission matrix": (*PYTEST, "tests/governance/test_permission_matrix.py", "tests/governance/test_side_doors.py"),
    "contract, locked Prefect": ("make", "--no-print-directory", "contract", "ARGS=-q"),
    "contract, Prefect 3.8.8": ("make", "--no-print-directory", "contract", "PREFECT=3.8.8", "ARGS=-q"),
    "sabotages": (sys.executable, "-m", "tests.sabotage"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help="the first letters of a proof; all by default")
    names = parser.parse_args().names
    rows = json.loads(RESULT.read_text())["proofs"] if RESULT.exists() else {}
    failed = False
    for name, command in PROOFS.items():
        if names and not name.startswith(tuple(names)):
            continue
        begun = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        if done.returncode:
            failed = True
            print("\n".join(lines[-40:]), done.stderr[-2000:], sep="\n", flush=True)
        rows[name] = {
            "held": done.returncode == 0,
            "seconds": round(time.monotonic() - begun),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "figure": lines[-1] if lines else "",
        }
        row = rows[name]
        print(f"{'held' if row['held'] else 'FAILED':<7} {row['seconds']:>5} s  {name}: {row['figure']}", flush=True)
        RESULT.write_text(json.dumps({"proofs": rows}, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
