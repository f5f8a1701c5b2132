"""Resolves host names to IPv4 addresses that the other machines can reach.

ps-lite takes a name to connect to, but binds to addresses alone, and lets each process choose among those of its
machine. So names are resolved here first.
"""
from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys

from common.errors import UserError

LOOPBACK = "127.0.0.1"
ELSEWHERE = "192.0.2.1"  # of the documentation network: its route is that to all other machines
SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface


def resolve(name: str, what: str) -> str:
    """The IPv4 address of `name`: the first that is not loopback's, where it has several.

    what: how a message names it, as in `DMLC_PS_ROOT_URI=node1`. UserError where it is not the address of a machine.
    """
    try:
        found = [item[4][0] for item in socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        if _has_ipv6(name):
            raise UserError(f"{what}: has an IPv6 address alone, and MXNet's parameter server speaks IPv4; write an "
                            "IPv4 address that the other machines reach it by") from None
        reason = getattr(error, "strerror", None) or "not the name of a machine"
        raise UserError(f"{what}: this machine knows no address of that name ({reason}); write the IPv4 address that "
                        "the other machines reach it by") from None
    address = next((item for item in found if not is_loopback(item)), found[0])
    number = ipaddress.IPv4Address(address)
    if number.is_multicast or number.is_unspecified or number.packed[0] in (0, 255):
        raise UserError(f"{what}: {address} is not the address of one machine; write the one that the others reach it "
                        "by")
    return address


def _has_ipv6(name: str) -> bool:
    with contextlib.suppress(OSError, UnicodeError):
        return bool(socket.getaddrinfo(name, None, socket.AF_INET6, socket.SOCK_STREAM))
    return False


def is_loopback(address: str) -> bool:
    """Whether `address`, numeric, is a loopback address."""
    return ipaddress.IPv4Address(address).is_loopback


def is_this_machine(name: str) -> bool:
    """Whether `name` is this machine: localhost, or its `hostname`, with or without the domain."""
    own = socket.gethostname()
    return name in ("localhost", LOOPBACK, own, own.partition(".")[0])


def own_address(towards: str = ELSEWHERE) -> str | None:
    """This machine's address on the route to `towards`; None without a route. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect((towards, 9))
        return probe.getsockname()[0]
    return None


def interface_address(interface: str) -> str | None:
    """The IPv4 address of a network interface such as eth0; None where it has none, or does not exist."""
    from fcntl import ioctl
    name = interface.encode("utf-8", "surrogateescape")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        if 0 < len(name) < 16:
            return socket.inet_ntoa(ioctl(probe, SIOCGIFADDR, struct.pack("256s", name))[20:24])
    return None


def address_for_others() -> str | None:
    """The address at which other machines can probably reach this one; None where it has only loopback's.

    That of the default route, else of the first interface that has one.
    """
    found = own_address()
    if found is None or is_loopback(found):
        each = (interface_address(name) for _, name in socket.if_nameindex())
        found = next((address for address in each if address and not is_loopback(address)), None)
    return found


def reserve(address: str, port: int) -> socket.socket:
    """A socket that reserves `port` of `address` (0: any free one) for ps-lite. OSError if it is in use.

    ps-lite's own socket may be bound as well, since both set SO_REUSEADDR and this one does not listen. Elsewhere than
    on Linux that does not hold, so there the port is only tested.
    """
    kept = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind((address, port))
    except OSError:
        kept.close()
        raise
    if sys.platform != "linux" and port:
        kept.close()
    return kept
