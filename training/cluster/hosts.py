"""The machines of a hosts file, and the addresses at which they reach each other."""
from __future__ import annotations

import re
from dataclasses import dataclass, replace

from common.errors import UserError
from common.files import open_regular
from common.text_files import decode_text
from training.cluster.addresses import LOOPBACK, is_loopback, is_this_machine, own_address, resolve

LARGEST = 1 << 20  # bytes of a hosts file


@dataclass(frozen=True)
class Host:
    """A machine: its name for ssh (empty: this one), its slots for workers, its address for the others.

    address: as it was written, or nothing, until `reachable` has made an IPv4 address of it. written: the name that
    is in the file, without a user for ssh.
    """

    name: str = ""
    slots: int = 1
    address: str = ""
    written: str = "localhost"


def read_hosts(path: str) -> list[Host]:
    """The machines of a hosts file: `NAME [slots=N] [address=A]` a line, `#` begins a comment.

    NAME is what ssh takes; address its address for the other machines, where different. UserError, naming the line, for
    anything else.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(LARGEST + 1)
        lines = decode_text(content).splitlines()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or ("no text" if isinstance(error, UnicodeError) else error)
        raise UserError(f"`hosts` {path}: cannot be read ({why})") from None
    if len(content) > LARGEST:
        raise UserError(f"`hosts` {path}: larger than {LARGEST} bytes, so it is not a list of hosts")
    hosts = []
    for number, line in enumerate(lines, 1):
        name, *settings = line.partition("#")[0].split() or [""]
        if name:
            hosts.append(_host(name, settings, f"`hosts` {path}, line {number}"))
    if not hosts:
        raise UserError(f"`hosts` {path}: names no host; write one a line, as in `node1 slots=2`")
    if len(hosts) > 1 and any(host.written in ("localhost", LOOPBACK) and host.address in ("", "localhost", LOOPBACK)
                              for host in hosts):
        raise UserError(f"`hosts` {path}: the other hosts cannot reach localhost; write this machine's own name")
    return hosts


def _host(name: str, settings: list[str], where: str) -> Host:
    values = dict(item.partition("=")[::2] for item in settings)
    slots, given = values.pop("slots", "1"), "address" in values
    address = values.pop("address", "")
    if (values or not (name + address).isprintable() or name.startswith("-") or (given and not address)
            or not re.fullmatch("0*[1-9][0-9]{0,3}", slots)):
        raise UserError(f"{where}: expected NAME [slots=N] [address=A], as in `node1 slots=2`")
    return Host("" if is_this_machine(name) else name, int(slots), address, name.rpartition("@")[2])


def reachable(hosts: list[Host]) -> list[Host]:
    """The `hosts` with IPv4 addresses, found here: names may resolve differently, or to loopback, at each of them.

    A single host gets the loopback address, which no other machine can reach. UserError for a name without an address,
    or with one that the others cannot reach.
    """
    if len(hosts) == 1 and not hosts[0].address:
        return [replace(hosts[0], address=LOOPBACK)]
    addresses = [_resolved(host) for host in hosts]
    outside = next((address for address in addresses if not is_loopback(address)), None)
    if outside:
        addresses = [_for_others(host, address, outside) if is_loopback(address) else address
                     for host, address in zip(hosts, addresses)]
    return [replace(host, address=address) for host, address in zip(hosts, addresses)]


def _resolved(host: Host) -> str:
    try:
        return resolve(host.address or host.written, "`hosts`: " + _described(host))
    except UserError as error:
        raise UserError(f"{error}, as in `{host.written} address=10.0.0.1`") from None


def _for_others(host: Host, address: str, outside: str) -> str:
    """This machine's address for the others: `host` is this machine, since its `address` is loopback's."""
    own = None if host.address else own_address(outside)
    if own is None or is_loopback(own):
        raise UserError(f"`hosts`: {_described(host)}: {address} is reached from that machine alone, not from "
                        f"{outside}; write what the others reach it by, as in `{host.written} address=10.0.0.1`")
    return own


def _described(host: Host) -> str:
    return f"{host.written} address={host.address}" if host.address else host.written
