"""What must always hold (ARCHITECTURE.md of the design), asked of the records of a run. Each rule is a function that
returns a sentence for every violation it finds; none of them knows which faults there were."""

import array

from tests.docker.records import WORLD

NOT_NOW = ("SHARD_UNAVAILABLE", "DIRECTORY_UNAVAILABLE", "OVERLOADED", "CONTENTION", "RATE_LIMITED")
CODES = {  # that these clients may be told with each answer
    "ok": ("",), "settling": ("",), "refused": ("INSUFFICIENT_FUNDS", "BALANCE_LIMIT_EXCEEDED"),
    "not_committed": NOT_NOW, "unknown": ("", "OUTCOME_UNKNOWN", "IDEMPOTENCY_IN_PROGRESS"), "unsent": ("",),
    "absent": ("TRANSFER_NOT_FOUND",), "taken": ("USER_ALREADY_EXISTS",), "unread": ("", *NOT_NOW)}
AVAILABLE = 0.9  # of their rate that the others must keep while one shard is down

# What several rules look at. heard: all that was told of a key; sides: each transfer as the ledger has it.
GATHERED = f"""
drop table if exists temp.heads;
create temp table heads as
  select a.shard, a.id as account, max(e.version) as version, e.balance
    from accounts a left join entries e on e.shard = a.shard and e.account = a.id group by a.shard, a.id;

drop table if exists temp.heard;
create temp table heard as
  select key, max(answer in ('ok', 'settling')) as is_ok, max(answer = 'refused') as is_refused,
         max(answer = 'unknown') as is_unknown, count(distinct nullif(id, '')) as ids, max(id) as id,
         count(distinct case when answer = 'refused' then code end) as codes
    from told group by key;
create unique index temp.heard_key on heard (key);

drop table if exists temp.sides;
create temp table sides as
  select e.transfer, max(e.key) as key, count(*) as entries, sum(e.amount) as sum, max(e.amount) as amount,
         max(e.kind = 3) as is_refusal, max(e.kind = 1) as is_opening, sum(e.is_anchor) as anchors,
         max(case when e.amount < 0 then case when e.account < {WORLD} then u.name else '@world' end end) as payer,
         max(case when e.amount > 0 then case when e.account < {WORLD} then u.name else '@world' end end) as payee
    from entries e left join users u on u.id = e.account where e.transfer <> '' group by e.transfer;
create index temp.sides_key on sides (key);

drop table if exists temp.told_versions;
create temp table told_versions as
  select t.key, t.id, t.answer, t.ended, w.payer as name, t.payer_version as version
    from told t join transfers w on w.key = t.key where t.payer_version is not null
  union all
  select t.key, t.id, t.answer, t.ended, w.payee, t.payee_version
    from told t join transfers w on w.key = t.key where t.payee_version is not null;
"""


def check(records):
    """{rule: violations}"""
    records.database.executescript(GATHERED)
    return {rule.__name__: rule(records) for rule in RULES}


def found(records, sentence, query):
    """The sentence for each row of the query, filled in."""
    return [sentence.format(*row) for row in records.rows(query)]


# ---- the seven rules

def money_is_conserved_and_within_limits(records):
    total = records.value("select coalesce(sum(balance), 0) from heads")
    return [
        *([f"the sum of all balances is {total}"] if total else []),
        *found(records, "transfer {} has entries that add up to {}", "select transfer, sum from sides where sum <> 0"),
        *found(records, "account {}, version {}: the balance {} is not within {} to {}", """
            select account, version, balance, min_balance, max_balance from entries
             where balance not between min_balance and max_balance"""),
        *found(records, "{} was read with version {}, and the balance {} was not within {} to {}", """
            select name, version, balance, min_balance, max_balance from reads
             where balance not between min_balance and max_balance"""),
        *found(records, "an audit during the run said: {}", "select detail from audits where not is_ok")]


def what_was_told_is_so(records):
    return [*_acknowledged_is_there_once(records), *_not_done_is_absent(records), *_an_answer_never_changes(records),
            *_users_are_as_told(records), *_limits_are_as_told(records), *_answers_are_of_the_contract(records)]


