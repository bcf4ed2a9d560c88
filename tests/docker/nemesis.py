"""Which faults come when: drawn from a seed before anything starts, so that a run can be repeated. A fault is a method
of the cluster and what it is called with. Faults come in episodes, after each of which everything is healed."""

import itertools
import random
from typing import NamedTuple

EPISODE_SECONDS = 8.0
TOGETHER_MAX = 5  # faults in one episode
UNDOING = ("start", "unpause")


class Step(NamedTuple):
    at: float  # seconds after the episode began
    method: str
    targets: tuple

    def __str__(self):
        return f"{self.method} {' '.join(map(str, self.targets))}"


def draw(seed, cluster):
    """Endless episodes, lists of steps. Every fault of the deck comes before any comes again."""
    chance = random.Random(seed)
    waiting = []
    while True:
        count = chance.randint(1, TOGETHER_MAX)
        while len(waiting) < count:
            waiting += deal(chance, cluster)
        faults, waiting = waiting[:count], waiting[count:]
        steps = [step for fault in faults for step in spread(chance, *fault)]
        yield sorted(steps)


def deal(chance, cluster):
    """Every kind of fault once for every kind of target, in any order: [(method, targets)]"""
    directory = "directory"
    shard, agent, coordinator = (chance.choice(each) for each in (cluster.shards(), cluster.AGENTS,
                                                                  cluster.COORDINATORS))
    one_of_each = (directory, shard, agent, coordinator)
    pairs = ((coordinator, agent), (agent, directory), (coordinator, directory), (agent, cluster.database_of(agent)))
    deck = [
        *(("kill", (each,)) for each in one_of_each),
        *(("pause", (each,)) for each in one_of_each),
        *(("isolate", (each,)) for each in one_of_each),
        *(("stop_postgres_immediate", (each,)) for each in (directory, shard)),
        *(("exhaust_connections", (each,)) for each in (directory, shard)),
        *(("cut", pair) for pair in pairs),
        *(("cut_one_way", way) for pair in pairs for way in (pair, pair[::-1])),
        *(("slow", (*pair, chance.choice((20, 100, 400)))) for pair in pairs),
        *(("shift_clock", (each, chance.choice((-3600, -5, 5, 3600)))) for each in one_of_each),
        ("fill_disk", ()),
    ]
    chance.shuffle(deck)
    return deck


def spread(chance, method, targets):
    """The fault at some time of the episode; who was killed or paused may be back before all is healed."""
    at = chance.uniform(0, EPISODE_SECONDS / 2)
    yield Step(at, method, targets)
    undone_by = {"kill": "start", "stop_postgres_immediate": "start", "pause": "unpause"}.get(method)
    if undone_by and chance.random() < 0.5:
        yield Step(chance.uniform(at + 0.5, EPISODE_SECONDS), undone_by, targets)


def losses(seed, cluster):
    """For each shard, how it is lost while all others must go on."""
    chance = random.Random(seed)
    ways = ["kill", "pause", "isolate"]
    chance.shuffle(ways)
    for shard, way in zip(cluster.shards(), itertools.cycle(ways)):
        yield shard, way, chance.choice((shard, cluster.agent_of(shard)))
