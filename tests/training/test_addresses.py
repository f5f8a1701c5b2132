"""Names of machines become the addresses that the others reach them by, or one line that says what to write."""
import os
import socket
import sys
from unittest import mock

import pytest

from common.errors import UserError
from training.cluster import addresses, hosts, variables
from training.cluster.addresses import interface_address, own_address, reserve, resolve
from training.cluster.hosts import Host, reachable

OUTSIDE = "10.7.0.9"  # how the other machines of these tests reach this one


@pytest.fixture
def names(monkeypatch):
    """A machine called box in a small world: its own name is an address of loopback, as on many systems."""
    known = {"localhost": ["127.0.0.1"], "box": ["127.0.1.1"], "node2": ["10.7.0.2"], "node3": ["10.7.0.3"],
             "both": ["127.0.1.1", "10.7.0.4"], "alpha": ["127.0.0.2"], "beta": ["127.0.0.3"], "any": ["0.0.0.0"],
             "group": ["224.0.0.1"]}

    def getaddrinfo(host, port, family=0, kind=0):
        if host == "six":
            if family == socket.AF_INET6:
                return [(family, kind, 0, "", ("fe80::1", 0, 0, 0))]
            raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        if all(part.isdigit() for part in host.split(".")):
            return [(family, kind, 0, "", (host, 0))]
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, kind, 0, "", (address, 0)) for address in known[host]]
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    for module in (hosts, variables):
        monkeypatch.setattr(module, "own_address", lambda towards: OUTSIDE)
    monkeypatch.setattr(variables, "address_for_others", lambda: OUTSIDE)
    monkeypatch.setattr(variables, "reserve", lambda address, port: socket.socket())
    return known


@pytest.mark.parametrize("name, address", [("localhost", "127.0.0.1"), ("node2", "10.7.0.2"), ("both", "10.7.0.4"),
                                           ("10.1.2.3", "10.1.2.3")])
def test_a_name_is_the_address_that_others_reach(names, name, address):
    assert resolve(name, "X") == address


@pytest.mark.parametrize("name, words", [
    ("six", "IPv6 address alone"), ("nowhere", "Name or service not known"), ("any", "0.0.0.0 is not the address"),
    ("group", "224.0.0.1 is not"), ("255.255.255.255", "is not the address")])
def test_a_name_that_is_not_an_address_of_a_machine(names, name, words):
    with pytest.raises(UserError, match=f"^DMLC_PS_ROOT_URI=x: .*{words}"):
        resolve(name, "DMLC_PS_ROOT_URI=x")


@pytest.mark.parametrize("name", ["a" * 70, "a..b", "*", "tcp://node", "node:9000", "::1", "no such", "\udcff"])
def test_what_is_not_a_name_at_all(name):
    with pytest.raises(UserError, match="^X: ") as caught:
        resolve(name, "X")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("lines, expected", [
    ("localhost slots=2", "127.0.0.1"), ("box slots=2", "127.0.0.1"), ("node2 slots=2", "127.0.0.1"),
    ("box\nnode2", f"{OUTSIDE} 10.7.0.2"), ("node2\nbox", f"10.7.0.2 {OUTSIDE}"), ("both\nnode2", "10.7.0.4 10.7.0.2"),
    ("alpha\nbeta", "127.0.0.2 127.0.0.3"), ("box address=10.7.0.5\nnode2", "10.7.0.5 10.7.0.2"),
    ("bob@node2\nnode3", "10.7.0.2 10.7.0.3"),
    ("node2 address=node3\nbox address=10.7.0.1", "10.7.0.3 10.7.0.1"), ("box address=node2", "10.7.0.2")])
def test_hosts_get_the_addresses_that_they_reach_each_other_by(names, tmp_path, lines, expected):
    (tmp_path / "hosts").write_text(lines)
    assert [host.address for host in reachable(hosts.read_hosts(str(tmp_path / "hosts")))] == expected.split()


