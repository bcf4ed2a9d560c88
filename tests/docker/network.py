"""Cuts and slows what containers say to each other: packet filters and delaying proxies in their network namespaces.

Both ends of a cut get rules, so that it holds also when one of them is started anew, which takes its own rules away.
A link is slowed by a proxy and not by `tc netem`, which many kernels lack.
"""

import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

from tests.docker.docker_cli import ClusterError, run

PROXY = pathlib.Path(__file__).with_name("slow_link.py")
MARK = 0x4B  # of the proxies' own packets, which are not sent to a proxy again
INSTALL = """
iptables-restore --wait --noflush
jump() { iptables --wait -t $1 -C $2 -j KOSHEL-$2 2>/dev/null || iptables --wait -t $1 -I $2 -j KOSHEL-$2; }
jump filter INPUT
jump filter OUTPUT
jump nat OUTPUT
"""


class Host(NamedTuple):
    pid: int  # of a process in it; 0 while it is down
    addresses: dict  # of its networks


class Network:
    """`look()`: {name: Host} of now."""

    def __init__(self, look):
        self.look = look
        self.deaf = set()  # (a, b): what a sends does not reach b
        self.slow = {}  # (a, b): milliseconds, each way, of connections that a opens to b
        self.proxies = []
        self.filtered = set()  # hosts that have rules

    def cut(self, *pairs):
        self.cut_one_way(*pairs, *((b, a) for a, b in pairs))

    def cut_one_way(self, *pairs):
        self.deaf.update(pairs)
        self.apply()

    def slow_down(self, a, b, delay_ms):
        self.slow[a, b] = delay_ms
        self.apply()

    def heal(self):
        self.deaf, self.slow = set(), {}
        self.apply()

    def apply(self):
        """Makes it so; again after a host was started, for that changes addresses and takes rules away."""
        ends = {host for pair in (*self.deaf, *self.slow) for host in pair}
        if not ends | self.filtered:
            return
        self.stop_proxies()
        hosts = self.look()
        for name in ends | self.filtered:
            if hosts[name].pid:
                self._filter(name, hosts)
        self.filtered = ends

    def stop_proxies(self):
        for proxy in self.proxies:
            proxy.stdin.close()  # they end by this
            proxy.stdout.close()
            proxy.wait(10)
        self.proxies = []

    def _filter(self, name, hosts):
        filters, redirections = [], []
        for a, b in self.deaf:
            if name == a:
                filters += [f"-A KOSHEL-OUTPUT -d {to} -j DROP" for to in shared(hosts[a], hosts[b])]
            if name == b:
                filters += [f"-A KOSHEL-INPUT -s {of} -j DROP" for of in shared(hosts[b], hosts[a])]
        for (a, b), delay_ms in self.slow.items():
            for to in shared(hosts[a], hosts[b]) if name == a else ():
                port = self._start_proxy(hosts[a].pid, delay_ms)
                packets = f"-p tcp -d {to} -m mark ! --mark {MARK}"
                redirections.append(f"-A KOSHEL-OUTPUT {packets} -j REDIRECT --to-ports {port}")
                # Connections of before would go on past the proxy, so they end.
                filters.append(f"-A KOSHEL-OUTPUT {packets} -j REJECT --reject-with tcp-reset")
        rules = ("*filter", ":KOSHEL-INPUT -", ":KOSHEL-OUTPUT -", *filters, "COMMIT",
                 "*nat", ":KOSHEL-OUTPUT -", *redirections, "COMMIT", "")
        run(*inside(hosts[name].pid), "sh", "-ec", INSTALL, input="\n".join(rules))

    def _start_proxy(self, pid, delay_ms):
        words = (*inside(pid), sys.executable, PROXY, str(delay_ms), str(MARK))
        pipe = subprocess.PIPE
        proxy = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        self.proxies.append(proxy)
        port = proxy.stdout.readline().strip()
        if not port:
            raise ClusterError("the proxy of a slow link does not start")
        return port


def shared(host, other):
    """The addresses at which `host` finds `other`."""
    return [other.addresses[network] for network in host.addresses if other.addresses.get(network)]


def inside(pid):
    """Words before a command that make it one of that container's network."""
    words = ("nsenter", "--target", str(pid), "--net")
    return words if os.geteuid() == 0 else ("sudo", "--non-interactive", *words)
