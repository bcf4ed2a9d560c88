#include "cli/csv.hpp"

namespace koshel::cli {
namespace {

constexpr std::size_t kRecordBytesMax = 1 << 16;

enum class Place { FieldStart, Plain, Quoted, AfterQuote };

// Goes over `text` once; ends in Place::Quoted when a quoted field goes on in the next line.
struct Splitter {
  Place place = Place::FieldStart;
  std::string field;
  CsvRecord* record = nullptr;

  void take(char c) {
    switch (place) {
      case Place::FieldStart:
      case Place::Plain:
        if (c == ',') return end_field();
        if (c == '"' && place == Place::FieldStart) {
          place = Place::Quoted;
          return;
        }
        if (c == '"') record->fault = "has a quote inside a field that does not begin with one";
        place = Place::Plain;
        field += c;
        return;
      case Place::Quoted:
        if (c == '"') {
          place = Place::AfterQuote;
        } else {
          field += c;
        }
        return;
      case Place::AfterQuote:
        if (c == ',') return end_field();
        place = c == '"' ? Place::Quoted : Place::Plain;
        if (c != '"') record->fault = "has text after a closing quote";
        field += c;
        return;
    }
  }
  // A CR at the end belongs to the line's end, unless a quoted field goes on beyond it.
  void take_line(std::string_view line) {
    const bool has_cr = line.ends_with('\r');
    if (has_cr) line.remove_suffix(1);
    for (const char c : line) take(c);
    if (has_cr && place == Place::Quoted) take('\r');
  }
  void end_field() {
    record->fields.push_back(std::move(field));
    field.clear();
    place = Place::FieldStart;
  }
};

}  // namespace

CsvReader::CsvReader(std::istream& input) : input_(input) {}

bool CsvReader::read_line(std::string& line) {
  if (!std::getline(input_, line)) return false;
  bytes_read_ += line.size() + 1;
  if (++line_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  return true;
}

std::optional<CsvRecord> CsvReader::next() {
  std::string line;
  do {
    if (!read_line(line)) return std::nullopt;
  } while (line.empty() || line == "\r");
  CsvRecord record;
  record.line = line_;
  Splitter splitter;
  splitter.record = &record;
  std::size_t bytes = 0;
  for (;;) {
    bytes += line.size();
    splitter.take_line(line);
    if (splitter.place != Place::Quoted) break;
    if (bytes > kRecordBytesMax || !read_line(line)) {
      record.fault = "has a quoted field without an end";
      break;
    }
    splitter.take('\n');
  }
  splitter.end_field();
  return record;
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace koshel::cli
