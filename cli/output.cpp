#include "cli/output.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/invariant.hpp"
#include "base/printable.hpp"

namespace koshel::cli {
namespace {

constexpr auto kRedrawInterval = std::chrono::milliseconds(100);
constexpr auto kLineInterval = std::chrono::seconds(5);
constexpr std::size_t kBarWidth = 30;

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

void append_cell(std::string& line, std::string_view cell, std::size_t width, Table::Align align) {
  const std::size_t padding = width - width_of(cell);
  if (align == Table::Align::Right) line.append(padding, ' ');
  line.append(cell);
  if (align == Table::Align::Left) line.append(padding, ' ');
}

std::string format(const char* pattern, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}

double share_of(std::uint64_t done, std::uint64_t total) {
  return total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (const auto& column : columns_) widths_.push_back(width_of(column.title));
}

void Table::add(std::vector<std::string> cells) {
  INVARIANT(cells.size() == columns_.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    cells[i] = printable(cells[i]);
    widths_[i] = std::max(widths_[i], width_of(cells[i]));
  }
  rows_.push_back(std::move(cells));
}

void Table::append_row(std::string& text, const std::vector<std::string>& cells) const {
  std::string line;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (i > 0) line += "  ";
    append_cell(line, cells[i], widths_[i], columns_[i].align);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  text += line + "\n";
}

void Table::print() {
  std::string text;
  if (!std::exchange(has_titles_, true)) {
    std::vector<std::string> titles;
    for (const auto& column : columns_) titles.push_back(column.title);
    append_row(text, titles);
  }
  for (const auto& row : rows_) append_row(text, row);
  rows_.clear();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

LiveLine::LiveLine() : is_terminal_(isatty(STDERR_FILENO) == 1) {}

void LiveLine::draw(std::string_view line) {
  std::fprintf(stderr, is_terminal_ ? "\r%s\033[K" : "%s\n", printable(line).c_str());
  std::fflush(stderr);
}

void LiveLine::end(std::string_view line) {
  draw(line);
  if (is_terminal_) std::fputc('\n', stderr);
}

std::string progress_text(std::uint64_t done, std::uint64_t total, bool is_terminal) {
  const double share = share_of(done, total);
  std::string text;
  if (is_terminal) {
    const auto filled = static_cast<std::size_t>(share * kBarWidth);
    text = "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '.') + "] ";
  }
  return text + format("%3.0f%% ", share * 100) + format_count(done) + " of " + format_count(total);
}

ProgressBar::ProgressBar(std::string title, std::uint64_t total)
    : title_(std::move(title)),
      total_(total),
      started_(std::chrono::steady_clock::now()),
      drawn_(started_) {}

ProgressBar::~ProgressBar() {
  finish();
}

void ProgressBar::update(std::uint64_t done, std::string_view note) {
  done_ = done;
  note_ = note;
  const auto now = std::chrono::steady_clock::now();
  const Duration interval =
      line_.is_terminal() ? Duration(kRedrawInterval) : Duration(kLineInterval);
  if (now - drawn_ < interval) return;
  drawn_ = now;
  draw(false);
}

void ProgressBar::finish() {
  if (std::exchange(is_finished_, true)) return;
  draw(true);
}

void ProgressBar::draw(bool is_last) {
  const double share = share_of(done_, total_);
  const auto elapsed = std::chrono::steady_clock::now() - started_;
  std::string line = title_ + " " + progress_text(done_, total_, line_.is_terminal());
  if (!note_.empty()) line += ", " + note_;
  if (is_last) {
    line += ", " + format_duration(elapsed);
  } else if (share > 0 && share < 1) {
    const auto left = std::chrono::duration<double>(elapsed) * ((1 - share) / share);
    line +=
        ", " + format_duration(std::chrono::duration_cast<std::chrono::seconds>(left)) + " left";
  }
  is_last ? line_.end(line) : line_.draw(line);
}

void print_line(std::string_view line) {
  std::printf("%s\n", printable(line).c_str());
}

void say(std::string_view line) {
  std::fprintf(stderr, "%s\n", printable(line).c_str());
}

std::string format_count(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, " ");
  return digits;
}

std::string format_duration(std::chrono::nanoseconds span) {
  const double seconds = std::chrono::duration<double>(span).count();
  if (seconds < 1e-3) return format("%.0f us", seconds * 1e6);
  if (seconds < 1) return format("%.2f ms", seconds * 1e3);
  if (seconds < 60) return format("%.1f s", seconds);
  const auto whole = static_cast<std::uint64_t>(seconds);
  if (whole < 3600) return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + std::to_string(whole / 60 % 60) + " min";
}

}  // namespace koshel::cli
