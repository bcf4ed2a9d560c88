#!/usr/bin/env python3
"""Shows that the tests would catch the bugs that such systems really had: builds a changed copy of the sources
for each mutant of mutants.py, and runs the simulator and the unit tests on it, or the tests on real processes that the
mutant names. Ends with 1 if a mutant survives.

tests/mutants/run.py [--list] [--quick] [--seeds N] [NAME...]
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

from mutants import MUTANTS, QUICK

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / "build-mutants" / "src"
BUILD = ROOT / "build-mutants" / "build"
PROGRAMS = ["koshel", "koshel-coordinator", "koshel-shard-agent", "honesty"]  # of the tests on real processes
UNIT_TESTS = ["unit_base", "unit_agent", "unit_coordinator"]
SIMULATION_SECONDS = 120
KILLED_ALREADY_SECONDS = 12  # the simulator's time for a mutant that a unit test has killed
HANGS_AFTER_SECONDS = 90     # beyond its time: one seed takes a second or two
MEMORY_MAX = 4 << 30         # of a mutant that goes round in circles


class Broken(Exception):
    """The run itself cannot go on: nothing is said about mutants."""


def copy_tree():
    """Only what differs is written, so that what was built stays built."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout.split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for name in wanted:
        source, target = ROOT / name, COPY / name
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for path in COPY.rglob("*"):
        if path.is_file() and str(path.relative_to(COPY)) not in wanted:
            path.unlink()


def build(*targets):
    """None, or what the compiler said."""
    done = subprocess.run(["cmake", "--build", BUILD, "-j2", "--target", *targets], capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stdout + done.stderr)[-3000:]


def configure(has_killers):
    done = subprocess.run(["cmake", "-S", COPY, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                           "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -w"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Broken(done.stdout + done.stderr)
    if said := build("simulation", *UNIT_TESTS, *(PROGRAMS if has_killers else ())):
        raise Broken(f"the copy without a mutant does not build:\n{said}")


def run(program, *options, seconds):
    """(exit code, what it printed, and why it ended if it did not end by itself)."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    process = subprocess.Popen([BUILD / "bin" / program, *options], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, preexec_fn=limit)
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        return 1, out, f"does not end within {seconds} s"
    if process.returncode >= 0:
        return process.returncode, out, None
    said = [line for line in out.splitlines() if line.startswith("invariant broken")]
    return 1, out, said[0].replace(f"{COPY}/", "") if said else signal.Signals(-process.returncode).name


def unit_test_that_fails():
    for program in UNIT_TESTS:
        code, out, ended_by = run(program, "--gtest_brief=1", seconds=HANGS_AFTER_SECONDS)
        if code == 0:
            continue
        names = re.findall(r"\[  FAILED  \] (\S+)(?: \(|,)", out) or re.findall(r"\[ RUN      \] (\S+)", out)
        return f"{program}: {names[0] if names else ''} {f'({ended_by})' if ended_by else ''}".strip()
    return None


def killer_that_fails(modules):
    """The first test of these modules that fails. Each of them bounds its own waits, and ends what it has started."""
    for module in modules:
        done = subprocess.run([sys.executable, "-m", "unittest", f"tests.{module}"], cwd=COPY, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "KOSHEL_BIN": str(BUILD / "bin"), "PYTHONDONTWRITEBYTECODE": "1"})
        if done.returncode != 0:
            names = re.findall(r"^(?:FAIL|ERROR): (\S+)", done.stdout, re.M)
            return f"{module}: {names[0] if names else done.stdout[-3000:]}"
    return None


def violation_within(seeds, seconds):
    """(the first violation or None, how many seeds were run)."""
    code, out, ended_by = run("simulation", "--seed", "1", "--seeds", str(seeds), "--minutes", str(seconds / 60),
                              "--violations-max", "1", seconds=seconds + HANGS_AFTER_SECONDS)
    if ended_by:
        return ended_by, None
    count = int(re.search(r"^seeds (\d+)", out, re.M).group(1))
    if code == 0:
        return None, count
    return re.search(r"^(seed \d+: .*) \(trace", out, re.M).group(1), count


class Mutated:
    """The copy with a mutant in it, and as it was afterwards."""

    def __init__(self, mutant):
        self.texts = {COPY / change.file: (COPY / change.file).read_text() for change in mutant.changes}
        self.changed = dict(self.texts)
        for change in mutant.changes:
            text = self.changed[COPY / change.file]
            if (count := text.count(change.find)) != 1:
                raise Broken(f"{mutant.name}: its text is {count} times in {change.file}, and must be there once: "
                             "follow the change of the code in mutants.py")
            self.changed[COPY / change.file] = text.replace(change.find, change.put)

    def __enter__(self):
        for path, text in self.changed.items():
            path.write_text(text)

    def __exit__(self, *_):
        for path, text in self.texts.items():
            path.write_text(text)


def judge(mutant, seeds):
    """The mutant's line of the table, and whether it was killed."""
    with Mutated(mutant):
        if said := build(*(PROGRAMS if mutant.killers else ("simulation", *UNIT_TESTS))):
            print(f"{mutant.name} does not build:\n{said}", flush=True)
            return False
        if mutant.killers:
            test, violation, simulator = killer_that_fails(mutant.killers), None, "-"
        else:
            test = unit_test_that_fails()
            violation, count = violation_within(seeds, KILLED_ALREADY_SECONDS if test else SIMULATION_SECONDS)
            simulator = violation or f"not within {count} seeds"
            if violation and count:
                simulator = f"after {count} seeds: {violation}"
    is_killed = bool(violation or test)
    print(f"{mutant.name} | {mutant.breaks} | {simulator} | {test or '-'}{'' if is_killed else ' | SURVIVES'}",
          flush=True)
    return is_killed


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME", help="only these")
    options.add_argument("--list", action="store_true", help="names and what each breaks")
    options.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    options.add_argument("--seeds", type=int, default=3000, help="of the simulator, for each")
    options = options.parse_args()
    names = QUICK if options.quick else options.names
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        raise Broken(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name}: {mutant.breaks}")
        return 0
    started = time.monotonic()
    copy_tree()
    for mutant in chosen:
        Mutated(mutant)  # each of them still fits
    killers = sorted({module for mutant in chosen for module in mutant.killers})
    configure(bool(killers))
    if found := (unit_test_that_fails() or violation_within(300, SIMULATION_SECONDS)[0]
                 or killer_that_fails(killers)):
        raise Broken(f"without a mutant: {found}")
    print("mutant | what it breaks | the simulator | the test that kills it")
    survivors = [mutant.name for mutant in chosen if not judge(mutant, options.seeds)]
    print(f"mutants {len(chosen)}, survivors {len(survivors)}{': ' if survivors else ''}{', '.join(survivors)}; "
          f"{time.monotonic() - started:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Broken as error:
        sys.exit(f"mutants: {error}")
