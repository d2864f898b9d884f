"""Fail when a plain install brings more than it may; run by the Python of an environment that holds nothing else."""

import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

MAX_PACKAGES = 12
MAX_MEGABYTES = 25.0

site_packages = Path(sysconfig.get_path("purelib"))
packages = sorted({f"{found.name} {found.version}" for found in distributions(path=[str(site_packages)])})
ours = [name for name in packages if name.startswith("miniagents ")]
brought = [name for name in packages if name not in ours]
megabytes = sum(file.stat().st_size for file in site_packages.rglob("*") if file.is_file()) / 1e6

print(f"{ours[0]} brings {len(brought)} packages, {megabytes:.1f} MB together: {', '.join(brought)}")
pages = site_packages / "miniagents" / "_docs"
if not (pages / "README.md").is_file() or not list((pages / "docs").glob("*.md")):
    sys.exit(f"the documentation is missing in the wheel: {pages}")
if len(brought) > MAX_PACKAGES:
    sys.exit(f"a plain install may bring at most {MAX_PACKAGES} packages")
if megabytes > MAX_MEGABYTES:
    sys.exit(f"a plain install may take at most {MAX_MEGABYTES} MB")
