#pragma once
// How the console speaks: aligned tables and JSON on stdout, progress on stderr. Widths count
// characters, not bytes, so names in any script line up. Whatever goes out here is made printable
// first: names and metadata come from strangers, and a terminal obeys control characters.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.hpp"

namespace koshel::cli {

class Table {
 public:
  enum class Align { Left, Right };
  struct Column {
    std::string title;
    Align align = Align::Left;
  };
  explicit Table(std::vector<Column> columns);
  void add(std::vector<std::string> cells);  // as many as there are columns
  // On stdout, what was added since the last time; the titles only once. Columns never get
  // narrower, so pages of one list line up.
  void print();

 private:
  void append_row(std::string& text, const std::vector<std::string>& cells) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
  bool has_titles_ = false;  // on stdout already
};

// A line on stderr that is redrawn on a terminal; elsewhere each time a line of its own.
class LiveLine {
 public:
  LiveLine();
  bool is_terminal() const { return is_terminal_; }
  void draw(std::string_view line);
  void end(std::string_view line);  // what comes after it stands below

 private:
  bool is_terminal_;
};

// "[######....]  60% 12 345 of 20 575", without the bar unless on a terminal.
std::string progress_text(std::uint64_t done, std::uint64_t total, bool is_terminal);

// A bar that is redrawn on a terminal; elsewhere a line every few seconds. Draws on stderr.
class ProgressBar {
 public:
  ProgressBar(std::string title, std::uint64_t total);
  ~ProgressBar();
  void update(std::uint64_t done, std::string_view note = {});
  void set_total(std::uint64_t total) { total_ = total; }  // once it is known exactly
  void finish();  // leaves the last state on a line of its own

 private:
  void draw(bool is_last);

  std::string title_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::string note_;
  LiveLine line_;
  bool is_finished_ = false;
  Instant started_;
  Instant drawn_;
};

// A line of a command's result on stdout; JSON too.
void print_line(std::string_view line);
// A line of news on stderr ("starting shard-1"), beside what a command prints as its result.
void say(std::string_view line);

std::string format_count(std::uint64_t count);  // "12 345 678"
std::string format_duration(
    std::chrono::nanoseconds span);  // "850 us", "1.24 ms", "3.1 s", "4 min 10 s"

}  // namespace koshel::cli
