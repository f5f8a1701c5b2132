"""Placement of MXNet's parameter-server processes, each a command with environment variables.

A role is started through a few lines of shell, the same on this machine and through ssh. The shell owns the process
group: a signal's name on its standard input is sent to the group, and the end of that input (the launcher has exited,
for any reason) ends the group.
"""
from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from common.errors import UserError
from training.cluster.hosts import Host

PASSED_ON = ("MXNET_", "DMLC_", "PS_", "OMP_", "NCCL_", "CUDA_", "PYTHON", "LD_LIBRARY_PATH", "FACES_")
LAST_SECONDS = 5  # from SIGTERM to SIGKILL after the launcher has exited

# Signals go to the whole group, so the shell itself and the reader must survive them.
GROUP = ("trap : INT TERM HUP; exec 3<&0 </dev/null; "
         "(trap '' INT TERM HUP; while read -r name; do kill -$name 0; done; "
         f"kill -TERM 0; sleep {LAST_SECONDS}; kill -KILL 0) <&3 >/dev/null 2>&1 & reader=$!; exec 3<&-; "
         "{command}; status=$?; trap '' TERM; kill -KILL $reader; kill -TERM 0; exit $status")


@dataclass(frozen=True)
class Role:
    """kind: scheduler, server or worker; argv: what to start here."""

    kind: str
    number: int
    host: str
    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        """The prefix of each line of output."""
        return self.kind if self.kind == "scheduler" else f"{self.kind} {self.number}"

    @property
    def place(self) -> str:
        """` on HOST`, or nothing for this machine."""
        return f" on {self.host}" if self.host else ""


def plan(command: list[str], hosts: list[Host], workers: int, servers: int, port: int, ssh: list[str],
         extra: dict[str, str]) -> list[Role]:
    """The roles to start, scheduler first.

    Workers fill the slots in the order of the hosts, whose addresses are numeric; servers are placed round-robin; the
    scheduler is on the first host. extra: variables of `env`. UserError where there are more workers than slots.
    """
    places = [host for host in hosts for _ in range(host.slots)]
    if workers > len(places):
        raise UserError(f"-n {workers}: the hosts have {len(places)} slot{'s' * (len(places) != 1)}; name more hosts, "
                        "or more slots as in `node1 slots=2`")
    common = {"DMLC_PS_ROOT_URI": hosts[0].address, "DMLC_PS_ROOT_PORT": str(port),
              "DMLC_NUM_WORKER": str(workers), "DMLC_NUM_SERVER": str(servers), "PYTHONUNBUFFERED": "1"}
    wanted = [("scheduler", 0, hosts[0])]
    wanted += [("server", number, hosts[number % len(hosts)]) for number in range(servers)]
    wanted += [("worker", number, places[number]) for number in range(workers)]
    roles = []
    for kind, number, host in wanted:
        own = {**common, "DMLC_ROLE": kind, "DMLC_NODE_HOST": host.address}
        if kind == "worker":
            own["DMLC_WORKER_ID"] = str(number)
        sharing = places[:workers].count(host)
        roles.append(Role(kind, number, host.name, tuple(_argv(command, host, {**own, **extra}, sharing, ssh))))
    return roles


def _argv(command: list[str], host: Host, variables: dict[str, str], sharing: int, ssh: list[str]) -> list[str]:
    if host.name:
        variables = {**{name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}, **variables}
    # DMLC_RANK of an enclosing run would be used as the rank of this one.
    lines = ["unset DMLC_RANK"] + [f"export {name}={shlex.quote(value)}" for name, value in variables.items()
                                   if name != "DMLC_RANK"]
    if sharing > 1:  # workers of one machine share its cores: more threads than cores would slow all of them down
        lines.append(f"[ -n \"$OMP_NUM_THREADS\" ] || {{ n=$(( $(nproc) / {sharing} )); "
                     "export OMP_NUM_THREADS=$(( n > 1 ? n : 1 )); }")
    if host.name:
        lines.append(f"cd {shlex.quote(os.getcwd())} || exit 1")
    script = "; ".join([*lines, GROUP.replace("{command}", " ".join(map(shlex.quote, command)))])
    return [*ssh, host.name, f"exec sh -c {shlex.quote(script)}"] if host.name else ["sh", "-c", script]
