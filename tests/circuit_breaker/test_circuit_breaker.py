"""The circuit breaker and the limits of the API's instances, in a real HAProxy with the role's own configuration."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from circuit_breaker.stage import Host, Stage, wait_for

LIMIT, SECONDS = 5, 3
TWO_ON_APP1 = ["app1/slot1", "app1/slot2", "app2/slot1", "app3/slot1"]
# The breaker looks every 50 ms; this is long after.
AT_ONCE = 1.5


def fail(host: Host, stage: Stage, count: int) -> None:
    """Have the host's instance answer so many requests in a row with 500, and the next ones well."""
    instance = stage.instances[f"{host.name}/slot1"]
    instance.status = 500
    assert [(answer.status, answer.instance) for answer in host.requests(count)] == [(500, instance.name)] * count
    instance.status = 200


def eject(host: Host, stage: Stage) -> float:
    """Have the host's instance ejected; return when that was."""
    fail(host, stage, LIMIT)
    wait_for(host.ejected, AT_ONCE, f"{host.name} ejects its instance")
    return time.monotonic()


class Clients:
    """Clients that ask every host all the time, each with one request at a time."""

    def __init__(self, stage: Stage) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(host,)) for host in stage.hosts.values()]

    def _ask(self, host: Host) -> None:
        while not self._over.is_set():
            host.request()

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


# --- counting -------------------------------------------------------------------------------------------------