@pytest.mark.parametrize("lines, words", [
    ("node2\nnowhere", "`hosts`: nowhere: .*Name or service not known.*as in `nowhere address="),
    ("six\nnode2", "`hosts`: six: has an IPv6 address alone"),
    ("node2 address=nowhere\nnode3", "`hosts`: node2 address=nowhere: "),
    ("node2\nnode3 address=127.0.0.1", "node3 address=127.0.0.1: 127.0.0.1 is reached from that machine alone")])
def test_hosts_that_others_cannot_reach_are_named_with_a_remedy(names, tmp_path, lines, words):
    (tmp_path / "hosts").write_text(lines)
    with pytest.raises(UserError, match=words) as caught:
        reachable(hosts.read_hosts(str(tmp_path / "hosts")))
    assert len(str(caught.value).splitlines()) == 1


def test_this_machine_where_no_way_leads_to_the_others(names, monkeypatch):
    monkeypatch.setattr(hosts, "own_address", lambda towards: None)
    with pytest.raises(UserError, match="box: 127.0.1.1 is reached from that machine alone, not from 10.7.0.2"):
        reachable([Host(written="box"), Host("node2", written="node2")])


@pytest.fixture
def environment():
    """prepare() with these variables of a role; what it makes of them."""
    def prepared(role="worker", **given):
        values = {"DMLC_ROLE": role, "DMLC_PS_ROOT_PORT": "9000", "DMLC_NUM_SERVER": "1", "DMLC_NUM_WORKER": "2",
                  **given}
        for name in (*variables.NEEDED, *variables.WHOLE_NUMBERS, "DMLC_NODE_HOST", "DMLC_INTERFACE", "DMLC_ROLE",
                     "DMLC_PS_VAN_TYPE", "PORT", variables.DRAWN):
            os.environ.pop(name, None)
        os.environ.update(values)
        kept = variables.prepare()
        if kept:
            kept.close()
        return dict(os.environ)
    with mock.patch.dict(os.environ):
        yield prepared


@pytest.mark.parametrize("root, node, expected_root, expected_node", [
    ("127.0.0.1", "", "127.0.0.1", "127.0.0.1"), ("localhost", "", "127.0.0.1", "127.0.0.1"),
    ("127.0.0.1", "10.7.0.9", "127.0.0.1", "127.0.0.1"), ("alpha", "beta", "127.0.0.2", "127.0.0.3"),
    ("node2", "", "10.7.0.2", OUTSIDE), ("node2", "box", "10.7.0.2", OUTSIDE), ("box", "", OUTSIDE, OUTSIDE),
    ("node2", "node3", "10.7.0.2", "10.7.0.3"), ("node2", "localhost", "10.7.0.2", OUTSIDE)])
def test_a_role_started_by_hand_listens_where_the_others_look_and_else_at_loopback(
        names, environment, root, node, expected_root, expected_node):
    for interface in ("", "eth7" if root in ("127.0.0.1", "localhost") else ""):
        got = environment(DMLC_PS_ROOT_URI=root, DMLC_NODE_HOST=node, DMLC_INTERFACE=interface, PORT="8080")
        assert (got["DMLC_PS_ROOT_URI"], got["DMLC_NODE_HOST"]) == (expected_root, expected_node)
        assert got["PS_HEARTBEAT_INTERVAL"] == "1" and "PORT" not in got
    assert environment("scheduler", DMLC_PS_ROOT_URI=root)["DMLC_PS_ROOT_URI"] == expected_root


def test_a_scheduler_at_loopback_never_listens_everywhere(names, environment):
    assert environment("scheduler", DMLC_PS_ROOT_URI="localhost", DMLC_USE_KUBERNETES="1")["DMLC_USE_KUBERNETES"] == "0"


