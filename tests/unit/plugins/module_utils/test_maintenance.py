# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json

import pytest
from ansible_collections.neural.platform.plugins.module_utils.maintenance import described, refusal

MARKER = json.dumps({"since": "2026-01-31T12:00:00Z", "who": "alice", "controller": "admin1"})


def test_no_host_is_in_maintenance() -> None:
    assert refusal({"app1": "", "app2": "\n"}, "") == ""


def test_a_run_is_refused_by_a_sentence() -> None:
    sentence = refusal({"app1": "", "app2": MARKER}, "")
    assert sentence.startswith("Host app2 is in maintenance since 2026-01-31T12:00:00Z, by alice on admin1")
    assert "-e host=app2 -e state=end" in sentence
    assert sentence.endswith("Nothing was touched.")


def test_the_host_itself_is_let_through_and_no_other() -> None:
    assert refusal({"app2": MARKER}, "app2") == ""
    assert "Host app2" in refusal({"app1": "", "app2": MARKER}, "app1")


@pytest.mark.parametrize("text", ["{", "[]", "null", "{}", '{"since": null}', '{"who": ["x"]}'])
def test_a_file_that_says_nothing_refuses_all_the_same(text: str) -> None:
    assert "an unknown time" in described(text)
    assert "Host app1" in refusal({"app1": text}, "")


def test_no_terminal_is_moved() -> None:
    assert "\x1b" not in described(json.dumps({"who": "\x1b[2J", "since": "x", "controller": "y"}))