def _acknowledged_is_there_once(records):
    return [
        *found(records, "transfer {} was acknowledged, and is there {} times", """
            select h.key, count(s.transfer) as times
              from heard h left join sides s on s.key = h.key and not s.is_refusal
             where h.is_ok group by h.key having times <> 1"""),
        # Whole or absent, whatever was told of it.
        *found(records, "transfer {} is there with {} entries, as {} from {} to {}, wished was {} from {} to {}", """
            select s.key, s.entries, s.amount, s.payer, s.payee, t.amount, t.payer, t.payee
              from sides s join transfers t on t.key = s.key
             where not s.is_refusal
               and (s.entries, s.amount, s.payer, s.payee) is not (2, t.amount, t.payer, t.payee)"""),
        *found(records, "transfer {} is there {} times", """
            select key, count(*) as times from sides where key <> '' group by key having times > 1"""),
        *found(records, "transfer {} (key '{}') was wished by nobody", """
            select s.transfer, s.key from sides s where not s.is_opening
               and not exists (select 1 from transfers t where t.key = s.key)"""),
        *found(records, "transfer {} was told to be version {} of {}, and is version {}", """
            select t.key, t.version, t.name, e.version from told_versions t join users u on u.name = t.name
              left join entries e on e.account = u.id and e.transfer = t.id
             where t.version is not e.version""")]


def _not_done_is_absent(records):
    return [
        *found(records, "transfer {} was refused, and is there", """
            select h.key from heard h join sides s on s.key = h.key where h.is_refused and not s.is_refusal"""),
        *found(records, "transfer {} was refused, which is not remembered", """
            select h.key from heard h join transfers t on t.key = h.key and t.is_keyed
             where h.is_refused and not exists (select 1 from sides s where s.key = h.key and s.is_refusal)"""),
        *found(records, "transfer {} was told to be not committed each time, and is there", """
            select h.key from heard h join sides s on s.key = h.key
             where not h.is_ok and not h.is_refused and not h.is_unknown"""),
        *found(records, "transfer {} was found, and until then had been told to be not committed each time", """
            select l.key from told l where l.way = 'look' and l.answer in ('ok', 'refused') and not exists (
              select 1 from told t where t.key = l.key and t.way in ('post', 'batch') and t.began < l.ended
                 and t.answer not in ('not_committed', 'unsent'))""")]


def _an_answer_never_changes(records):
    return [
        *found(records, "transfer {} was told to be done and to be refused", """
            select key from heard where is_ok and is_refused"""),
        *found(records, "transfer {} was told {} ids and {} codes of refusals", """
            select key, ids, codes from heard where ids > 1 or codes > 1"""),
        *found(records, "transfer {} was told the id {}, and has {}", """
            select h.key, h.id, s.transfer from heard h join sides s on s.key = h.key
             where h.id <> '' and h.id <> s.transfer"""),
        *found(records, "transfer {} was told for good, and then not found", """
            select distinct a.key from told a join told b on b.key = a.key
             where a.answer = 'absent' and b.answer in ('ok', 'settling', 'refused') and b.ended < a.began"""),
        *found(records, "transfer {} is there, and at rest a coordinator did not find it", """
            select t.key from told t join sides s on s.key = t.key
             where t.way = 'last' and t.answer = 'absent'
               and not exists (select 1 from told a where a.key = t.key and a.way = 'post' and a.began > t.ended)""")]


def _users_are_as_told(records):
    answers = """(select name, sum(answer = 'ok') as times, max(answer = 'unknown') as is_unknown
                    from told_users group by name)"""
    return [
        *found(records, "user {} was created {} times", f"select name, times from {answers} where times > 1"),
        *found(records, "user {} was created, and is not there", f"""
            select name from {answers} where times > 0 and name not in (select name from users)"""),
        *found(records, "user {} was told to be not created, and is there", f"""
            select name from {answers} where times = 0 and not is_unknown and name in (select name from users)"""),
        *found(records, "user {} began with {}, which nobody who may have created it wished", f"""
            select u.name, e.amount from users u join {answers} a on a.name = u.name
              left join entries e on e.account = u.id and e.version = 1 and e.kind = 1
             where e.amount is null or e.amount not in (
               select t.balance from told_users t
                where t.name = u.name and t.answer = case when a.times then 'ok' else 'unknown' end)""")]