@pytest.mark.parametrize("given, words", [
    ({"DMLC_PS_ROOT_URI": "nowhere"}, "DMLC_PS_ROOT_URI=nowhere: "), ({"DMLC_PS_ROOT_URI": "six"}, "IPv6"),
    ({"DMLC_NODE_HOST": "nowhere"}, "DMLC_NODE_HOST=nowhere: "),
    ({"DMLC_INTERFACE": "eth77"}, "DMLC_INTERFACE=eth77: .*there are .*lo"),
    ({"PS_HEARTBEAT_INTERVAL": "0.5"}, "PS_HEARTBEAT_INTERVAL=0.5: must be a whole number from 1"),
    ({"PS_HEARTBEAT_INTERVAL": "0"}, "PS_HEARTBEAT_INTERVAL=0"), ({"PS_HEARTBEAT_TIMEOUT": "1m"}, "TIMEOUT=1m"),
    ({"PS_HEARTBEAT_TIMEOUT": "²"}, "PS_HEARTBEAT_TIMEOUT"), ({"PS_VERBOSE": "yes"}, "PS_VERBOSE=yes"),
    ({"PS_RESEND": "-1"}, "PS_RESEND=-1"), ({"PS_RESEND_TIMEOUT": "9e9"}, "PS_RESEND_TIMEOUT"),
    ({"PS_DROP_MSG": "100"}, "PS_DROP_MSG=100"), ({"DMLC_LOCAL": "x"}, "DMLC_LOCAL=x"),
    ({"DMLC_PS_ROOT_PORT": "65536"}, "DMLC_PS_ROOT_PORT=65536"), ({"DMLC_NUM_WORKER": "²"}, "DMLC_NUM_WORKER"),
    ({"DMLC_NUM_SERVER": "0"}, "DMLC_NUM_SERVER=0"), ({"DMLC_WORKER_ID": "one"}, "DMLC_WORKER_ID=one"),
    ({"DMLC_PS_VAN_TYPE": "ibverbs"}, "DMLC_PS_VAN_TYPE=ibverbs")])
def test_a_variable_that_cannot_be_is_named(names, environment, given, words):
    with pytest.raises(UserError, match=words) as caught:
        environment(**{"DMLC_PS_ROOT_URI": "node2", **given})
    assert len(str(caught.value).splitlines()) == 1


def test_an_empty_variable_counts_as_not_set(names, environment):
    got = environment(DMLC_PS_ROOT_URI="node2", PS_HEARTBEAT_INTERVAL="", PS_HEARTBEAT_TIMEOUT="", DMLC_LOCAL="")
    assert got["PS_HEARTBEAT_INTERVAL"] == "1" and "PS_HEARTBEAT_TIMEOUT" not in got and "DMLC_LOCAL" not in got


def test_an_address_of_another_machine_is_reported_before_anything_begins(environment):
    for given in ({"role": "scheduler", "DMLC_PS_ROOT_URI": "192.0.2.7"},
                  {"DMLC_PS_ROOT_URI": "192.0.2.7", "DMLC_NODE_HOST": "192.0.2.8"}):
        with pytest.raises(UserError, match="192.0.2.[78] is not an address of this machine"):
            environment(**given)


def test_a_port_in_use(environment):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        given = {"role": "scheduler", "DMLC_PS_ROOT_URI": "localhost", "DMLC_PS_ROOT_PORT": str(other.getsockname()[1])}
        with pytest.raises(UserError, match="DMLC_PS_ROOT_PORT=[0-9]*: the port is taken at 127.0.0.1"):
            environment(**given)
        with pytest.raises(variables.PortTaken):
            environment(**given, **{variables.DRAWN: "1"})


@pytest.mark.skipif(sys.platform != "linux", reason="where else a port is not kept")
def test_a_reserved_port_is_ps_lites_alone():
    with reserve("127.0.0.1", 0) as kept:
        port = kept.getsockname()[1]
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(("127.0.0.1", port))
        with socket.socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind(("127.0.0.1", port))
            own.listen()


def test_this_machines_own_addresses(monkeypatch):
    assert interface_address("lo") == "127.0.0.1" and own_address("127.0.0.1") == "127.0.0.1"
    assert interface_address("none7") is None and interface_address("x" * 40) is None and interface_address("") is None
    monkeypatch.setattr(addresses, "own_address", lambda: None)
    monkeypatch.setattr(addresses.socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth1"), (3, "eth2")])
    monkeypatch.setattr(addresses, "interface_address",
                        {"lo": "127.0.0.1", "eth1": None, "eth2": "10.7.0.9"}.get)
    assert addresses.address_for_others() == "10.7.0.9"