def test_four_errors_do_nothing(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    fail(app1, stage, LIMIT - 1)
    time.sleep(AT_ONCE)
    assert not stage.ejected()
    assert app1.request().instance == "app1/slot1"


def test_five_errors_eject_and_other_hosts_take_the_requests(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    eject(app1, stage)
    assert app1.server()["status"].startswith("ejected by the circuit breaker, back in ")
    served = stage.instances["app1/slot1"].served
    answers = [*app1.requests(5), app1.request("POST")]
    assert {answer.status for answer in answers} == {200}
    assert {answer.instance for answer in answers} <= {"app2/slot1", "app3/slot1"}
    assert stage.instances["app1/slot1"].served == served


def test_a_good_answer_in_between_begins_anew(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    for _time in range(3):
        fail(app1, stage, LIMIT - 1)
        assert app1.request().status == 200
    time.sleep(AT_ONCE)
    assert not stage.ejected()


def test_it_is_back_after_its_time_and_the_count_begins_at_zero(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    ejected_at = eject(app1, stage)
    wait_for(lambda: not app1.ejected(), SECONDS + 2, "it is back")
    assert SECONDS - 0.5 <= time.monotonic() - ejected_at <= SECONDS + 0.5
    fail(app1, stage, LIMIT - 1)
    time.sleep(AT_ONCE)
    assert not stage.ejected()
    assert app1.request().instance == "app1/slot1"


def test_what_haproxy_answers_itself_does_not_count(stage: Stage) -> None:
    app1, instance = stage.hosts["app1"], stage.instances["app1/slot1"]
    stage.gone("app2")
    stage.gone("app3")
    instance.stop()
    assert {answer.status for answer in app1.requests(2 * LIMIT)} == {503}
    instance.start()
    wait_for(lambda: app1.server()["up"], 5, "the instance is up")
    assert not app1.ejected()
    assert app1.request().instance == instance.name


@pytest.mark.platform(haproxy_breaker_errors=0)
def test_it_can_be_switched_off(stage: Stage) -> None:
    fail(stage.hosts["app1"], stage, 3 * LIMIT)
    time.sleep(AT_ONCE)
    assert not stage.ejected()


# --- at most half ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "most",
    [
        pytest.param(1, id="three instances on three hosts"),
        pytest.param(2, id="four", marks=pytest.mark.platform(TWO_ON_APP1)),
    ],
)
def test_at_most_half_are_ejected_when_all_fail(stage: Stage, most: int) -> None:
    for instance in stage.instances.values():
        instance.status = 500
    seen = []
    with Clients(stage):
        begin = time.monotonic()
        while time.monotonic() - begin < 3 * SECONDS:
            seen.append(stage.ejected())
    assert max(map(len, seen)) == most, seen
    for instance in stage.instances.values():
        instance.status = 200
    for host in stage.hosts.values():
        # A good answer ends what would become an ejection.
        host.requests(6)
    wait_for(lambda: not stage.ejected(), SECONDS + 2, "all are back")
    time.sleep(AT_ONCE)
    assert not stage.ejected()


def test_of_one_instance_none_is_ejected(stage: Stage) -> None:
    stage.gone("app2")
    stage.gone("app3")
    fail(stage.hosts["app1"], stage, 3 * LIMIT)
    time.sleep(AT_ONCE)
    assert not stage.ejected()


def test_two_instances_are_left_one_may_be_ejected(stage: Stage) -> None:
    stage.gone("app3")
    stage.instances["app1/slot1"].status = 500
    with Clients(Stage({"app1": stage.hosts["app1"]}, {})):
        # The host that is gone is asked, too, and waited for.
        wait_for(stage.hosts["app1"].ejected, 5, "app1 ejects its instance")


@pytest.mark.platform(haproxy_breaker_time=60)
def test_it_gives_way_when_the_others_go(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    eject(app1, stage)
    stage.gone("app2")
    time.sleep(3)
    assert app1.ejected(), "of two instances one may be"
    stage.gone("app3")
    wait_for(lambda: not app1.ejected(), 10, "it is back, as it is the only one")
    assert app1.request().instance == "app1/slot1"


# --- operators ------------------------------------------------------------------------------------------------


def test_what_an_operator_drains_is_no_instance_and_stays_drained(stage: Stage) -> None:
    for name in ("app2", "app3"):
        stage.hosts[name].tell("set server api/slot1 state drain")
    fail(stage.hosts["app1"], stage, 3 * LIMIT)
    time.sleep(AT_ONCE)
    assert not stage.ejected()
    assert [stage.hosts[name].row()["status"] for name in ("app2", "app3")] == ["DRAIN", "DRAIN"]


def test_an_ejected_one_that_is_drained_stays_drained(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    eject(app1, stage)
    app1.tell("set server api/slot1 state drain")
    wait_for(lambda: not app1.ejected(), AT_ONCE, "the ejection is over: it is the operator's")
    time.sleep(SECONDS + 1)
    assert app1.row()["status"] == "DRAIN"
    assert app1.request().instance != "app1/slot1"
    app1.tell("set server api/slot1 state ready")
    wait_for(lambda: app1.request().instance == "app1/slot1", AT_ONCE, "it gets requests again")


def test_another_instance_in_the_slot_begins_anew(stage: Stage) -> None:
    app1, instance = stage.hosts["app1"], stage.instances["app1/slot1"]
    eject(app1, stage)
    instance.stop()
    wait_for(lambda: app1.row()["status"] == "DOWN", 5, "it is down")
    wait_for(lambda: not app1.ejected(), AT_ONCE, "the ejection is over")
    instance.start()
    wait_for(lambda: app1.server()["up"], 5, "it is up")
    assert app1.request().instance == instance.name


# --- reload, restart ------------------------------------------------------------------------------------------


@pytest.mark.platform(haproxy_breaker_time=60)
@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_new_process_begins_with_every_instance(stage: Stage, how: str) -> None:
    app1 = stage.hosts["app1"]
    eject(app1, stage)
    if how == "reload":
        app1.reload()
    else:
        app1.stop()
        app1.start()
    wait_for(lambda: app1.row()["uweight"] == "1" and app1.server()["up"], 5, "it has its weight")
    assert not app1.ejected()
    assert app1.request().instance == "app1/slot1"


def test_a_drain_lasts_over_a_reload(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    app1.tell("set server api/slot1 state drain")
    app1.reload()
    time.sleep(AT_ONCE)
    assert app1.row()["status"] == "DRAIN"


# --- limits ---------------------------------------------------------------------------------------------------


@pytest.mark.platform(haproxy_breaker_connections=4, haproxy_breaker_queue=2)
def test_what_is_beyond_goes_to_other_hosts(stage: Stage) -> None:
    for instance in stage.instances.values():
        instance.delay = 1
    answers = stage.hosts["app1"].requests_at_once(15)
    assert {answer.status for answer in answers} == {200}
    assert stage.instances["app1/slot1"].most == 4
    assert {answer.instance for answer in answers} > {"app1/slot1"}


@pytest.mark.platform(haproxy_breaker_connections=4, haproxy_breaker_queue=2)
def test_what_is_beyond_all_hosts_is_refused_at_once(stage: Stage) -> None:
    stage.gone("app2")
    stage.gone("app3")
    stage.instances["app1/slot1"].delay = 2
    answers = stage.hosts["app1"].requests_at_once(20)
    good = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    assert len(good) + len(refused) == 20
    assert stage.instances["app1/slot1"].most == 4
    # Four are served and two wait; two threads of HAProxy's may let one more in at the same moment.
    assert 6 <= len(good) <= 8
    assert {answer.headers.get("retry-after") for answer in refused} == {"1"}


@pytest.mark.platform(["app1/slot1", "app1/canary1"], haproxy_breaker_connections=4, haproxy_breaker_queue=2)
def test_a_canary_has_room_where_the_others_are_full(stage: Stage) -> None:
    app1 = stage.hosts["app1"]
    for host in ("app2", "app3"):
        wait_for(lambda host=host: app1.row(host, "api_peers")["status"] == "DOWN", 20, f"{host} has no instance")
    stage.instances["app1/slot1"].delay = 3
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(app1.request) for _number in range(6)]
        wait_for(lambda: app1.row()["qcur"] == "2", 2, "two requests wait")
        assert app1.request().status == 503
        assert app1.request(headers={"X-Neural-Canary": "1"}).instance == "app1/canary1"
        assert {request.result().status for request in waiting} == {200}


@pytest.mark.platform([], haproxy_breaker_time=30)
def test_what_a_host_hands_over_is_not_handed_on(stage: Stage) -> None:
    assert stage.hosts["app1"].request(headers={"X-Neural-Peer": "app2"}).status == 503
    configuration = stage.hosts["app1"].configuration
    assert "maxconn 100 maxqueue 50" in configuration
    assert "circuit_breaker.lua 5 30 50 " in configuration
