"""Images for the lab's registry: other versions of what runs, and each way in which one may not work."""

from __future__ import annotations

import functools

import labtools as lab

from resilience.credentials import members

SITE_PACKAGES = "/opt/neural/lib/python3.13/site-packages"
# Python runs a .pth file's line first in every process. The API ends before it was ready for as long as an update asks.
ENDS_SOON = (
    "import os, sys, threading; t = threading.Timer(8, os._exit, [3]); t.daemon = True; "
    'sys.orig_argv[-1] == "neural.api" and t.start()'
)
OTHER = "ENV NEURAL_TEST_VERSION={tag}"

# By image and tag: what is laid over the image that runs, as a Dockerfile's lines after FROM.
VERSIONS = {
    ("neural-dsl", "next"): OTHER,
    ("neural-dsl", "other"): OTHER,
    # Nothing in it can be started.
    ("neural-dsl", "broken"): "USER 0\nRUN rm /opt/neural/bin/python\nUSER 10006:10006",
    # It takes the settings, starts, and ends.
    ("neural-dsl", "dies"): f"USER 0\nRUN echo '{ENDS_SOON}' > {SITE_PACKAGES}/ends-soon.pth\nUSER 10006:10006",
    # It takes the settings, runs, and never answers a health check well.
    ("neural-dsl", "never-healthy"): (
        f'USER 0\nRUN sed -i \'s|"/ready"|"/never-ready"|\' {SITE_PACKAGES}/neural/api/main.py\nUSER 10006:10006'
    ),
    ("nginx", "next"): OTHER,
    ("haproxy", "next"): OTHER,
    ("etcd", "next"): OTHER,
    ("redis", "next"): OTHER,
    ("patroni", "next"): OTHER,
}
# By image: the group whose hosts run it, and how its containers' names begin.
RUNS = {
    "neural-dsl": ("neural_api", "neural-api-"),
    **{name: (name, f"neural-{name}") for name in ("nginx", "haproxy", "etcd", "redis", "patroni")},
}


# What the platform's own images are, by name: the fixture `versions` tells.
based_on: dict[str, str] = {}


@functools.cache
def registry() -> str:
    """Return the registry's name as hosts pull from it."""
    return f"{lab.address(members('registry')[0])}:5000"


@functools.cache
def reference(tag: str, name: str = "neural-dsl") -> str:
    """Return an image's reference; it is built and pushed when it is asked for first, on `based_on[name]`."""
    target = f"{registry()}/neural/{name}:{tag}"
    if (name, tag) in VERSIONS:
        push(target, f"FROM {based_on[name]}\n{VERSIONS[name, tag].replace('{tag}', tag)}\n")
    return target


def running(host: str, container: str = "neural-api-") -> str:
    """Return the image of the host's first container whose name begins so."""
    return lab.on(host, "docker", "ps", "--filter", f"name=^{container}", "--format", "{{.Image}}").split()[0]


def push(target: str, lines: str) -> None:
    """Build an image on the registry's host and push it, as its own build does."""
    script = f"docker build --quiet --tag {target} - && docker push --quiet {target}"
    host = members("registry")[0]
    lab.run("docker", "exec", "--interactive", f"{lab.PREFIX}-{host}", "sh", "-ec", script, input=lines)
