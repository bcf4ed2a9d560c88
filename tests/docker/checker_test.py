"""The checker finds nothing in sound records, and each kind of damage by the rule that it breaks."""

import unittest

from tests.docker import checker
from tests.docker.records import WORLD, Records

ANN, BOB, CAT = 1, 2, 3  # Cat has moved from shard 1 to shard 2
WORLD_1, WORLD_2 = WORLD + 1, WORLD + 2
OPENED, TRANSFER, REFUSED, LIMITS, MOVED = 1, 2, 3, 4, 6


def entry(shard, account, version, amount, balance, transfer="", kind=TRANSFER, is_anchor=0, key="", most=100_000):
    least = -1_000_000 if account > WORLD else 0
    return (shard, account, version, amount, balance, least, most, transfer, kind, is_anchor, key)


def sound_records():
    """Ann and Bob begin with 500 and 0. Ann pays Bob 100 (paid), which was in doubt at first, and wants to pay far more
    (refused). Cat, who was created with 0, has moved and got 7 from Bob (late). Two wishes came to nothing."""
    records = Records()
    records.note("shards", (1, "shard-1"), (2, "shard-2"))
    records.note("users", (ANN, "ann", 1), (BOB, "bob", 2), (CAT, "cat", 2))
    records.note("accounts", (1, ANN), (1, WORLD_1), (2, BOB), (2, CAT), (2, WORLD_2))
    records.note(
        "entries",
        entry(1, WORLD_1, 1, 0, 0, kind=OPENED),
        entry(1, WORLD_1, 2, -500, -500, "t-opened"),
        entry(1, ANN, 1, 500, 500, "t-opened", OPENED, is_anchor=1),
        entry(1, ANN, 2, -100, 400, "t-paid", is_anchor=1, key="paid"),
        entry(1, ANN, 3, 0, 400, "t-refused", REFUSED, is_anchor=1, key="refused"),
        entry(1, ANN, 4, 0, 400, kind=LIMITS, most=900),
        entry(2, WORLD_2, 1, 0, 0, kind=OPENED),
        entry(2, BOB, 1, 0, 0, kind=OPENED),
        entry(2, BOB, 2, 100, 100, "t-paid", key="paid"),
        entry(2, BOB, 3, -7, 93, "t-late", is_anchor=1, key="late"),
        entry(2, CAT, 1, 0, 0, kind=OPENED),
        entry(2, CAT, 2, 0, 0, kind=MOVED),
        entry(2, CAT, 3, 7, 7, "t-late", key="late"))
    records.note("transfers", ("paid", "ann", "bob", 100, 1), ("refused", "ann", "bob", 9_000, 1),
                 ("late", "bob", "cat", 7, 0), ("nothing", "ann", "bob", 5, 1), ("doubt", "bob", "ann", 5, 1))
    records.note(
        "told",
        ("paid", "post", 1, 2, "unknown", "OUTCOME_UNKNOWN", "t-paid", None, None),
        ("paid", "post", 2, 3, "ok", "", "t-paid", 2, 2),
        ("refused", "batch", 3, 4, "refused", "INSUFFICIENT_FUNDS", "", None, None),
        ("refused", "look", 4, 5, "refused", "INSUFFICIENT_FUNDS", "t-refused", None, None),
        ("late", "post", 5, 6, "settling", "", "t-late", 3, 3),
        ("nothing", "post", 6, 7, "not_committed", "CONTENTION", "", None, None),
        ("nothing", "post", 6, 7, "unsent", "", "", None, None),
        ("doubt", "post", 6, 7, "unknown", "", "", None, None),
        ("doubt", "last", 20, 21, "absent", "TRANSFER_NOT_FOUND", "", None, None))
    records.note("told_users", ("ann", 500, 0, 1, "unknown", ""), ("ann", 500, 1, 2, "taken", "USER_ALREADY_EXISTS"),
                 ("bob", 0, 0, 1, "ok", ""), ("cat", 0, 0, 1, "ok", ""),
                 ("dan", 3, 0, 1, "not_committed", "CONTENTION"))
    records.note("told_limits", ("ann", 900, 8, 9, "ok", "", 4),
                 ("ann", 901, 9, 10, "not_committed", "CONTENTION", None))
    records.note("reads", (1, "ann", 2, 400, 0, 100_000, 1, 3, 4), (2, "ann", 4, 400, 0, 900, 1, 10, 11),
                 (2, "ann", 3, 400, 0, 100_000, 0, 10, 11), (3, "bob", 2, 100, 0, 100_000, 1, 6, 7))
    records.note("decided", (1, 1, 1), (1, 2, 0))
    records.note("participants", (1, 1, 1), (1, 1, 2))
    records.note("applied", (1, 1, 1), (1, 1, 2), (1, 3, 1))
    records.note("windows", ("", 0, 10), ("shard-1", 20, 30))
    records.note("probes", *(("shard-2", at, at + 0.1, 1) for at in range(30)), ("shard-1", 1, 2, 1))
    records.note("healings", (5, 3, 20))
    records.note("audits", (9, 1, "all is well"))
    records.note("levels", (1, "agent-1", "memory in bytes", 10, 100))
    return records