def _limits_are_as_told(records):
    return [
        *found(records, "the limit {} of {} was set with version {}, and is not there", """
            select l.max_balance, l.name, l.version from told_limits l join users u on u.name = l.name
              left join entries e on e.account = u.id and e.version = l.version
             where l.answer = 'ok' and e.max_balance is not l.max_balance"""),
        *found(records, "the limit {} of {} was told to be not set, and is there", """
            select l.max_balance, l.name
              from (select name, max_balance from told_limits group by name, max_balance
                    having max(answer in ('ok', 'unknown')) = 0) l
              join users u on u.name = l.name
              join entries e on e.account = u.id and e.max_balance = l.max_balance""")]


def _answers_are_of_the_contract(records):
    told = records.rows("""
        select answer, code, min(key) from told group by 1, 2
        union all select answer, code, min(name) from told_users group by 1, 2
        union all select answer, code, min(name) from told_limits group by 1, 2
        union all select 'unread', code, 'a reader' from misses group by 1, 2""")
    return [f"{who} was told {answer} with the code '{code}'"
            for answer, code, who in told if code not in CODES[answer]]


def every_round_has_one_decision(records):
    return [
        *found(records, "round {}:{} was decided {} times", """
            select incarnation, sequence, count(*) as times from decided group by 1, 2 having times > 1"""),
        *found(records, "round {}:{} was applied {} times on shard {}", """
            select incarnation, sequence, count(*) as times, shard from applied group by 1, 2, 4 having times > 1"""),
        *found(records, "round {}:{} was committed, and not on shard {}", """
            select * from participants except select * from applied"""),
        *found(records, "round {}:{} was applied on shard {}, which is not as it was decided", """
            select a.* from applied a join decided using (incarnation, sequence)
            except select * from participants"""),
        *found(records, "round {}:{} was applied on {} shards, and never decided", """
            select incarnation, sequence, count(distinct shard) as shards from applied a
             where not exists (select 1 from decided d where d.incarnation = a.incarnation and d.sequence = a.sequence)
             group by 1, 2 having shards > 1""")]


def nothing_is_left_in_doubt(records):
    return [
        *found(records, "{} still has: {}", "select place, what from leftovers"),
        *found(records, "in doubt for {:.1f} s after everything was healed, {:.0f} s may be", """
            select seconds, seconds_max from healings where seconds > seconds_max""")]


def every_user_has_one_owner(records):
    return [
        *found(records, "account {} is on {} shards", """
            select id, count(*) as shards from accounts group by id having shards > 1"""),
        *found(records, "user {} is on shard {} in the directory, and there is no such account", """
            select u.name, u.shard from users u left join accounts a on a.id = u.id and a.shard = u.shard
             where a.id is null"""),
        *found(records, "shard {} has account {}, whose user is not there", f"""
            select a.shard, a.id from accounts a left join users u on u.id = a.id and u.shard = a.shard
             where a.id < {WORLD} and u.id is null"""),
        *found(records, "shard {} has entries of account {}, which it does not own", """
            select distinct e.shard, e.account from entries e
              left join accounts a on a.id = e.account and a.shard = e.shard where a.id is null"""),
        *found(records, "transfer {} has {} sides that answer for it", """
            select transfer, anchors from sides where anchors <> 1""")]


def entries_add_up_without_gaps(records):
    return [
        *found(records, "account {} of shard {} has no history", """
            select account, shard from heads where version is null"""),
        *found(records, "account {}, version {}: it is entry {}, and the amounts until it make {}, not {}", """
            select account, version, place, summed, balance
              from (select account, version, balance, row_number() over chain as place, sum(amount) over chain as summed
                      from entries window chain as (partition by account order by version))
             where place <> version or summed <> balance""")]


