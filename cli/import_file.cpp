#include "cli/import_file.hpp"

#include <algorithm>
#include <cstring>

#include "base/name.hpp"

namespace koshel::cli {
namespace {

std::uint64_t count_lines(const std::string& path) {
  std::ifstream input(path, std::ios::binary);
  std::vector<char> buffer(1 << 16);
  std::uint64_t lines = 0;
  char last = '\n';
  while (input) {
    input.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    lines += static_cast<std::uint64_t>(
        std::count(buffer.begin(), buffer.begin() + input.gcount(), '\n'));
    if (input.gcount() > 0) last = buffer[static_cast<std::size_t>(input.gcount()) - 1];
  }
  if (last != '\n') ++lines;
  return lines > 0 ? lines - 1 : 0;
}

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

}  // namespace

Outcome<ImportFile> ImportFile::open(const std::string& path) {
  ImportFile file;
  file.input_ = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*file.input_) {
    return Failure(ExitCode::Usage, "cannot read " + path + ": " + std::strerror(errno));
  }
  file.reader_ = std::make_unique<CsvReader>(*file.input_);
  const auto header = file.reader_->next();
  if (!header)
    return Failure(ExitCode::Usage, path + " is empty; its first line must name the columns");
  KOSHEL_TRY(auto columns, parse_header(*header, path));
  file.columns_ = columns;
  file.lines_estimated_ = count_lines(path);
  return file;
}

Outcome<ImportFile::Columns> ImportFile::parse_header(const CsvRecord& header,
                                                      const std::string& path) {
  const std::string place = path + ", line " + std::to_string(header.line);
  if (!header.fault.empty()) return Failure(ExitCode::Usage, place + ": it " + header.fault);
  Columns columns;
  columns.count = header.fields.size();
  for (std::size_t i = 0; i < header.fields.size(); ++i) {
    const std::string title = trimmed(header.fields[i]);
    int* column = title == "name"                            ? &columns.name
                  : title == "max_balance" || title == "max" ? &columns.max_balance
                  : title == "min_balance" || title == "min" ? &columns.min_balance
                  : title == "balance" || title == "current" ? &columns.balance
                  : title == "currency"                      ? &columns.currency
                                                             : nullptr;
    if (column == nullptr || *column >= 0) {
      return Failure(
          ExitCode::Usage,
          place + ": column '" + title +
              (column == nullptr ? "' is not known" : "' is there twice") +
              "; the columns are name, max_balance and, if wanted, min_balance, balance, currency");
    }
    *column = static_cast<int>(i);
  }
  if (columns.name < 0 || columns.max_balance < 0) {
    return Failure(ExitCode::Usage,
                   place +
                       ": the first line must name the columns, with `name` "
                       "and `max_balance` among them: name,max_balance,min_balance,balance");
  }
  return columns;
}

void ImportFile::take(CsvRecord record, Block& block) {
  const auto field = [&](int column) {
    const bool is_there = column >= 0 && static_cast<std::size_t>(column) < record.fields.size();
    return is_there ? trimmed(record.fields[static_cast<std::size_t>(column)]) : std::string();
  };
  ImportLine line{record.line,
                  field(columns_.name),
                  field(columns_.max_balance),
                  field(columns_.min_balance),
                  field(columns_.balance),
                  field(columns_.currency)};
  const auto reject = [&](const char* code, std::string detail) {
    block.rejections.push_back({line.line, line.name, code, std::move(detail)});
  };
  if (!record.fault.empty()) return reject("MALFORMED_LINE", "the line " + record.fault);
  if (record.fields.size() != columns_.count) {
    return reject("MALFORMED_LINE", "the line has " + std::to_string(record.fields.size()) +
                                        " fields, the header " + std::to_string(columns_.count));
  }
  auto check = check_name(line.name);
  if (!check.fault.empty()) return reject("VALIDATION_ERROR", "name " + check.fault);
  if (line.max_balance.empty()) return reject("VALIDATION_ERROR", "max_balance is empty");
  const auto [first, is_new] = line_of_name_.emplace(std::move(check.name), line.line);
  if (!is_new) {
    return reject("DUPLICATE_LINE",
                  "line " + std::to_string(first->second) + " has this name already");
  }
  block.lines.push_back(std::move(line));
}

ImportFile::Block ImportFile::read_block(std::size_t lines_max) {
  Block block;
  while (block.lines.size() + block.rejections.size() < lines_max) {
    auto record = reader_->next();
    if (!record) break;
    take(std::move(*record), block);
  }
  return block;
}

}  // namespace koshel::cli
