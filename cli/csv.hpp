#pragma once
// Comma-separated values as RFC 4180 has them: quoted fields, doubled quotes, line breaks inside
// quotes, LF or CRLF, an optional byte order mark. Reads a record at a time, so a file may be of
// any size.

#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace koshel::cli {

struct CsvRecord {
  std::uint64_t line = 0;  // where it begins, counted from 1
  std::vector<std::string> fields;
  std::string fault;  // why the record cannot be used, or empty
};

class CsvReader {
 public:
  explicit CsvReader(std::istream& input);
  std::optional<CsvRecord> next();  // empty lines are skipped; nullopt at the end
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  bool read_line(std::string& line);

  std::istream& input_;
  std::uint64_t line_ = 0;
  std::uint64_t bytes_read_ = 0;
};

// A field as it has to be written, quoted only if it must be.
std::string csv_field(std::string_view text);

}  // namespace koshel::cli
