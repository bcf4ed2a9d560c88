"""Every decision and every application of a round, noted by triggers, so that the notes outlive the forgetting."""

ON_DIRECTORY = """
create table decided (incarnation bigint, sequence bigint, is_commit boolean, participants integer[]);
grant insert on decided to public;
create function note() returns trigger language plpgsql as $$
begin
  insert into decided values (new.incarnation, new.sequence, new.is_commit, new.participants);
  return null;
end $$;
create trigger note after insert on decisions for each row execute function note()
"""
ON_SHARD = """
create table applied (incarnation bigint, sequence bigint);
grant insert on applied to public;
create function note() returns trigger language plpgsql as $$
begin
  insert into applied values (new.incarnation, new.sequence);
  return null;
end $$;
create trigger note after insert on applied_rounds for each row when (not new.is_void) execute function note()
"""


class Verdicts:
    def __init__(self, cluster):
        self.cluster = cluster
        cluster.sql("directory", ON_DIRECTORY)
        for shard in cluster.shards():
            cluster.sql(shard, ON_SHARD)

    def check(self):
        """One decision per round; a commit is carried out once by each participant, an abort by nobody."""
        applied = {}
        for shard in self.cluster.shards():
            id = self.cluster.sql(shard, "select shard_id from identity")[0][0]
            for *round, times in self.cluster.sql(
                    shard, "select incarnation, sequence, count(*) from applied group by 1, 2"):
                assert times == "1", f"round {round} was applied {times} times on {shard}"
                applied.setdefault(tuple(round), set()).add(id)
        decided = {}
        for *round, is_commit, participants in self.cluster.sql(
                "directory", "select incarnation, sequence, is_commit, array_to_string(participants, ' ') from decided"):
            assert tuple(round) not in decided, f"round {round} was decided twice"
            decided[tuple(round)] = set(participants.split()) if is_commit == "t" else set()
        wrong = [(round, shards, applied.get(round)) for round, shards in decided.items()
                 if applied.get(round, set()) != shards]
        assert not wrong, f"rounds that were not carried out as decided: {wrong[:5]}"
        half_known = [round for round, shards in applied.items() if len(shards) > 1 and round not in decided]
        assert not half_known, f"rounds between shards that nobody decided: {half_known[:5]}"
        commits = sum(bool(shards) for shards in decided.values())
        return f"{commits} rounds decided to commit, {len(decided) - commits} to abort, all carried out so"