def everything_has_a_bound(records):
    return found(records, "{} of {} reached {:.0f}, {:.0f} is the bound", """
        select what, host, max(value), bound from levels group by what, host having max(value) > bound""")


# ---- what follows from them, as clients see it

def reads_are_of_the_ledger_and_never_go_back(records):
    return [
        *found(records, "{} was read with version {} and balance {}, which is not in its history", """
            select r.name, r.version, r.balance from reads r left join users u on u.name = r.name
              left join entries e on e.account = u.id and e.version = r.version
             where (r.balance, r.min_balance, r.max_balance) is not (e.balance, e.min_balance, e.max_balance)"""),
        *found(records, "a page of the history of {} has {} entries, from {} to {}", """
            select name, count(*) as lines, min(version) as first, max(version) as last from reads
             group by request having lines <> last - first + 1"""),
        *_old_reads(records)]


def _old_reads(records):
    """A read knows everything that anybody was told before it began."""
    moments = records.rows("""
        select began, 0, name, version from reads where is_head
        union all select ended, 1, name, version from reads where is_head
        union all select ended, 1, name, version from told_versions where answer = 'ok'
        union all select ended, 1, name, version from told_limits where answer = 'ok'
        order by 1, 2""")
    newest, violations = {}, []
    for _, is_told, name, version in moments:
        if is_told:
            newest[name] = max(newest.get(name, 0), version)
        elif version < newest.get(name, 0):
            violations.append(f"{name} was read with version {version}, version {newest[name]} was known")
    return violations


def all_shards_agree_on_the_order(records):
    """Whoever comes after another on one account comes after it everywhere: `after` has no circle."""
    after = records.rows("""
        select earlier.rowid, later.rowid
          from (select transfer, lead(transfer) over (partition by account order by version) as next
                  from entries where transfer <> '') e
          join sides earlier on earlier.transfer = e.transfer join sides later on later.transfer = e.next
         order by 1""")
    count = records.value("select coalesce(max(rowid), 0) from sides") + 1
    begin, waits_for = array.array("q", [0]) * (count + 1), array.array("q", [0]) * count
    for earlier, later in after:
        begin[earlier + 1] += 1
        waits_for[later] += 1
    for i in range(count):
        begin[i + 1] += begin[i]
    free = [i for i in range(count) if not waits_for[i]]
    for i in free:  # grows
        for _, later in after[begin[i]:begin[i + 1]]:
            waits_for[later] -= 1
            if not waits_for[later]:
                free.append(later)
    stuck = [i for i in range(count) if waits_for[i]]
    names = [records.value("select transfer from sides where rowid = ?", i) for i in stuck[:5]]
    return [f"{len(stuck)} transfers come before and after each other, among them {names}"] if stuck else []


def others_go_on_while_a_shard_is_down(records):
    return [f"without {down} the others had {share:.0%} of their rate"
            for down, share in availability(records) if share <= AVAILABLE]


def availability(records):
    """[(shard that was down, rate of the transfers among the others compared with calm times)]"""
    def rate(down, window):
        return records.value(f"""
            select total(p.is_ok) / (select sum(ended - began) from windows where {window})
              from probes p join windows w on p.ended between w.began and w.ended
             where {window} and instr(p.shards, ?) = 0""", down)

    shards = [down for (down,) in records.rows("select distinct down from windows where down <> '' order by 1")]
    return [(down, rate(down, f"down = '{down}'") / (rate(down, "down = ''") or 1)) for down in shards]


RULES = (money_is_conserved_and_within_limits, what_was_told_is_so, every_round_has_one_decision,
         nothing_is_left_in_doubt, every_user_has_one_owner, entries_add_up_without_gaps, everything_has_a_bound,
         reads_are_of_the_ledger_and_never_go_back, all_shards_agree_on_the_order, others_go_on_while_a_shard_is_down)
