"""The tag changes when, and only when, what is built changes."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.neural.platform.plugins.filter.image_context import FilterModule as ContextModule
from ansible_collections.neural.platform.plugins.filter.image_tag import FilterModule
from ansible_collections.neural.platform.plugins.plugin_utils import images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("base", "etcd"):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "Dockerfile").write_text("FROM scratch\n")
        (tmp_path / name / "etc" / "settings").write_text(f"name = {name}\n")
    return tmp_path


def tag(name: str, folder: Path) -> str:
    images.image_tag.cache_clear()
    return images.image_tag(name, folder)


def test_tag_is_short_and_stable(folder: Path) -> None:
    assert tag("etcd", folder) == tag("etcd", folder)
    assert len(tag("etcd", folder)) == 12
    assert int(tag("etcd", folder), 16) >= 0
    assert tag("etcd", folder) != tag("base", folder)


def change_content(folder: Path) -> None:
    (folder / "etc" / "settings").write_text("other\n")


def change_name(folder: Path) -> None:
    (folder / "etc" / "settings").rename(folder / "settings")


def add_file(folder: Path) -> None:
    (folder / "empty").touch()


def make_executable(folder: Path) -> None:
    (folder / "etc" / "settings").chmod(0o755)


@pytest.mark.parametrize("change", [change_content, change_name, add_file, make_executable])
@pytest.mark.parametrize("where", ["etcd", "base"])
def test_tag_follows_the_folder_and_the_base(folder: Path, change: object, where: str) -> None:
    assert callable(change)
    before = {name: tag(name, folder) for name in ("base", "etcd")}
    change(folder / where)
    assert tag("etcd", folder) != before["etcd"]
    assert (tag("base", folder) != before["base"]) == (where == "base")


@pytest.mark.parametrize("path", ["tests/test_x.py", "etc/__pycache__/x.py", "etc/x.pyc", ".cache/x", ".hidden"])
def test_what_is_not_built_does_not_count(folder: Path, path: str) -> None:
    before = tag("etcd", folder)
    (folder / "etcd" / path).parent.mkdir(exist_ok=True)
    (folder / "etcd" / path).write_text("x\n")
    assert tag("etcd", folder) == before


def test_only_the_right_of_the_owner_to_execute_counts(folder: Path) -> None:
    before = tag("etcd", folder)
    (folder / "etcd" / "Dockerfile").chmod(0o600)
    assert tag("etcd", folder) == before


def test_context_holds_the_files_that_the_tag_counts(folder: Path) -> None:
    (folder / "etcd" / "run").write_text("#!/bin/sh\n")
    (folder / "etcd" / "run").chmod(0o700)
    (folder / "etcd" / "tests").mkdir()
    (folder / "etcd" / "tests" / "test_x.py").touch()
    packed = base64.b64decode(images.image_context("etcd", folder))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert {entry.name: entry.mode for entry in archive} == {
            "Dockerfile": 0o644,
            "etc/settings": 0o644,
            "run": 0o755,
        }
        settings = archive.extractfile("etc/settings")
        assert settings is not None
        assert settings.read() == b"name = etcd\n"


def test_every_image_of_the_collection_has_a_tag() -> None:
    names = sorted(path.parent.name for path in images.IMAGES.glob("*/Dockerfile"))
    tags = [FilterModule().filters()["image_tag"](name) for name in names]
    assert "base" in names
    assert len(set(tags)) == len(names)


@pytest.mark.parametrize("module", [FilterModule, ContextModule])
def test_unknown_image_is_named(module: type[FilterModule] | type[ContextModule]) -> None:
    (unpack,) = module().filters().values()
    with pytest.raises(AnsibleFilterError, match="no image 'etdc': expected one of base, etcd"):
        unpack("etdc")
