"""The mutants: which row of FAILURES.md's table of real bugs, or which guard, each breaks, and how.

A mutant is one change of text or several in a copy of the sources. The text to be changed must be in its file
exactly once; who changes that code changes its mutants with it. What SQL functions guard is broken in the
simulator's model of them, which tests/honesty holds against real servers, or, if nothing the simulator sees depends
on it, where it stands; `killers` are then the modules of tests on real processes one of which has to fail.
"""

import typing

AGENT = "shard-agent/logic/"
COORDINATOR = "coordinator/logic/"
SHARD = "tests/simulation/postgres/shard_database.cpp"
DIRECTORY = "tests/simulation/postgres/directory_database.cpp"
SHARD_MOVES = "tests/simulation/postgres/shard_moves.cpp"
DIRECTORY_MOVES = "tests/simulation/postgres/directory_moves.cpp"
SHARD_SQL = "sql/shard/0002_moves.sql"
DIRECTORY_SQL = "sql/directory/0002_rebalance.sql"
HONESTY = ("integration.honesty_test",)
OLD_AGENTS = ("integration.old_agents_test",)

MOVES_TAKE_NO_HOLD = (AGENT + "cross_rounds.cpp", """
    if (const auto obstacle = memory_.find_obstacle(*account, request, now)) {
      slot.vote = *obstacle;
      return;
    }
    take(*account);
    const bool""", """
    take(*account);
    const bool""")
NO_LAST_WORD = (AGENT + "cross_rounds.cpp", "      round.prepared.legs.push_back(draft.move(*account));\n",
                "      round.prepared.legs.push_back(round.leaving.contains(*account)\n"
                "                                        ? LegState{*account, {}, {}} : draft.move(*account));\n")


class Change(typing.NamedTuple):
    file: str
    find: str
    put: str


class Mutant(typing.NamedTuple):
    name: str
    breaks: str
    changes: tuple
    killers: tuple = ()


def mutant(name, breaks, *changes, killers=()):
    return Mutant(name, breaks, tuple(Change(*change) for change in changes), killers)


