#include "cli/terminal.hpp"

#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace koshel::cli {
namespace {

constexpr std::size_t kLineMax = 4'095;  // the kernel drops what is typed beyond

volatile sig_atomic_t g_signal = 0;

void keep_signal(int number) {
  g_signal = number;
}

// While it lives these signals only end a read, so that the terminal can be set right before they
// take effect.
class SignalDelay {
 public:
  SignalDelay() {
    g_signal = 0;
    struct sigaction action = {};
    action.sa_handler = keep_signal;  // without SA_RESTART
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
    }
  }
  SignalDelay(const SignalDelay&) = delete;
  SignalDelay& operator=(const SignalDelay&) = delete;
  ~SignalDelay() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }

 private:
  static constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
  std::array<struct sigaction, kSignals.size()> before_{};
};

class Echo {
 public:
  explicit Echo(int terminal) : terminal_(terminal) {
    tcgetattr(terminal_, &before_);
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHOE | ECHOK);
    silent.c_lflag |= ECHONL;
    tcsetattr(terminal_, TCSAFLUSH, &silent);
  }
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;
  ~Echo() { tcsetattr(terminal_, TCSAFLUSH, &before_); }

 private:
  int terminal_;
  termios before_{};
};

enum class Shown { Yes, No };

// nullopt when a signal came; an empty line with `is_ended` at the end of input.
struct Line {
  std::string text;
  bool is_ended = false;
};

std::optional<Line> read_line(int terminal, const std::string& prompt, Shown shown) {
  const SignalDelay delay;
  std::optional<Echo> echo;
  if (shown == Shown::No) echo.emplace(terminal);
  [[maybe_unused]] const auto asked = write(terminal, prompt.data(), prompt.size());
  Line line;
  for (char c = 0; g_signal == 0;) {
    const auto got = read(terminal, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      line.is_ended = true;
      return line;
    }
    if (c == '\n') return line;
    line.text += c;
  }
  return std::nullopt;
}

Outcome<std::string> ask(const std::string& prompt, const std::string& otherwise, Shown shown) {
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (terminal < 0) {
    return Failure(ExitCode::Usage, "there is no terminal to ask at; " + otherwise);
  }
  auto line = read_line(terminal, prompt, shown);
  while (!line) {
    raise(static_cast<int>(g_signal));  // takes its effect now; after a stop we go on
    line = read_line(terminal, prompt, shown);
  }
  close(terminal);
  if (line->is_ended) return Failure(ExitCode::Usage, "nothing was typed");
  if (line->text.size() >= kLineMax) {
    return Failure(ExitCode::Usage, "that is too long to be typed; " + otherwise);
  }
  return std::move(line->text);
}

}  // namespace

Outcome<std::string> ask_line(const std::string& prompt, const std::string& otherwise) {
  return ask(prompt, otherwise, Shown::Yes);
}

Outcome<std::string> ask_secret(const std::string& prompt, const std::string& otherwise) {
  return ask(prompt, otherwise, Shown::No);
}

}  // namespace koshel::cli