def told(key, answer, way="post", began=30, code="", id="", versions="null, null"):
    return f"""insert into told values
        ('{key}', '{way}', {began}, {began + 1}, '{answer}', '{code}', '{id}', {versions})"""


def done(key, transfer, payer, payee, amount=5):
    """Another entry of two accounts, with the balances and versions that it has to have."""
    def side(account, amount, is_anchor):
        return f"""
            insert into entries select shard, account, version + 1, {amount}, balance + {amount}, min_balance,
                   max_balance, '{transfer}', 2, {is_anchor}, '{key}'
              from entries where account = {account} order by version desc limit 1;"""
    return side(payer, -amount, 1) + side(payee, amount, 0)


# What the checker says of each damage.
DAMAGES = {
    checker.money_is_conserved_and_within_limits: {
        "the sum of all balances is 1": "update entries set balance = 401 where account = 1 and version = 4",
        "the sum of all balances is -7": "delete from entries where account = 3 and version = 3",
        "transfer t-paid has entries that add up to -1":
            "update entries set amount = 99, balance = 99 where account = 2 and version = 2",
        "account 1, version 4: the balance 400 is not within 0 to 399":
            "update entries set max_balance = 399 where account = 1 and version = 4",
        "ann was read with version 2, and the balance 400 was not within 0 to 399":
            "update reads set max_balance = 399 where request = 1",
        "an audit during the run said: all is well": "update audits set is_ok = 0",
    },
    checker.what_was_told_is_so: {
        "transfer nothing was acknowledged, and is there 0 times":
            told("nothing", "ok", id="t-nothing", versions="9, 9"),
        "transfer paid is there with 1 entries, as -100 from ann to None, wished was 100 from ann to bob":
            "delete from entries where account = 2 and version = 2",
        "transfer paid was acknowledged, and is there 2 times": done("paid", "t-again", ANN, BOB, 100),
        "transfer doubt is there 2 times":
            done("doubt", "t-doubt", BOB, ANN) + done("doubt", "t-again", BOB, ANN),
        "transfer paid is there with 2 entries, as 100 from ann to bob, wished was 101 from ann to bob":
            "update transfers set amount = 101 where key = 'paid'",
        "transfer paid is there with 2 entries, as 100 from ann to bob, wished was 100 from ann to cat":
            "update transfers set payee = 'cat' where key = 'paid'",
        "transfer refused was refused, and is there": done("refused", "t-wrong", ANN, BOB, 9),
        "transfer refused was refused, which is not remembered": "delete from entries where key = 'refused'",
        "transfer nothing was told to be not committed each time, and is there":
            done("nothing", "t-nothing", ANN, BOB),
        "transfer t-stranger (key 'stranger') was wished by nobody": done("stranger", "t-stranger", ANN, BOB),
        "transfer doubt is there with 1 entries, as -5 from bob to None, wished was 5 from bob to ann":
            "insert into entries values (2, 2, 4, -5, 88, 0, 100000, 't-doubt', 2, 1, 'doubt')",
        "transfer doubt is there, and at rest a coordinator did not find it":
            done("doubt", "t-doubt", BOB, ANN),
        "transfer paid was told to be version 3 of bob, and is version 2":
            "update told set payee_version = 3 where answer = 'ok'",
        "transfer paid was told to be done and to be refused":
            told("paid", "refused", code="INSUFFICIENT_FUNDS"),
        "transfer refused was told 1 ids and 2 codes of refusals":
            told("refused", "refused", code="BALANCE_LIMIT_EXCEEDED"),
        "transfer paid was told 2 ids and 0 codes of refusals": told("paid", "ok", id="t-other"),
        "transfer paid was told the id t-other, and has t-paid":
            "update told set id = 't-other' where key = 'paid'",
        "transfer paid was told for good, and then not found": told("paid", "absent", way="look"),
        "transfer paid was found, and until then had been told to be not committed each time":
            "update told set answer = 'not_committed' where answer = 'unknown'; "
            "update told set way = 'look' where answer = 'ok'",
        "nothing was told unknown with the code 'INTERNAL'": told("nothing", "unknown", code="INTERNAL"),
        "user bob was created 2 times": "insert into told_users values ('bob', 0, 2, 3, 'ok', '')",
        "user cat was created, and is not there": "delete from users where name = 'cat'",
        "user dan was told to be not created, and is there": "insert into users values (4, 'dan', 1)",
        "user bob was told to be not created, and is there":
            "update told_users set answer = 'taken' where name = 'bob'",
        "user ann began with 500, which nobody who may have created it wished":
            "update told_users set balance = 400 where name = 'ann'",
        "user bob began with 9, which nobody who may have created it wished":
            "insert into told_users values ('bob', 9, 1, 2, 'taken', 'USER_ALREADY_EXISTS'); "
            "update entries set amount = 9 where account = 2 and version = 1",
        "the limit 950 of ann was set with version 4, and is not there":
            "update told_limits set max_balance = 950 where answer = 'ok'",
        "the limit 901 of ann was told to be not set, and is there":
            "update entries set max_balance = 901 where kind = 4; delete from told_limits where answer = 'ok'",
    },
    checker.every_round_has_one_decision: {
        "round 1:1 was decided 2 times": "insert into decided values (1, 1, 0)",
        "round 1:1 was applied 2 times on shard 1": "insert into applied values (1, 1, 1)",
        "round 1:1 was committed, and not on shard 2": "delete from applied where shard = 2",
        "round 1:2 was applied on shard 1, which is not as it was decided":
            "insert into applied values (1, 2, 1)",
        "round 1:3 was applied on 2 shards, and never decided": "insert into applied values (1, 3, 2)",
    },
    checker.nothing_is_left_in_doubt: {
        "shard-1 still has: prepared koshel:koshel:1:9:1":
            "insert into leftovers values ('shard-1', 'prepared koshel:koshel:1:9:1')",
        "in doubt for 21.0 s after everything was healed, 20 s may be": "update healings set seconds = 21",
    },
    checker.every_user_has_one_owner: {
        "account 3 is on 2 shards": "insert into accounts values (1, 3)",
        "user cat is on shard 2 in the directory, and there is no such account":
            "delete from accounts where id = 3",
        "shard 2 has account 3, whose user is not there": "delete from users where id = 3",
        "user cat is on shard 1 in the directory, and there is no such account":
            "update users set shard = 1 where id = 3",
        "shard 1 has entries of account 3, which it does not own":
            "insert into entries select 1, account, version, amount, balance, min_balance, max_balance, transfer, "
            "kind, is_anchor, key from entries where account = 3 and version = 1",
        "transfer t-paid has 2 sides that answer for it":
            "update entries set is_anchor = 1 where transfer = 't-paid'",
        "transfer t-paid has 0 sides that answer for it":
            "update entries set is_anchor = 0 where transfer = 't-paid'",
    },
    checker.entries_add_up_without_gaps: {
        "account 3 of shard 2 has no history": "delete from entries where account = 3",
        "account 3, version 9: it is entry 3, and the amounts until it make 7, not 7":
            "update entries set version = 9 where account = 3 and version = 3",
        "account 1, version 2: it is entry 2, and the amounts until it make 399, not 400":
            "update entries set amount = -101 where account = 1 and version = 2",
    },
    checker.everything_has_a_bound: {
        "memory in bytes of agent-1 reached 101, 100 is the bound":
            "insert into levels values (2, 'agent-1', 'memory in bytes', 101, 100)",
    },
    checker.reads_are_of_the_ledger_and_never_go_back: {
        "ann was read with version 2 and balance 401, which is not in its history":
            "update reads set balance = 401 where request = 1",
        "bob was read with version 9 and balance 100, which is not in its history":
            "update reads set version = 9 where request = 3",
        "a page of the history of ann has 2 entries, from 1 to 4":
            "update reads set version = 1, balance = 500 where request = 2 and not is_head",
        "ann was read with version 1, version 2 was known":
            "insert into reads values (9, 'ann', 1, 500, 0, 100000, 1, 3.5, 4)",
        "ann was read with version 3, version 4 was known":
            "insert into reads values (9, 'ann', 3, 400, 0, 100000, 1, 11.5, 12)",
        "ann was read with version 2, version 4 was known":
            "delete from reads where request = 2; insert into reads values (9, 'ann', 2, 400, 0, 100000, 1, 9.5, 10)",
    },
    checker.all_shards_agree_on_the_order: {
        "2 transfers come before and after each other, among them ['t-x', 't-y']":
            done("x", "t-x", ANN, BOB) + done("y", "t-y", ANN, BOB) +
            "update entries set transfer = case transfer when 't-x' then 't-y' else 't-x' end "
            "where account = 2 and transfer in ('t-x', 't-y')",
    },
    checker.others_go_on_while_a_shard_is_down: {
        "without shard-1 the others had 80% of their rate": "delete from probes where began in (22, 24)",
        "without shard-1 the others had 10% of their rate": "delete from probes where began > 20",
    },
}


class CheckerTest(unittest.TestCase):
    def test_sound_records_are_passed(self):
        found = checker.check(sound_records())
        self.assertEqual(list(found), [rule.__name__ for rule in checker.RULES])
        self.assertEqual(found, {rule.__name__: [] for rule in checker.RULES})

    def test_every_damage_is_named_by_the_rule_that_it_breaks(self):
        for rule, damages in DAMAGES.items():
            for sentence, damage in damages.items():
                with self.subTest(rule=rule.__name__, sentence=sentence):
                    records = sound_records()
                    records.database.executescript(damage)
                    self.assertIn(sentence, checker.check(records)[rule.__name__])

    def test_every_rule_has_damages(self):
        self.assertEqual(set(DAMAGES), set(checker.RULES))


if __name__ == "__main__":
    unittest.main()
