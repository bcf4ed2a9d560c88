"""What a run was like, in numbers."""

from tests.docker.checker import availability


def figures(records, hosts, hours, violations):
    return "\n".join([
        f"{hosts} hosts, {hours:.2f} h, {records.value('select count(*) from transfers')} transfers wished",
        "answers:", *_answers(records),
        "faults: " + _listed(records, "select kind, count(*) from faults group by 1 order by 1"),
        f"in doubt: {_first(records, 'select max(seconds) from ages')} s at the longest, while faults lasted; "
        f"{_first(records, 'select max(seconds) from healings')} s after they were healed",
        "longest time without a transfer inside a shard: " + _listed(records, """
            select shards, round(max(gap), 1) || ' s'
              from (select shards, ended - lag(ended) over (partition by shards order by ended) as gap
                      from probes where is_ok) where instr(shards, ' ') = 0 group by 1 order by 1"""),
        "rate of the others while a shard was lost: " +
        ", ".join(f"{shard} {share:.0%}" for shard, share in availability(records)),
        "most memory: " + _listed(records, """
            select host, cast(max(value) / 1048576 as integer) || ' MB' from levels
             where what = 'memory in bytes' group by 1 order by 1"""),
        *(f"{'held' if not found else f'{len(found)} VIOLATIONS'}: {rule.replace('_', ' ')}"
          for rule, found in violations.items())])


def _answers(records):
    for kind, query in (
            ("transfers", "select way || ' ' || answer, count(*) from told group by 1 order by 1"),
            ("refusals and failures", "select code, count(*) from told where code <> '' group by 1 order by 1"),
            ("users", "select answer, count(*) from told_users group by 1 order by 1"),
            ("limits", "select answer, count(*) from told_limits group by 1 order by 1"),
            ("reads", "select 'lines', count(*) from reads union all select 'failed ' || code, count(*) from misses "
                      "group by 1")):
        yield f"  {kind}: {_listed(records, query)}"


def _listed(records, query):
    return ", ".join(f"{what} {number}" for what, number in records.rows(query)) or "none"


def _first(records, query):
    return f"{records.value(query) or 0:.1f}"
