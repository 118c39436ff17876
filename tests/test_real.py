"""The five commands on real photographs, through an S3 server: what scripts/real does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DATA = REPOSITORY.parent / "shared/data/missouri"


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not there: no real photographs")
def test_real_photographs_go_through_the_five_commands(tmp_path: Path) -> None:
    done = subprocess.run(
        [REPOSITORY / "scripts/real", DATA, tmp_path],
        env={**os.environ, "VENV": sys.prefix},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crops: 1,104, as expected" in done.stdout
