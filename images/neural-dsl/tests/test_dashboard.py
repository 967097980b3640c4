"""The package's own dashboard, as it is served behind a proxy's path."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest


@pytest.fixture(scope="module")
def client() -> Any:
    """A client of the dashboard's WSGI application; Dash reads the path when it is imported."""
    os.environ["DASH_URL_BASE_PATHNAME"] = "/dashboard/"
    from neural.api import dashboard

    return dashboard.application().test_client()


def test_page_layout_and_callbacks(client: Any) -> None:
    page = client.get("/dashboard/")
    assert page.status_code == 200
    assert "/dashboard/_dash-component-suites/" in page.text
    layout = client.get("/dashboard/_dash-layout")
    assert "NeuralDbg" in json.dumps(layout.json)
    assert client.get("/").status_code == 404
    body = {
        "output": "computation-timeline.figure",
        "outputs": {"id": "computation-timeline", "property": "figure"},
        "inputs": [{"id": "interval_component", "property": "n_intervals", "value": 1}],
        "changedPropIds": ["interval_component.n_intervals"],
    }
    answer = client.post("/dashboard/_dash-update-component", json=body)
    assert answer.status_code == 200
    assert answer.json["response"]["computation-timeline"]["figure"]["data"]


def test_scripts_are_in_the_image(client: Any) -> None:
    scripts = re.findall(r'src="(/dashboard/[^"]+)"', client.get("/dashboard/").text)
    assert len(scripts) > 5
    assert {client.get(script).status_code for script in scripts} == {200}
