"""Launches distributed training: `python -m training.launch -n 2 -- python train_softmax.py ...`."""
from __future__ import annotations

if __name__ == "__main__":  # before the other imports
    from common.interrupt import end_quietly
    end_quietly()

import argparse
import errno
import logging
import os
import random
import re
import shlex
import shutil
import socket

from common.cli import Parser, run, setup_logging
from common.errors import RunError, UserError
from common.settings import settings_as_flags
from training.cluster.addresses import reserve
from training.cluster.hosts import Host, reachable, read_hosts
from training.cluster.roles import plan
from training.cluster.supervise import supervise
from training.cluster.variables import DRAWN, PortTaken, check_numbers

log = logging.getLogger(__name__)

MOST_PROCESSES = 4096  # of a kind
DESCRIPTION = """Start MXNet's parameter server (a scheduler, -s servers, -n workers), each process with COMMAND.

  two workers on this machine, to try it:
    python -m training.launch -n 2 -- python train_softmax.py --kvstore dist_sync --devices cpu:0 ...
  two machines, a worker on each with all of its GPUs; code and data have the same paths on both:
    printf 'node1\\nnode2\\n' > hosts
    python -m training.launch -n 2 --hosts hosts -- python train_softmax.py --kvstore dist_sync ...

Every line of output is prefixed with its role. Worker 0, on the first host, writes the run folder. The first
role that fails ends all of them, and its exit status is this command's. Ctrl-C lets the workers finish their step and
save (exit status 130); a second one ends them at once. If this command is killed, the roles end as well."""

DRAWS = 5  # of a port for a scheduler on another machine
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15"


def build_parser() -> Parser:
    """The parser of this command."""
    parser = Parser(prog="python -m training.launch", description=DESCRIPTION,
                    usage="%(prog)s -n WORKERS [-s SERVERS] [--hosts FILE] [flags] -- COMMAND ...")
    parser.add_argument("-n", "--num-workers", type=int, required=True, metavar="WORKERS",
                        help="workers; each trains on its own part of every batch, on its own --devices")
    parser.add_argument("-s", "--num-servers", type=int, default=0, metavar="SERVERS",
                        help="servers, which sum gradients; default: one per host")
    parser.add_argument("--hosts", default="", metavar="FILE",
                        help="the machines, `NAME [slots=N] [address=A]` a line: NAME for ssh, slots the workers it "
                             "takes (1), address its IPv4 address for the others where not NAME's; default: this "
                             "one")
    parser.add_argument("--port", type=int, default=0, help="the scheduler's port; default: a free one")
    parser.add_argument("--ssh", default=SSH, metavar="COMMAND", help="remote shell command")
    parser.add_argument("--ssh-port", type=int, default=0, metavar="PORT",
                        help="the port of the hosts' ssh servers; default: ssh's")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                        help="a variable for every role (may be repeated); those of MXNet, OpenMP, CUDA and Python are "
                             "passed on anyway")
    parser.add_argument("--grace", type=float, default=120.0, metavar="SECONDS",
                        help="time for the workers to save after Ctrl-C")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: what each role runs")
    return parser


def main(argv: list[str]) -> int:
    """Parse the flags, start the roles and watch them; the exit status."""
    options = build_parser().parse_args(argv)
    with settings_as_flags(vars(options)):
        return launch(options)


def launch(options: argparse.Namespace) -> int:
    """Start the roles that the flags ask for and watch them; the exit status."""
    if options.num_workers < 1 or options.num_servers < 0:
        raise UserError("-n and -s: must be at least 1")
    if max(options.num_workers, options.num_servers) > MOST_PROCESSES:
        raise UserError(f"-n and -s: must be at most {MOST_PROCESSES}, a process each")
    if not 0 <= options.port < 65536:
        raise UserError(f"--port {options.port}: must be from 1 to 65535")
    if not options.command:
        raise UserError("no command: write it after --, as in -- python train_softmax.py --kvstore dist_sync ...")
    if not 0 <= options.ssh_port < 65536:
        raise UserError(f"--ssh-port {options.ssh_port}: must be from 1 to 65535")
    if not 0 <= options.grace < float("inf"):
        raise UserError(f"--grace {options.grace}: must be seconds, 0 or more")
    extra = dict(item.partition("=")[::2] for item in options.env)
    if not all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*=.*", item, re.DOTALL) for item in options.env):
        raise UserError(f"--env {' '.join(options.env)}: expected NAME=VALUE")
    check_numbers({**os.environ, **extra})
    hosts = reachable(read_hosts(options.hosts) if options.hosts else [Host(slots=options.num_workers)])
    ssh = parse_ssh(options.ssh) if any(host.name for host in hosts) else []
    ssh += ["-p", str(options.ssh_port)] if options.ssh_port else []
    setup_logging()
    left = DRAWS
    while True:
        left -= 1
        port, kept = choose_port(hosts[0], options.port)
        drawn = {} if options.port else {DRAWN: "1"}
        roles = plan(options.command, hosts, options.num_workers, options.num_servers or len(hosts), port, ssh,
                     {**drawn, **extra})
        try:
            return supervise(roles, options.grace)
        except PortTaken as error:
            if options.port or not left:
                raise RunError(str(error)) from None
            log.warning("[launch] port %d of %s is in use: trying another", port, hosts[0].written)
        finally:
            if kept:
                kept.close()


def parse_ssh(text: str) -> list[str]:
    """The words of --ssh. UserError where the first is not a command."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--ssh {text}: {error}") from None
    if not words or not shutil.which(words[0]):
        raise UserError(f"--ssh {text}: there is no such command on this machine")
    return words


def choose_port(host: Host, wanted: int) -> tuple[int, socket.socket | None]:
    """The scheduler's port, and on this machine a socket that reserves it. UserError if that fails.

    wanted: 0 for any: a free one on this machine, a random one for another.
    """
    if host.name:
        return wanted or random.SystemRandom().randrange(20000, 32000), None  # below the ephemeral ports
    try:
        kept = reserve(host.address, wanted)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--port {wanted}: taken at {host.address}; without --port a free one is found") from None
        if error.errno == errno.EACCES:
            raise UserError(f"--port {wanted}: ports below 1024 are the system administrator's; give another, or leave "
                            "it out to have a free one found") from None
        raise UserError(f"--hosts: {host.address} is not an address of this machine, {host.written} "
                        f"({error.strerror}); write what the others reach it by after address=") from None
    return kept.getsockname()[1], kept


if __name__ == "__main__":
    run(main, "training.launch")
