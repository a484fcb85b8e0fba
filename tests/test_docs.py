"""What is written runs, and says the defaults that the signatures have."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import edials
import edials.audit.scorers
import edials.baselines
import edials.datasets
from edials.audit.attackers.base import (
    ChoiceAttacker,
    ClassifierAttacker,
    LogisticAttacker,
    NaiveAttacker,
    PixelAttacker,
    ReverseAttacker,
    RoleAttacker,
)
from edials.audit.attackers.inversion import InversionAttacker
from edials.audit.attackers.pairs import PairAttacker
from edials.audit.disclosure import donor_matches, withheld_p_value
from edials.audit.inputs.files import file_findings
from edials.audit.scorers import ReleaseScorer
from edials.datasets import make_faces
from edials.images import ImageReader
from edials.metrics.leakage import calibrate
from edials.metrics.linear_attack import LatentAttacker
from edials.release.evasion import evade

ROOT = Path(edials.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PUBLIC = (edials, edials.audit, edials.audit.scorers, edials.baselines, edials.datasets)
DOCUMENTED = [
    *(getattr(edials, name) for name in edials.__all__),
    *(getattr(edials.audit, name) for name in edials.audit.__all__),
    *(make_faces, ImageReader, evade, calibrate, ReleaseScorer),
    *(LatentAttacker, LogisticAttacker, PixelAttacker, ClassifierAttacker, NaiveAttacker),
    *(RoleAttacker, ReverseAttacker, PairAttacker, InversionAttacker, ChoiceAttacker),
    *(file_findings, donor_matches, withheld_p_value),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_run(page, tmp_path, monkeypatch):
    """All Python blocks of a page, in order, in a namespace and folder of their own."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": page.name})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_public_name_has_its_place():
    """The page on the API has every public name, and each can be imported from where it says."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set()
    for module, names in re.findall(r"^\| `(edials[\w.]*)` \| (.*?) \|", page, flags=re.M):
        for name in re.findall(r"`(\w+)`", names):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"
            listed.add(name)
    assert {name for module in PUBLIC for name in getattr(module, "__all__", ())} <= listed


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda documented: documented.__name__)
def test_documented_defaults(documented):
    text = inspect.getdoc(documented)
    for name, parameter in inspect.signature(documented).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        found = re.search(rf"^([\w, ]+, )?{name}(, [\w, ]+)? : (.*)$", text, flags=re.M)
        if found is None and inspect.isclass(documented) and "Parameters" not in text:
            continue  # a record: its fields are attributes
        assert found, f"{name} is not documented"
        said = re.search(r"default=(.+)$", found[3])
        if parameter.default is parameter.empty:
            assert said is None, name
        elif said is None:
            assert parameter.default is None or "optional" in found[3], name
        else:
            value = said[1].strip()
            assert value == str(parameter.default).replace("'", '"') or value == (
                f'"{parameter.default}"'
            ), f"{name}: documented {value}, in truth {parameter.default!r}"
