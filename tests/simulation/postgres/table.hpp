#pragma once
// A table of the model: rows under a unique key. Who inserts a key that an open or prepared
// transaction has just inserted, or writes a row that such a one has written, waits for its end. A
// row that such a one has inserted is not there yet for anything but an insert.

#include <algorithm>
#include <map>
#include <optional>

#include "tests/simulation/postgres/server.hpp"

namespace koshel::simulation {

template <class Key, class Value>
class Table {
 public:
  explicit Table(Server& server) : server_(server) {}

  // As the backend's next statement would see it; null: no such row.
  const Value* read(const Backend& backend, const Key& key) const {
    const auto found = rows_.find(key);
    return found == rows_.end() ? nullptr : visible(found->second, &backend);
  }
  // As anybody sees it.
  const Value* read(const Key& key) const {
    const auto found = rows_.find(key);
    return found == rows_.end() ? nullptr : visible(found->second, nullptr);
  }
  // Calls `each(key, value)` for rows from `first` on, until it returns false.
  template <class Each>
  void scan(const Backend* backend, const Key& first, Each each) const {
    for (auto row = rows_.lower_bound(first); row != rows_.end(); ++row) {
      const auto* value = visible(row->second, backend);
      if (value != nullptr && !each(row->first, *value)) return;
    }
  }
  template <class Each>
  void scan(const Backend* backend, Each each) const {
    for (const auto& [key, row] : rows_) {
      const auto* value = visible(row, backend);
      if (value != nullptr && !each(key, *value)) return;
    }
  }
  // The last visible row below or at `key` for which that holds.
  const Value* last_up_to(const Backend* backend, const Key& key, Key* found_key = nullptr) const {
    for (auto row = rows_.upper_bound(key); row != rows_.begin();) {
      --row;
      if (const auto* value = visible(row->second, backend)) {
        if (found_key != nullptr) *found_key = row->first;
        return value;
      }
    }
    return nullptr;
  }
  std::size_t size() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(rows_, [](const auto& row) { return row.second.value.has_value(); }));
  }

  // False: the key is there (23505, unless the statement says what to do on conflict).
  Task<bool> insert(Backend& backend, Key key, Value value) {
    for (;;) {
      auto& row = rows_[key];
      if (const auto other = writer_other_than(row, backend)) {
        co_await server_.wait_for(backend, other);
        continue;
      }
      if (visible(row, &backend) != nullptr) co_return false;
      write(backend, key, row)->wanted = std::move(value);
      co_return true;
    }
  }
  // Locks the row as an update does and returns the transaction's own copy; null: no such row.
  Task<Value*> lock(Backend& backend, Key key) { return lock_row(backend, key, Lock::Share); }
  // As select for update does: checks of foreign keys wait for it, and it for them.
  Task<Value*> lock_for_update(Backend& backend, Key key) {
    auto* value = co_await lock_row(backend, key, Lock::KeyShare);
    if (value != nullptr) rows_.find(key)->second.writer->is_for_update = true;
    co_return value;
  }
  Task<const Value*> lock_shared(Backend& backend, Key key) {
    return share(backend, key, Lock::Share);
  }
  // As the check of a foreign key does: updates do not mind.
  Task<const Value*> lock_key(Backend& backend, Key key) {
    return share(backend, key, Lock::KeyShare);
  }
  Task<bool> erase(Backend& backend, Key key) {
    const auto* row = co_await lock_row(backend, key, Lock::KeyShare);
    if (row == nullptr) co_return false;
    rows_.find(key)->second.writer->wanted.reset();
    co_return true;
  }
  // Before anything runs.
  void put(const Key& key, Value value) { rows_[key].value = std::move(value); }

 private:
  enum class Lock : std::int8_t { KeyShare, Share };
  struct RowChange;
  struct Row {
    std::optional<Value> value;
    RowChange* writer = nullptr;
    std::vector<std::pair<Xid, Lock>> sharers;
  };
  struct RowChange final : Change {
    RowChange(Table& the_table, Key the_key, Xid the_xid)
        : table(the_table), key(std::move(the_key)), xid(the_xid) {}
    void commit() override {
      auto& row = table.rows_[key];
      before = std::exchange(row.value, wanted);
      row.writer = nullptr;
      table.drop_if_empty(key);
    }
    void discard() override {
      table.rows_[key].writer = nullptr;
      table.drop_if_empty(key);
    }
    void uncommit() override {
      table.rows_[key].value = before;
      table.drop_if_empty(key);
    }
    void pend() override { table.rows_[key].writer = this; }

    Table& table;
    Key key;
    Xid xid;
    std::optional<Value> wanted;
    std::optional<Value> before;
    bool is_for_update = false;
  };

  static const Value* visible(const Row& row, const Backend* backend) {
    const bool is_own = row.writer != nullptr && backend != nullptr && backend->transaction &&
                        backend->transaction->xid == row.writer->xid;
    const auto& value = is_own ? row.writer->wanted : row.value;
    return value ? &*value : nullptr;
  }
  static Xid writer_other_than(const Row& row, const Backend& backend) {
    const auto xid = row.writer == nullptr ? 0 : row.writer->xid;
    return xid == backend.transaction->xid ? 0 : xid;
  }
  static Xid sharer_other_than(const Row& row, const Backend& backend, Lock weakest) {
    for (const auto& [xid, held] : row.sharers) {
      if (xid != backend.transaction->xid && held >= weakest) return xid;
    }
    return 0;
  }
  // Waits for the row's writer and for who shares it at least as much.
  Task<Value*> lock_row(Backend& backend, Key key, Lock weakest) {
    for (;;) {
      const auto found = rows_.find(key);
      if (found == rows_.end()) co_return nullptr;
      auto& row = found->second;
      auto other = writer_other_than(row, backend);
      if (other != 0 && !row.value) co_return nullptr;
      if (other == 0 && visible(row, &backend) == nullptr) co_return nullptr;
      if (other == 0) other = sharer_other_than(row, backend, weakest);
      if (other == 0) co_return &*write(backend, key, row)->wanted;
      co_await server_.wait_for(backend, other);
    }
  }
  Task<const Value*> share(Backend& backend, Key key, Lock lock) {
    for (;;) {
      const auto found = rows_.find(key);
      if (found == rows_.end()) co_return nullptr;
      auto& row = found->second;
      const auto other = writer_other_than(row, backend);
      if (other != 0 && !row.value) co_return nullptr;
      const bool is_in_the_way =
          other != 0 && (lock == Lock::Share || row.writer->is_for_update || !row.writer->wanted);
      if (is_in_the_way) {
        co_await server_.wait_for(backend, other);
        continue;
      }
      const auto* value = visible(row, &backend);
      if (value == nullptr) co_return nullptr;
      row.sharers.emplace_back(backend.transaction->xid, lock);
      backend.transaction->shares.push_back([this, key, xid = backend.transaction->xid] {
        const auto shared = rows_.find(key);
        if (shared == rows_.end()) return;
        std::erase_if(shared->second.sharers,
                      [xid](const auto& each) { return each.first == xid; });
        drop_if_empty(key);
      });
      co_return value;
    }
  }
  RowChange* write(Backend& backend, const Key& key, Row& row) {
    if (row.writer == nullptr) {
      auto change = std::make_unique<RowChange>(*this, key, backend.transaction->xid);
      change->wanted = row.value;
      row.writer = change.get();
      backend.transaction->changes.push_back(std::move(change));
    }
    return row.writer;
  }
  void drop_if_empty(const Key& key) {
    const auto found = rows_.find(key);
    if (found == rows_.end()) return;
    const auto& row = found->second;
    if (!row.value && row.writer == nullptr && row.sharers.empty()) rows_.erase(found);
  }

  Server& server_;
  std::map<Key, Row> rows_;
};

}  // namespace koshel::simulation
