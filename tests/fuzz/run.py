#!/usr/bin/env python3
"""Runs the fuzz targets of build-fuzz/, each from its seeds in corpus/ and from what earlier runs found worth keeping,
and prints what became of each. Ends with 1 if a target found something; the input is kept and named.

tests/fuzz/run.py [TARGET...] [--seconds N] [--seed S]
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build-fuzz"
GROWN = BUILD / "corpus"      # inputs that reached something new; not in the repository
FINDINGS = BUILD / "findings"
DICTIONARIES = {"config": "config", "http_request": "http", "http_target": "http", "agent_message": "message"}
BODIES = re.compile(r".*_body|lost_json|audit_entry")
INPUT_BYTES_MAX = 16384
MEMORY_MB_MAX = 2048
SECONDS_PER_INPUT_MAX = 10
AFTER_THE_LAST_SECONDS = 120  # beyond its time, for reading its corpus and for minding its findings


def targets():
    return sorted(path.name for path in (HERE / "corpus").iterdir())


def dictionary(target):
    name = DICTIONARIES.get(target, "json" if BODIES.fullmatch(target) else None)
    return [f"-dict={HERE / 'dictionaries' / name}.dict"] if name else []


class Run:
    """One target's run."""

    def __init__(self, target, seconds, seed):
        self.target = target
        grown = GROWN / target
        grown.mkdir(parents=True, exist_ok=True)
        FINDINGS.mkdir(exist_ok=True)
        before = set(FINDINGS.iterdir())
        command = [BUILD / "bin" / f"fuzz_{target}", f"-max_total_time={seconds}", f"-seed={seed}",
                   f"-max_len={INPUT_BYTES_MAX}", f"-rss_limit_mb={MEMORY_MB_MAX}",
                   f"-timeout={SECONDS_PER_INPUT_MAX}", f"-artifact_prefix={FINDINGS}/{target}-",
                   "-print_final_stats=1", *dictionary(target), grown, HERE / "corpus" / target]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=seconds + AFTER_THE_LAST_SECONDS)
        self.text = done.stderr
        self.is_clean = done.returncode == 0
        self.inputs = int(self._last(r"stat::number_of_executed_units: +(\d+)"))
        self.coverage = int(self._last(r"cov: (\d+)"))
        self.kept = sorted(path for path in set(FINDINGS.iterdir()) - before
                           if path.name.startswith(target + "-"))

    def _last(self, pattern):
        return (re.findall(pattern, self.text) or ["0"])[-1]

    def finding(self):
        """What broke, in one line."""
        signs = r"invariant broken: .*|runtime error: .*|ERROR: (?:AddressSanitizer|libFuzzer|LeakSanitizer): .*|" \
                r"terminate called.*"
        found = re.search(signs, self.text)
        return found[0] if found else self.text.strip().splitlines()[-1]


def main():
    options = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    options.add_argument("targets", nargs="*", metavar="TARGET", help="all by default: " + ", ".join(targets()))
    options.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    options.add_argument("--seed", type=int, default=1, help="of libFuzzer's chance (1)")
    chosen = options.parse_args()
    if unknown := set(chosen.targets) - set(targets()):
        options.error(f"no such target: {', '.join(sorted(unknown))}")
    names = chosen.targets or targets()

    print(f"{'target':16} {'inputs':>10} {'coverage':>9}  findings", flush=True)
    broken = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for run in pool.map(lambda name: Run(name, chosen.seconds, chosen.seed), names):
            print(f"{run.target:16} {run.inputs:>10,} {run.coverage:>9,}  "
                  f"{'none' if run.is_clean else run.finding()}", flush=True)
            if not run.is_clean:
                broken.append(run)
    for run in broken:
        print(f"\n{run.target}: {run.finding()}")
        for path in run.kept:
            print(f"  again: {BUILD / 'bin' / f'fuzz_{run.target}'} {path}\n"
                  f"  when mended: cp {path} {HERE / 'corpus' / run.target}/WHAT-IT-SHOWS")
        if not run.kept:
            print(run.text[-3000:])
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
