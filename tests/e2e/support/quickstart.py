"""The quick start, as examples/quickstart/run.sh has it, and the way back."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from tests.e2e.support.kubectl import ROOT, Failed, run
from tests.e2e.support.settings import Settings

FOLDER = Path("examples/quickstart")
CRD = "vectorcaches.vectorcache.io"


def script(settings: Settings) -> Path:
    """The quick start's script: the one that users run, unless namespaces have a prefix or Azurite another image."""
    if not settings.prefix and settings.azurite_image == Settings.azurite_image:
        return ROOT / FOLDER / "run.sh"
    copy = ROOT / settings.results / "quickstart"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / FOLDER, copy / "quickstart")
    azurite = copy / "quickstart" / "azurite.yaml"
    azurite.write_text(azurite.read_text().replace(Settings.azurite_image, settings.azurite_image))
    text = (ROOT / FOLDER / "run.sh").read_text().replace('$(dirname "$0")/../..', str(ROOT))
    text = text.replace(str(FOLDER), str(copy / "quickstart"))
    if settings.prefix:
        watched = ",".join((settings.words, settings.other, settings.many))
        text = text.replace("vectorcache-system", settings.system)
        text = text.replace("--namespace words", f"--namespace {settings.words}")
        text = text.replace("create namespace words", f"create namespace {settings.words}")
        text = text.replace("--wait", f"--wait --set crds.create=false --set watchNamespaces={{{watched}}}")
    changed = copy / "run.sh"
    changed.write_text(text)
    changed.chmod(0o755)
    return changed


def install(settings: Settings) -> str:
    """Run the quick start; returns what it printed."""
    if settings.prefix:  # namespaces that are watched must be there before the operator
        for namespace in (settings.other, settings.many):
            run("kubectl", "create", "namespace", namespace)
        shown = script(settings)
        text = shown.read_text()
        first = f"kubectl create namespace {settings.words}\n"
        shown.write_text(text.replace(first, "").replace("\nhelm ", f"\n{first}helm "))
        return run(shown, seconds=400)
    printed = run(script(settings), seconds=400)
    for namespace in (settings.other, settings.many):
        run("kubectl", "create", "namespace", namespace)
    return printed


def installed(settings: Settings) -> bool:
    """Whether it has run before."""
    return bool(run("helm", "list", "--namespace", settings.system, "--short").strip())


def remove(settings: Settings) -> None:
    """Remove whatever is left; nothing happens where there is nothing."""
    with suppress(Failed):
        run("helm", "uninstall", "vectorcache", "--namespace", settings.system, "--wait", seconds=90)
    namespaces = (settings.words, settings.other, settings.many, settings.system)
    run("kubectl", "delete", "namespace", "--ignore-not-found", "--timeout=120s", *namespaces, seconds=150)
    if not settings.shared:
        run("kubectl", "delete", "customresourcedefinition", CRD, "--ignore-not-found")
