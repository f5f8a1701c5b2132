"""Validates and completes the environment variables of a process of distributed training.

ps-lite parses invalid numbers as 0, and for other errors aborts with a C++ message or waits forever.
"""
from __future__ import annotations

import errno
import logging
import os
import re
import socket
from typing import Mapping

from common.errors import RunError, UserError
from training.cluster.addresses import (
    LOOPBACK,
    address_for_others,
    interface_address,
    is_loopback,
    is_this_machine,
    own_address,
    reserve,
    resolve,
)

log = logging.getLogger(__name__)
NEEDED = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_SERVER", "DMLC_NUM_WORKER")
WHOLE_NUMBERS = {  # smallest and largest value of each
    "DMLC_PS_ROOT_PORT": (1, 65535), "DMLC_NUM_SERVER": (1, 9999), "DMLC_NUM_WORKER": (1, 9999),
    "DMLC_WORKER_ID": (0, 9998), "DMLC_LOCAL": (0, 1), "DMLC_USE_KUBERNETES": (0, 1),
    "DMLC_PS_WATER_MARK": (1, 2 ** 31 - 1), "PS_HEARTBEAT_INTERVAL": (1, 3600), "PS_HEARTBEAT_TIMEOUT": (1, 10 ** 6),
    "PS_VERBOSE": (0, 9), "PS_RESEND": (0, 1),
    "PS_RESEND_TIMEOUT": (1, 10 ** 6), "PS_DROP_MSG": (0, 99)}
DRAWN = "FACES_PORT_DRAWN"  # the launcher chose the scheduler's port at random, and chooses another where it is in use
TAKEN = 75  # the exit status of a scheduler whose randomly chosen port is in use


class PortTaken(RunError):
    """The port that the launcher chose for the scheduler is in use."""

    exit_status = TAKEN


def check_numbers(environment: Mapping[str, str]) -> None:
    """UserError where a variable of ps-lite is not a valid number. An empty one counts as not set."""
    for name, (least, most) in WHOLE_NUMBERS.items():
        text = environment.get(name, "")
        if text and not (re.fullmatch("[0-9]{1,10}", text) and least <= int(text) <= most):
            raise UserError(f"{name}={text}: must be a whole number from {least} to {most}")
    if environment.get("DMLC_PS_VAN_TYPE", "") not in ("", "zmq"):
        raise UserError(f"DMLC_PS_VAN_TYPE={environment['DMLC_PS_VAN_TYPE']}: MXNet has only zmq; leave it unset")


def prepare() -> socket.socket | None:
    """Make the environment valid for ps-lite: numbers checked, names resolved, heartbeats switched on.

    The return value of a scheduler reserves its port until it is closed. UserError for invalid values.
    """
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise UserError(f"`kvstore` dist_sync: {', '.join(missing)} not set; start this command with python -m "
                        "training.launch (see its --help)")
    check_numbers(os.environ)
    for name in WHOLE_NUMBERS:
        if not os.environ.get(name, "x"):
            del os.environ[name]
    os.environ.setdefault("PS_HEARTBEAT_INTERVAL", "1")
    os.environ.pop("PORT", None)  # ps-lite would use the port that is meant for some other program
    root = _root_address()
    os.environ["DMLC_PS_ROOT_URI"] = root
    if os.environ.get("DMLC_ROLE") == "scheduler":
        return _keep_port(root)
    os.environ["DMLC_NODE_HOST"] = _node_address(root)
    return None


def _root_address() -> str:
    """The scheduler's address, as the other processes reach it."""
    name = os.environ["DMLC_PS_ROOT_URI"]
    root = resolve(name, f"DMLC_PS_ROOT_URI={name}")
    # On many systems a machine's own name resolves to loopback, which other machines would resolve to themselves.
    if is_loopback(root) and is_this_machine(name) and name not in ("localhost", root):
        root = address_for_others() or root
    return root


def _keep_port(root: str) -> socket.socket:
    port = int(os.environ["DMLC_PS_ROOT_PORT"])
    everywhere = os.environ.get("DMLC_USE_KUBERNETES") == "1" and not is_loopback(root)
    if not everywhere:
        os.environ["DMLC_USE_KUBERNETES"] = "0"  # it would listen on all addresses
    try:
        return reserve("" if everywhere else root, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise UserError(f"DMLC_PS_ROOT_URI: {root} is not an address of this machine, where the scheduler is to "
                            f"run ({error.strerror})") from None
        if os.environ.get(DRAWN):
            raise PortTaken(f"port {port} of {root} is taken") from None
        raise UserError(f"DMLC_PS_ROOT_PORT={port}: the port is taken at {root}; another one is needed") from None


def _node_address(root: str) -> str:
    """This process's address for the others: DMLC_NODE_HOST, else that of DMLC_INTERFACE, else that of the route to
    root.

    Where the scheduler listens on loopback all processes are on this machine, and so does this one.
    """
    name, interface = os.environ.get("DMLC_NODE_HOST", ""), os.environ.get("DMLC_INTERFACE", "")
    address = resolve(name, f"DMLC_NODE_HOST={name}") if name else None
    if is_loopback(root):
        if address and not is_loopback(address):
            log.warning("DMLC_NODE_HOST=%s: %s is used instead, since DMLC_PS_ROOT_URI is local to this machine", name,
                        LOOPBACK)
        return address if address and is_loopback(address) else LOOPBACK
    if not address and interface:
        address = interface_address(interface)
        if not address:
            raise UserError(f"DMLC_INTERFACE={interface}: no network interface of this machine that has an IPv4 "
                            f"address; there are {', '.join(name for _, name in socket.if_nameindex())}")
    if not address or is_loopback(address):
        address = own_address(root)
        if not address:
            raise UserError(f"DMLC_PS_ROOT_URI: no way leads from this machine to the scheduler's address {root}")
    try:
        reserve(address, 0).close()
    except OSError as error:
        raise UserError(f"DMLC_NODE_HOST={name}: {address} is not an address of this machine ({error.strerror}); write "
                        "one that is, and that the other machines reach") from None
    return address
