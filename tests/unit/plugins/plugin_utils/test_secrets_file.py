"""Editing the file of an inventory's secrets, and the API's keys in it."""

from __future__ import annotations

import pytest
from ansible_collections.neural.platform.plugins.plugin_utils.secrets_file import (
    SecretsFileError,
    edited,
    owner_of,
    rotated_keys,
    values,
)

TEXT = """---
# Made by playbooks/secrets.yml, which adds what is missing and keeps what is there.
neural_redis_password: OldOldOld   # not for everybody
neural_ca_key: |
  -----BEGIN PRIVATE KEY-----
  abc

  def
  -----END PRIVATE KEY-----

# of two owners
neural_api_keys:
  - alice:first
  - bob:second
neural_db_password: 'x'
"""


def test_one_value_is_replaced_and_the_rest_stays() -> None:
    made = edited(TEXT, {"neural_redis_password": "New"})
    assert made == TEXT.replace("OldOldOld   # not for everybody", '"New"')


def test_a_new_name_comes_last_and_goes_again() -> None:
    made = edited(TEXT, {"neural_redis_password_next": "New"})
    assert made == TEXT + 'neural_redis_password_next: "New"\n'
    assert edited(made, {"neural_redis_password_next": None}) == TEXT


def test_several_changes_at_once() -> None:
    begun = edited(TEXT, {"neural_db_password_next": "y"})
    changes = {"neural_db_password": "y", "neural_db_password_previous": "x", "neural_db_password_next": None}
    found = values(edited(begun, changes))
    assert (found["neural_db_password"], found["neural_db_password_previous"]) == ("y", "x")
    assert "neural_db_password_next" not in found


def test_lists_and_texts_of_several_lines() -> None:
    made = edited(TEXT, {"neural_api_keys": ["alice:third", "alice:first"], "neural_ca_key": "-----\nnew\n\n-----\n"})
    assert values(made)["neural_api_keys"] == ["alice:third", "alice:first"]
    assert values(made)["neural_ca_key"].split() == ["-----", "new", "-----"]
    assert "# of two owners\nneural_api_keys:\n" in made


def test_a_list_without_an_indent_is_one_value() -> None:
    made = edited("a: 1\nb:\n- x\n- y\nc: 2\n", {"b": ["z"]})
    assert made == 'a: 1\nb:\n  - "z"\nc: 2\n'


def test_a_new_file_and_a_name_without_a_value() -> None:
    assert edited("", {"a": "b"}) == '---\na: "b"\n'
    assert edited("---\na:\nb: c\n", {"a": "x"}) == '---\na: "x"\nb: c\n'


def test_what_ansible_encrypted_stays() -> None:
    text = "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nb: c\n"
    assert edited(text, {"b": "d"}) == text.replace("b: c", 'b: "d"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\n", "not YAML"),
        ("- a\n", "names and values"),
        ("b: 1\nb: 2\n", "b is there twice"),
        ("{b: 1}\n", "cannot be edited|not YAML"),
        ("a: &x 1\nb: [1,\n2]\n", "cannot be edited|not YAML"),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, words: str) -> None:
    with pytest.raises(SecretsFileError, match=words):
        edited(text, {"b": "2"})


def test_a_new_key_comes_before_the_present_one_of_its_owner() -> None:
    keys = ["alice:first", "bob:second"]
    assert rotated_keys(keys, "new", "bob") == (["alice:first", "bob:new", "bob:second"], "")
    assert rotated_keys(["bob:new", "bob:second"], "third", "bob") == (["bob:new", "bob:second"], "")
    assert rotated_keys(["alice:first", "bob:new", "bob:second"], "", "bob", True) == (["alice:first", "bob:new"], "")
    assert rotated_keys(keys, "", "bob", True) == (keys, "")


def test_a_key_without_a_name_keeps_its_owner() -> None:
    owner = owner_of("only")
    assert rotated_keys(["only"], "new") == ([f"{owner}:new", "only"], "")
    assert owner_of(f"{owner}:new") == owner
    assert rotated_keys([f"{owner}:new", "only"], "", retire=True) == ([f"{owner}:new"], "")


@pytest.mark.parametrize("owner", ["", "carol"])
def test_whose_key_it_is_has_to_be_said(owner: str) -> None:
    keys = ["alice:first", "bob:second"]
    found, problem = rotated_keys(keys, "new", owner)
    assert found == keys
    assert "expected is one of alice, bob" in problem
