// CSV files of users: whatever fields there are, written they are read back; a line that is taken is
// a user's.

#include "cli/csv.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <set>
#include <sstream>

#include "base/name.hpp"
#include "cli/import_file.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace koshel;
using namespace koshel::cli;

std::vector<CsvRecord> records_of(const std::string& text) {
  std::istringstream input(text);
  CsvReader reader(input);
  std::vector<CsvRecord> records;
  std::uint64_t line = 0;
  while (auto record = reader.next()) {
    INVARIANT(record->line > line && !record->fields.empty());
    line = record->line;
    records.push_back(std::move(*record));
  }
  return records;
}

void check_record(const CsvRecord& record) {
  if (!record.fault.empty()) return;
  std::string line;
  for (const auto& field : record.fields) line += csv_field(field) + ",";
  const auto again = records_of("title\n" + line + "end\n");
  INVARIANT(again.size() == 2 && again[1].fault.empty());
  auto fields = record.fields;
  fields.emplace_back("end");
  INVARIANT(again[1].fields == fields);
}

void check_import(const std::string& text) {
  const int memory = memfd_create("import", 0);
  INVARIANT(memory >= 0);
  INVARIANT(write(memory, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  auto file = ImportFile::open("/proc/self/fd/" + std::to_string(memory));
  close(memory);
  if (!file) {
    INVARIANT(!file.error().sentence.empty());
    return;
  }
  std::set<std::string> names;
  for (auto block = file.value().read_block(3); !block.is_empty();
       block = file.value().read_block(3)) {
    for (const auto& line : block.lines) {
      const auto [name, fault] = check_name(line.name);
      INVARIANT(fault.empty() && names.insert(name).second && !line.max_balance.empty());
    }
    for (const auto& rejected : block.rejections) {
      INVARIANT(!rejected.code.empty() && !rejected.detail.empty() && rejected.line > 0);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  for (const auto& record : records_of(text)) check_record(record);
  check_import(text);
  return 0;
}
