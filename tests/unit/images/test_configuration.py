"""The image's configuration: what is in force, and the comments that explain it."""

from __future__ import annotations

import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from dockerfiles.sources.commands import DOCKERFILES

SCRIPT = DOCKERFILES / "orthanc/stage/patch-configuration"
WRITTEN = """\
{
  /**
   * General configuration of Orthanc: "Name" : "in a comment"
   **/
  "Name" : "MyOrthanc",
  // "IndexDirectory" : "OrthancStorage",
  "Plugins" : [
    // "one.so"
  ],
  "RemoteAccessAllowed" : false,
  /**
     "RegisteredUsers" : {
       // "alice" : "alicePassword"
     },
  **/
  "Nested" : {
    "Name" : "https://not.a.comment/"
  }
}
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("patch_configuration", str(SCRIPT))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_values_in_force_are_changed_and_comments_are_not(script: ModuleType) -> None:
    text = script.patched(
        WRITTEN, {"Name": "Orthanc", "Plugins": ["/a", "/b"], "RemoteAccessAllowed": True}
    )
    assert '  "Name" : "Orthanc",\n' in text
    assert '  "Plugins" : ["/a", "/b"],\n' in text
    assert '"Name" : "in a comment"' in text
    assert script.read(text)["Nested"] == {"Name": "https://not.a.comment/"}


def test_what_stood_in_a_comment_only_is_in_force_afterwards(script: ModuleType) -> None:
    users = {"orthanc": "orthanc"}
    text = script.patched(WRITTEN, {"RegisteredUsers": users, "IndexDirectory": "/db"})
    assert script.read(text)["RegisteredUsers"] == users
    assert script.read(text)["IndexDirectory"] == "/db"
    assert '// "alice" : "alicePassword"' in text


def test_patching_twice_is_patching_once(script: ModuleType) -> None:
    once = script.patched(WRITTEN, script.WANTED)
    assert script.patched(once, script.WANTED) == once


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{\n  "Name" : "a",\n  "Name" : "b"\n}', '{"Name" : "not on a line of its own"}'],
)
def test_a_file_that_is_not_as_expected_fails_the_build(
    script: ModuleType, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "orthanc.json"
    file.write_text(text)
    monkeypatch.setattr("sys.argv", ["patch-configuration", str(file)])
    assert script.main() == 1
    assert file.read_text() == text


def test_what_the_image_needs_is_what_the_images_of_2018_had(script: ModuleType) -> None:
    assert json.loads(json.dumps(script.WANTED)) == {
        "Name": "Orthanc",
        "StorageDirectory": "/var/lib/orthanc/db",
        "IndexDirectory": "/var/lib/orthanc/db",
        "Plugins": ["/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins"],
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"orthanc": "orthanc"},
    }
