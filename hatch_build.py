"""Compiles the scan when the package is built. Where no C compiler can, the package is pure Python, and slower."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("core/vectorcache/vectors/native")
FLAGS = ["-O3", "-std=gnu11", "-shared", "-fPIC", "-Wno-psabi"]


class NativeScan(BuildHookInterface):
    """Makes ``core/vectorcache/vectors/native/_scan.so`` from ``scan.c``, and puts it into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built, an editable one too."""
        source, library = Path(self.root) / FOLDER / "scan.c", Path(self.root) / FOLDER / "_scan.so"
        compiler = shlex.split(os.environ.get("CC") or "cc")
        made = library.with_suffix(f".{os.getpid()}")
        try:
            subprocess.run([*compiler, *FLAGS, "-o", str(made), str(source), "-lm"], check=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:  # no compiler, or one that is too old
            library.unlink(missing_ok=True)  # an older one may not be what this source's callers expect
            self.app.display_warning(f"the scan will be numpy's, not C's: {error}")
            return
        made.replace(library)  # processes that use the old one go on with it
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(str(FOLDER / "_scan.so"))
