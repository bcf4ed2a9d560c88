#pragma once
// The file that `user import` reads: a header line that names the columns, then one user a line.
// What cannot be a user at all, and a name that an earlier line had, is told apart here, before
// anything is sent. Remembers every name, about 100 bytes each.

#include <fstream>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cli/console.hpp"
#include "cli/csv.hpp"

namespace koshel::cli {

struct ImportLine {
  std::uint64_t line = 0;
  std::string name, max_balance, min_balance, balance, currency;  // "" where the file says nothing
};

struct Rejection {
  std::uint64_t line = 0;
  std::string name, code, detail;
};

class ImportFile {
 public:
  static Outcome<ImportFile> open(const std::string& path);

  struct Block {
    std::vector<ImportLine> lines;
    std::vector<Rejection> rejections;
    bool is_empty() const { return lines.empty() && rejections.empty(); }
  };
  Block read_block(std::size_t lines_max);  // empty at the end of the file

  std::uint64_t lines_estimated() const { return lines_estimated_; }

 private:
  struct Columns {
    int name = -1, max_balance = -1, min_balance = -1, balance = -1, currency = -1;
    std::size_t count = 0;
  };
  static Outcome<Columns> parse_header(const CsvRecord& header, const std::string& path);
  void take(CsvRecord record, Block& block);

  std::unique_ptr<std::ifstream> input_;
  std::unique_ptr<CsvReader> reader_;
  Columns columns_;
  std::unordered_map<std::string, std::uint64_t> line_of_name_;  // the first that could be sent
  std::uint64_t lines_estimated_ = 0;
};

}  // namespace koshel::cli