MUTANTS = [
    # ---- the table of real bugs

    mutant("recovery_does_not_ask", "1: recovery rolls back what is prepared without asking the log",
           (AGENT + "cross_recovery.cpp", "  out.emplace_back(AskDecision{id});",
            "  start_settling(id, round, false, out);")),
    mutant("fence_over_running_rounds", "2: the log forgets rounds of several parts that are under way",
           (COORDINATOR + "coordinator_machine.cpp",
            "log_.tick(cross_.finished(local_.finished(last_sequence_)), now, out);",
            "log_.tick(local_.finished(last_sequence_), now, out);")),
    mutant("fence_over_local_rounds", "2: shards forget local rounds that are under way",
           (COORDINATOR + "coordinator_machine.cpp",
            "log_.tick(cross_.finished(local_.finished(last_sequence_)), now, out);",
            "log_.tick(cross_.finished(last_sequence_), now, out);")),
    mutant("close_reads_before_it_fences", "2: closing an incarnation reads its commits, then raises the fence",
           (DIRECTORY, """  const auto* before = incarnations.read(backend, silent);
  if (before != nullptr && !before->is_closed) {
    if (auto* start = co_await incarnations.lock(backend, silent)) {
      *start = {Sequence(INT64_MAX), true};
    }
  }
  co_await server_.moment(backend);
  std::vector<RoundId> aborts;""", "  std::vector<RoundId> aborts;"),
           (DIRECTORY, """  if (commits.empty()) {
    co_await incarnations.erase(backend, silent);""", """  const auto* before = incarnations.read(backend, silent);
  if (before != nullptr && !before->is_closed) {
    if (auto* start = co_await incarnations.lock(backend, silent)) {
      *start = {Sequence(INT64_MAX), true};
    }
  }
  if (commits.empty()) {
    co_await incarnations.erase(backend, silent);""")),
    mutant("gid_of_any_cluster", "3: a gid of another cluster on the instance is taken for its own",
           (SHARD, "gid->cluster != cluster_ || ", "")),
    mutant("gid_of_any_shard", "3: a gid of another shard on the instance is taken for its own",
           (SHARD, " || gid->shard != shard_", "")),
    mutant("missing_branch_is_success", "4: 42704 is taken for settled though no marker row is there",
           (SHARD, "is_over(backend, settle.round) ? SettleOutcome::Settled : SettleOutcome::Lost;",
            "SettleOutcome::Settled;")),
    mutant("lost_half_counts_as_confirmed", "4: a commit is forgotten though a participant lost its half",
           (COORDINATOR + "log_keeper.cpp", """    part->is_lost = true;
    out.emplace_back(Alarm{""", """    parts.erase(part);
    if (parts.empty()) unconfirmed_.erase(found);
    out.emplace_back(Alarm{""")),
    mutant("commits_are_not_adopted", "5: a commit is forgotten when its coordinator has told its clients",
           (COORDINATOR + "cross_rounds.cpp", "  log_.adopt(round_id(id), unconfirmed);\n", "")),
    mutant("one_confirmation_is_enough", "5: a commit is forgotten when its first participant has confirmed",
           (COORDINATOR + "log_keeper.cpp", "  if (!parts.empty()) return;\n  if (event.round", "  if (event.round")),
    mutant("settled_later_counts_as_settled", "5: a participant that settles later counts as settled",
           (COORDINATOR + "cross_rounds.cpp",
            "event.reply.value().outcome == messages::SettleOutcome::Settled;\n  } else {",
            "true;\n  } else {"),
           (COORDINATOR + "cross_rounds.cpp",
            "if (event.reply && event.reply.value().outcome != messages::SettleOutcome::Later) {\n    part->is_settled",
            "if (event.reply) {\n    part->is_settled")),
    mutant("decide_without_fence", "6: a decision after its abort was forgotten",
           (DIRECTORY, "  if (!fence || round.sequence <= *fence) {\n    auto* verdict",
            "  if (false) {\n    auto* verdict")),
    mutant("decide_on_the_fence", "6: the fence is compared with < in decide",
           (DIRECTORY, "  if (!fence || round.sequence <= *fence) {\n    auto* verdict",
            "  if (!fence || round.sequence < *fence) {\n    auto* verdict")),
    mutant("users_without_fence", "6: users are created in a round that is fenced off",
           (DIRECTORY,
            'if (!fence || round.sequence <= *fence) throw SqlError{"KO010", "the round is fenced off"};', "")),
    mutant("terminated_is_final", "7: 57P01 is taken for a statement that did nothing",
           ("base/sqlstate.cpp", 'sqlstate.starts_with("57P") || ', "")),
    mutant("lost_reply_is_failure", "8: a local round whose reply was lost counts as not done, at the coordinator",
           (COORDINATOR + "local_rounds.cpp", "event.reply.error().fault == Fault::InDoubt", "false")),
    mutant("lost_append_is_failure", "8: a local round whose append's reply was lost counts as not done, at the agent",
           (AGENT + "local_rounds.cpp", "        round.state = State::Unknown;\n        break;",
            "        failed.push_back(id);\n        break;")),
    mutant("answered_before_decided", "9: success is said before the decision",
           (COORDINATOR + "cross_rounds.cpp", "    decide(id, round, out);\n    return;",
            "    decide(id, round, out);\n    answer_committed(id, round, true, out);\n    return;")),
    mutant("doubtful_decision_is_abort", "9: failure is said of a decision whose reply was lost",
           (COORDINATOR + "cross_decisions.cpp", "if (was_never_asked && !round.is_in_doubt) {", "if (true) {")),
    mutant("doubtful_user_is_abort", "9: failure is said of a user's creation whose reply was lost",
           (COORDINATOR + "cross_decisions.cpp", "if (error.fault == Fault::InDoubt) {",
            "if (false) {")),
    mutant("deadline_of_a_sent_round", "9: failure is said at the deadline of a round that may have committed",
           (COORDINATOR + "order_book.cpp",
            "entry.stage == Stage::Sent || entry.may_be_done", "entry.may_be_done")),
    mutant("local_rounds_do_not_hold", "10: local rounds take no holds",
           (AGENT + "local_rounds.cpp", "    memory_.holds.take(*side, id);\n", "")),
    mutant("cross_rounds_do_not_hold", "10: rounds of several parts take no holds",
           (AGENT + "cross_rounds.cpp", "    memory_.holds.take(account, id);\n", "")),
    mutant("neither_holds_nor_comparison", "10: local rounds look at no holds, and nothing compares heads",
           (AGENT + "local_rounds.cpp",
            "} else if (const auto obstacle = memory_.find_obstacle(*side, request, now)) {",
            "} else if (const auto obstacle = std::optional<messages::Busy>()) {"),
           (SHARD, "  compare_heads(backend, batch);\n", "")),
    mutant("stale_heads_are_kept", "11: a retry goes by the same stale heads",
           (AGENT + "local_rounds.cpp",
            "  for (const auto account : round.held) memory_.heads.forget(account);\n  ++round.attempt;",
            "  ++round.attempt;")),
    mutant("heads_are_not_compared", "11: an append goes by heads that are not there",
           (SHARD, "  compare_heads(backend, batch);\n", "")),
    mutant("late_reading_hits_the_next", "12: the answer to an earlier reading is taken for the later one's",
           (AGENT + "local_rounds.cpp", " ||\n      found->second.attempt != event.attempt) {", ") {")),
    mutant("late_scan_hits_the_next", "12: a scan of before a take-over is taken for the running one",
           (AGENT + "agent_machine.cpp", "if (!is_scanning_ || event.scan != cross_.last_scan()) return;",
            "if (!is_scanning_) return;")),
    mutant("scan_of_before_the_prepare", "12: a scan that began before a prepare tells that it is gone",
           (AGENT + "cross_recovery.cpp", " && round.prepared_at_scan < event.scan &&", " &&")),
    mutant("acknowledged_before_settled", "18: 201 is said when the decision is durable",
           (COORDINATOR + "cross_rounds.cpp",
            "  send_settles(id, round, true, out);\n}\n\nvoid CrossRounds::send_settles",
            "  send_settles(id, round, true, out);\n  answer_committed(id, round, true, out);\n}\n\n"
            "void CrossRounds::send_settles")),
    mutant("half_settled_is_enough", "18: 201 is said when one of a transfer's two shards has settled",
           (COORDINATOR + "cross_rounds.cpp", "const bool is_settled = std::ranges::all_of(order.seats,",
            "const bool is_settled = std::ranges::any_of(order.seats,")),
    mutant("key_with_other_content", "19: a key is replayed for another amount",
           ("base/ledger.cpp", "asked.amount == stored.transfer.amount", "true")),
    mutant("failed_settle_is_left", "20: what could not be settled now is never tried again",
           (AGENT + "cross_rounds.cpp", "    case SettleOutcome::Later:\n      round.state = State::Prepared;\n",
            "    case SettleOutcome::Later:\n")),
    mutant("asking_does_not_write", "21: a round that is not there is not made void",
           (SHARD, """    const bool is_new = co_await applied_rounds.insert(backend, round, true);
    if (is_new) break;
    const auto* row""", """    const bool is_new = applied_rounds.read(backend, round) == nullptr;
    if (is_new) break;
    const auto* row""")),
    mutant("key_in_doubt_is_contention", "22: not_committed is said of a key whose round is in doubt",
           (COORDINATOR + "order_book.cpp",
            "  if (setback == Setback::BusyInDoubt) entry.has_met_its_key = is_keyed(entry.order);\n", "")),
    mutant("key_that_was_met_is_forgotten", "22: not_committed is said because of what came after the key was met",
           (COORDINATOR + "order_book.cpp",
            "  if (setback == Setback::BusyInDoubt) entry.has_met_its_key = is_keyed(entry.order);",
            "  entry.has_met_its_key = setback == Setback::BusyInDoubt && is_keyed(entry.order);")),
    mutant("key_elsewhere_is_unknown_here", "22: not_committed is said of a key that another order has under way",
           (COORDINATOR + "order_book.cpp", "found != under_way_.end() && found->second.order != id;",
            "false;")),
    mutant("settled_by_hand_stays_held", "24: a hold is kept when somebody else settled the gid",
           (AGENT + "cross_recovery.cpp", "      gone.push_back(id);\n", "")),
    mutant("visible_is_durable", "26: decide answers from a plain read of the row",
           (DIRECTORY, "  const auto fence = co_await fence_of(backend, round.incarnation);\n  co_await server_.moment",
            """  if (const auto* seen = decisions.read(backend, round)) {
    co_return seen->is_commit ? Decision::Commit : Decision::Abort;
  }
  const auto fence = co_await fence_of(backend, round.incarnation);
  co_await server_.moment""")),

    # ---- what else is guarded

    mutant("epoch_is_not_checked", "an append of an older agent is refused",
           ("sql/shard/0003_asked_by.sql",
            "  perform check_epoch(p_epoch);\n  insert into applied_rounds", "  insert into applied_rounds"),
           killers=OLD_AGENTS),
    mutant("epoch_of_votes", "a prepare goes by votes of this epoch only",
           (AGENT + "cross_rounds.cpp", "if (message.epoch != memory_.epoch) {", "if (false) {")),
    mutant("rounds_are_never_over", "a round that was forgotten is refused",
           (SHARD, "return fence != nullptr && *fence >= round.sequence;", "return false;"),
           (SHARD, "if (identity.read(backend, 0)->incarnation_floor > round.incarnation) return true;", "")),
    mutant("over_up_to_the_fence", "the fence is compared with >= where rounds are over",
           (SHARD, "return fence != nullptr && *fence >= round.sequence;",
            "return fence != nullptr && *fence > round.sequence;")),
    mutant("branch_without_marker", "a prepared branch brings its applied_rounds row",
           (SHARD, "  co_await append_round(backend, round.batch);\n",
            "  co_await append_round(backend, round.batch);\n"
            "  co_await applied_rounds.erase(backend, round.batch.round);\n")),
    mutant("silence_is_consent", "a shard that has not said that it prepared counts as prepared",
           (COORDINATOR + "cross_rounds.cpp", "    if (legs_of(participant) != nullptr) continue;\n    is_prepared",
            "    if (legs_of(participant) != nullptr || !participant.prepared) continue;\n    is_prepared")),
    mutant("settled_before_decided", "settles follow the decision",
           (COORDINATOR + "cross_rounds.cpp", "    decide(id, round, out);\n    return;",
            "    send_settles(id, round, true, out);\n    decide(id, round, out);\n    return;")),
    mutant("keys_are_read_once", "keys are looked up again when heads are",
           (AGENT + "local_rounds.cpp", "ReadState missing{id, round.attempt, memory_.epoch, {}, round.keys};",
            "ReadState missing{id, round.attempt, memory_.epoch, {}, {}};\n"
            "  if (round.attempt == 0) missing.keys = round.keys;")),
    mutant("key_is_not_claimed", "a key is in one round at a time",
           (AGENT + "cross_rounds.cpp", "if (needs_key && memory_.is_key_in_flight_elsewhere(transfer.id, id)) {",
            "if (false) {")),
    mutant("debits_are_not_summed", "a vote counts the round's other legs",
           (AGENT + "vote_evaluation.cpp", "  sum = *total;\n", "")),
    mutant("credits_count_for_debits", "a vote does not count on what other legs bring",
           (AGENT + "vote_evaluation.cpp", "  if (!total || check(account, head, *total)) return messages::Retry{};",
            "  auto hopeful = head;\n"
            "  if (direction == Direction::Debit) hopeful.balance = *head.balance.plus(sums.credits);\n"
            "  if (!total || check(account, hopeful, *total)) return messages::Retry{};")),
    mutant("holds_are_not_written", "a take-over finds the accounts of what is prepared",
           ("shard-agent/io/append_sql.cpp", "' from identity where epoch = \"",
            "' from identity where false and epoch = \""),
           killers=OLD_AGENTS),
    mutant("holds_rows_stay", "holds rows of settled rounds go",
           (AGENT + "cross_rounds.cpp", "      settled_.push_back(event.round);\n", "")),
    mutant("reservations_never_expire", "a reservation whose coordinator is gone ends",
           (AGENT + "cross_recovery.cpp",
            "if (round.state == State::Reserved && round.expires <= now) expired.push_back(id);",
            "")),
    mutant("expired_is_prepared", "an expired reservation is not prepared",
           (AGENT + "cross_rounds.cpp", "  if (round.expires <= now.steady) {\n    drop(message.round);",
            "  if (false) {\n    drop(message.round);")),
    mutant("older_sessions_go_on", "a take-over ends the sessions of older agents",
           ("shard-agent/io/ledger_store.cpp", "    end_older_sessions(session, epoch);\n", ""), killers=OLD_AGENTS),
    mutant("take_over_looks_away", "a take-over holds what is prepared",
           (AGENT + "cross_recovery.cpp", "      memory_.holds.take(account, id, HoldReason::InDoubt);\n", "")),
    mutant("heads_survive_the_connection", "heads are forgotten with a lost connection",
           (AGENT + "agent_machine.cpp", "      memory_.heads.clear();\n", "")),
    mutant("heads_survive_another_hand", "heads are forgotten when somebody else settled",
           (AGENT + "cross_recovery.cpp",
            "    for (const auto account : rounds_.find(id)->second.held) memory_.heads.forget(account);\n", "")),
    mutant("aborts_forgotten_without_fence", "abort rows go behind the fence only",
           (DIRECTORY,
            "if (start != nullptr && start->fence < fence) start->fence = fence;", "")),
    mutant("no_beat", "a living coordinator is seen to live",
           (DIRECTORY,
            "if (auto* count = co_await beats.lock(backend, own)) ++*count;", "co_await beats.lock(backend, own);")),
    mutant("closed_at_first_sight", "an incarnation is closed only after it was silent for long",
           (COORDINATOR + "log_keeper.cpp",
            "if (is_closed || now - watched.since >= limits_.dead_after) {", "if (true) {")),
    mutant("sleeper_judges_others", "who looked away begins to watch anew",
           (COORDINATOR + "log_keeper.cpp",
            "  if (now - last_look_ > limits_.dead_after / 2) watched_.clear();\n", "")),
    mutant("closed_coordinator_goes_on", "a coordinator that was closed stops",
           (COORDINATOR + "log_keeper.cpp", "if (event.kept.value().is_closed) {", "if (false) {")),
    mutant("closed_is_finished", "the fence of a closed incarnation says nothing of its commits",
           (AGENT + "round_forgetting.cpp", "    if (is_closed) {", "    if (false && is_closed) {")),
    mutant("delivered_twice_runs_twice", "a round that was answered is not run again",
           (AGENT + "agent_machine.cpp", " || local_.was_answered(round)) {", ") {")),
    mutant("refused_from_memory", "a vote of no is read, not remembered",
           (AGENT + "cross_rounds.cpp", "  if (round.has_confirmed) return true;", "  if (true) return true;")),
    mutant("refused_from_memory_locally", "a local refusal is read, not remembered",
           (AGENT + "local_rounds.cpp", "  const bool is_sure = !draft.is_empty() && !evaluation.has_answered_unwritten();",
            "  const bool is_sure = !evaluation.has_answered_unwritten();")),
    mutant("unchanged_from_memory", "a change that changes nothing is read, not remembered",
           (AGENT + "local_rounds.cpp", "  const bool is_sure = !draft.is_empty() && !evaluation.has_answered_unwritten();",
            "  const bool is_sure = !draft.is_empty();")),
    mutant("source_is_cleaned_at_once", "22: the source is cleaned before the target owns what was cut over",
           (COORDINATOR + "rebalancer.cpp", "  if (waiting.empty() && !move.is_arrived) {", "  if (false) {")),
    mutant("limits_are_set_twice", "11: limits whose reply was lost are set again",
           (COORDINATOR + "local_rounds.cpp", "      book_.finish(order, Failed{FailCode::OutcomeUnknown}, out);\n      continue;",
            "      book_.set_back(order, Setback::Retry, std::chrono::steady_clock::now(), out);\n      continue;")),
    mutant("a_clock_set_back_hides_age", "25: what is prepared in the future is not asked about",
           (AGENT + "cross_recovery.cpp", "std::abs(age_seconds) >= old", "age_seconds >= old")),
    mutant("messages_for_any_shard", "an agent takes messages for another shard",
           ("shard-agent/io/agent_api.cpp", "if (shard == nullptr || *shard !=", "if (shard == nullptr && *shard !="),
           killers=("integration.identity_test",)),
    mutant("any_directory_is_believed", "an agent believes the directory of another cluster",
           ("directory/io/directory_store.cpp", "  if (found.value() == wanted) return success();", "  return success();"),
           killers=("integration.identity_test",)),
    mutant("in_doubt_is_unavailable", "a lost reply of the database is unknown, not failed",
           (AGENT + "db_outcome.cpp", "      return DbOutcome::Lost;", "      return DbOutcome::Unavailable;")),
    mutant("no_connection_is_harmless", "a connection that is gone makes the agent take over anew",
           (AGENT + "db_outcome.cpp",
            "      return error.sqlstate.empty() || error.sqlstate == \"25006\" ? DbOutcome::Disconnected\n"
            "                                                                 : DbOutcome::Unavailable;",
            "      return DbOutcome::Unavailable;")),
    mutant("under_way_is_not_known", "a coordinator knows which transfers its rounds may bring",
           (COORDINATOR + "order_book.cpp", "  under_way_.insert_or_assign(transfer->id, UnderWay{id, round});\n", "")),
    mutant("fenced_off_is_abort", "a fenced coordinator asks a participant before it says anything",
           (COORDINATOR + "cross_decisions.cpp",
            "      round.state = State::Asking;\n      out.emplace_back(Send<messages::AskRound>{\n"
            "          round.participants.front().shard, event.round, {round_id(event.round)}});\n",
            "      abort(event.round, Setback::Retry, now, out);\n")),
    mutant("over_is_not_applied", "of a round that is over nobody knows whether it was applied",
           (COORDINATOR + "cross_decisions.cpp", "      end_unknown(event.round, out);\n",
            "      abort(event.round, Setback::Retry, now, out);\n")),
    mutant("late_prepare_is_prepared", "an abort that overtakes its prepare ends the reservation",
           (AGENT + "cross_rounds.cpp",
            "      if (!message.is_commit) release(message.round);  // nothing was prepared here\n", "")),
    mutant("released_while_reading", "a release that overtakes the votes ends the reservation",
           (AGENT + "cross_rounds.cpp",
            "  if (!has_survivor || round.is_released) drop(id);", "  if (!has_survivor) drop(id);")),
    mutant("answered_order_survives", "an order that was answered at its deadline does not commit any more",
           (COORDINATOR + "cross_votes.cpp",
            "  if (entry == nullptr) return false;  // answered", "  if (entry == nullptr) return true;  // answered")),

    # ---- users that move

    mutant("tail_stays_behind", "13: what an account got after it was copied is not handed over at the cut-over",
           (COORDINATOR + "cross_moves.cpp", "  if (effect.parts.empty()) return false;\n", "  return false;\n"),
           (SHARD_MOVES, "row->is_arrival_of(move) && row->copied == version;", "row->is_arrival_of(move);"),
           (SHARD, "  compare_heads(backend, batch);\n", "")),
    mutant("route_is_not_read_again", "14: an order goes back to the shard that its account has left",
           (COORDINATOR + "order_book.cpp", "      send_to(entry.order, account, route->second);\n", "")),
    mutant("route_read_is_old", "14: who reads looks only where the user was",
           ("tests/simulation/coordinator_api.cpp",
            "    body_->routes.forget(account);\n    with_route", "    with_route")),
    mutant("prepared_where_the_data_is_gone", "15: an account moves away from under a prepared round",
           MOVES_TAKE_NO_HOLD,
           NO_LAST_WORD),
    mutant("leaves_in_the_midst_of_a_round", "15: an account that another round holds moves away",
           MOVES_TAKE_NO_HOLD),
    mutant("keys_stay_behind", "16: a key is not known where its user has moved to",
           (SHARD_MOVES, "    if (is_new) co_await append_entry(backend, std::move(row));",
            "    row.entry.is_anchor = false;\n    if (is_new) co_await append_entry(backend, std::move(row));")),
    mutant("deposit_is_another_one_elsewhere", "23: a deposit's key does not fit the @world of another shard",
           ("base/ledger.cpp", "    return asked.world_currency() == stored.world_currency();\n",
            "    return asked.value() >> 16 == stored.value() >> 16;\n")),
    mutant("sleeper_cleans_what_is_back", "25: a mover deletes what belongs to no move, or to a later one",
           (SHARD_MOVES, "  co_await delete_copies(backend, cleaning, static_cast",
            "  co_await delete_newest(backend, clean.accounts, static_cast")),
    mutant("read_where_it_left", "nobody reads an account where it may have left",
           (AGENT + "agent_machine.cpp",
            "  return hold != nullptr && cross_.may_have_left(hold->round, account);", "  return false;")),
    mutant("leaving_is_forgotten", "a new agent knows which accounts its rounds in doubt hand over",
           (AGENT + "cross_recovery.cpp", "    round.leaving.insert(leaving.begin(), leaving.end());\n", "")),
    mutant("ownership_stays", "an account that departs is not owned any more",
           (SHARD_MOVES,
            "  for (const auto& leaving : departing) co_await accounts.erase(backend, leaving.account);\n", "")),
    mutant("no_last_word", "the source's last word is the moved entry",
           NO_LAST_WORD),
    mutant("cleaned_before_it_left", "nothing is cleaned as long as its round is not settled",
           (SHARD_MOVES, "    return is_left || accounts.read(backend, account) != nullptr;\n",
            "    return is_left;\n")),
    mutant("ends_before_it_is_clean", "a move ends when nothing of it is left",
           (COORDINATOR + "rebalancer.cpp", "  } else if (!event.reply.value().is_complete) {",
            "  } else if (false) {")),
    mutant("world_leaves_its_users", "an @world stays until its shard has no users",
           (DIRECTORY_MOVES, " && !(worlds > 0 && are_users_left);", " && !(worlds < 0 && are_users_left);"),
           ("tests/simulation/coordinator_moves.cpp", " && !users.contains(shard)) empty", ") empty")),
    mutant("world_opens_for_nothing", "an @world that was not used is not opened",
           (AGENT + "local_rounds.cpp", "  draft.drop_unused_worlds();\n", "")),
    mutant("chunk_leaves_a_gap", "a chunk that would leave a gap is not written",
           (SHARD_MOVES, """ && !span.has_gap() &&
                      span.first <= seen->copied.next();""", ";")),
    mutant("arrives_where_it_is", "an account does not arrive where it is owned",
           (SHARD_MOVES, "    if (is_owned || !row->is_arrival_of(begin.move)) {",
            "    if (!row->is_arrival_of(begin.move)) {")),
    mutant("nobody_sweeps", "what messages bring that come after their move is deleted",
           (SHARD_MOVES, "  co_await delete_copies(backend, sweeping, limit);\n", ""),
           (SHARD_MOVES, "  const bool is_complete = leftovers(backend, over).empty();",
            "  const bool is_complete = true;")),
    mutant("handed_out_and_undone", "what a source hands out survives its failover",
           (SHARD_MOVES, """  co_await touch_identity(backend, epoch);
  co_await server_.commit(backend);
  co_return chunk;""",
            "  server_.rollback(backend);\n  co_return chunk;")),
    # Second lines: something else stands in the way of what these guard, wherever the simulator looks.
    mutant("lease_is_a_promise", "17: who held the rebalance once goes on with it",
           (DIRECTORY_SQL, "  perform from rebalance where holder = p_incarnation for update;",
            "  perform from rebalance for update;"), killers=HONESTY),
    mutant("arrives_in_part", "13: an account arrives whatever of it is copied",
           (SHARD_SQL, " and m.copied = a.version and", " and"), killers=HONESTY),
    mutant("cleans_for_another_move", "25: a mover deletes what belongs to another move",
           (SHARD_SQL, "and m.move = p_move and m.is_leaving = p_is_leaving", "and m.is_leaving = p_is_leaving"),
           killers=HONESTY),
    mutant("chunk_is_written_twice", "a chunk that comes twice does nothing the second time",
           (SHARD_SQL, " and e.version > m.copied;", ";"), killers=HONESTY),
    mutant("chunk_of_any_move", "a chunk is written by the account's move only",
           (SHARD_SQL, "   where m.move = p_move and not m.is_leaving and e.version", "   where e.version"),
           (SHARD_SQL, "where m.account = c.account and m.move = p_move and not m.is_leaving",
            "where m.account = c.account"),
           killers=HONESTY),
    mutant("drained_shard_takes_users", "a shard that drains takes no users",
           (DIRECTORY_SQL,
            "              where not exists (select from shards s where s.id = n.id and s.state = 'active')) then",
            "              where not exists (select from shards s where s.id = n.id)) then"), killers=HONESTY),
    mutant("arrives_upon_an_old_copy", "16: an account comes back only when its old copy is gone",
           (SHARD_SQL, """do update set move = excluded.move
   where not m.is_leaving and m.move""", """do update set move = excluded.move, is_leaving = false
   where m.move"""), killers=HONESTY),

    # ---- who asked

    mutant("opening_names_nobody", "a new account's entry names who asked for it",
           (AGENT + "draft.cpp", "  entry.asked_by = opening.asked_by;\n", "")),
    mutant("payee_side_names_nobody", "both sides of a transfer name who asked",
           (AGENT + "draft.cpp", "  entry.metadata = transfer.metadata;\n  entry.asked_by = transfer.asked_by;\n"
            "  return append(std::move(entry));\n}\n\nvoid Draft::remember_refusal",
            "  entry.metadata = transfer.metadata;\n  return append(std::move(entry));\n}\n\n"
            "void Draft::remember_refusal")),
    mutant("append_drops_who_asked", "what an entry says of who asked is written",
           ("sql/shard/0003_asked_by.sql", "e.refusal::json, e.asked_by\n", "e.refusal::json, null\n"),
           killers=HONESTY),
]

# Quick to build and to kill, of different parts: for CI.
QUICK = ["recovery_does_not_ask", "commits_are_not_adopted", "decide_on_the_fence", "lost_reply_is_failure",
         "asking_does_not_write", "branch_without_marker"]
