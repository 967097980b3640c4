"""Versions of the application for the lab's registry: one that works, and each way in which one may not."""

from __future__ import annotations

import functools

import labtools as lab

from resilience.credentials import members

REPOSITORY = "neural/neural-dsl"
SITE_PACKAGES = "/opt/neural/lib/python3.13/site-packages"
# Python runs it first in every process. It ends before an instance was ready for as long as an update asks.
ENDS_SOON = "import os, threading; t = threading.Timer(8, os._exit, [3]); t.daemon = True; t.start()"

# By tag: what is laid over the image that runs. A Dockerfile's lines after FROM.
VERSIONS = {
    "next": "ENV NEURAL_TEST_VERSION=next",
    "after": "ENV NEURAL_TEST_VERSION=after",
    # Nothing in it can be started.
    "broken": "USER 0\nRUN rm /opt/neural/bin/python\nUSER 10006:10006",
    # It takes the settings, starts, and ends.
    "dies": f"USER 0\nRUN echo '{ENDS_SOON}' > {SITE_PACKAGES}/sitecustomize.py\nUSER 10006:10006",
    # It takes the settings, runs, and never answers a health check well.
    "never-healthy": (
        f'USER 0\nRUN sed -i \'s|"/ready"|"/never-ready"|\' {SITE_PACKAGES}/neural/api/main.py\nUSER 10006:10006'
    ),
}


@functools.cache
def registry() -> str:
    """Return the registry's name as hosts pull from it."""
    return f"{lab.address(members('registry')[0])}:5000"


def reference(tag: str) -> str:
    return f"{registry()}/{REPOSITORY}:{tag}"


def running(host: str) -> str:
    """Return the image of a host's API."""
    return lab.on(host, "docker", "ps", "--filter", "label=neural.service=api", "--format", "{{.Image}}").split()[0]


def push(tag: str, base: str) -> None:
    """Build a version on the registry's host and push it, as its own build does."""
    host = members("registry")[0]
    script = f"docker build --quiet --tag {reference(tag)} - && docker push --quiet {reference(tag)}"
    lab.run(
        "docker",
        "exec",
        "--interactive",
        f"{lab.PREFIX}-{host}",
        "sh",
        "-ec",
        script,
        input=f"FROM {base}\n{VERSIONS[tag]}\n",
    )
