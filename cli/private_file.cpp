#include "cli/private_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOthers = S_IRWXG | S_IRWXO;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Failure failed(const char* what, const fs::path& file) {
  return {ExitCode::Usage,
          std::string("cannot ") + what + " " + file.string() + ": " + std::strerror(errno)};
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return fsync(fd) == 0;
}

}  // namespace

Outcome<void> write_private_file(const fs::path& file, std::string_view text) {
  std::string fresh = file.string() + ".XXXXXX";
  const Descriptor output(mkostemp(fresh.data(), O_CLOEXEC));  // mode 0600, whatever the umask
  if (output.get() < 0) return failed("write", file);
  if (write_all(output.get(), text) && rename(fresh.c_str(), file.c_str()) == 0) return success();
  const int reason = errno;
  unlink(fresh.c_str());
  errno = reason;
  return failed("write", file);
}

Outcome<std::string> read_private_file(const fs::path& file, std::size_t bytes_max) {
  const Descriptor input(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (input.get() < 0 || fstat(input.get(), &status) != 0) return failed("read", file);
  if (status.st_uid != geteuid() && status.st_uid != 0) {
    return Failure(ExitCode::Usage, file.string() + " belongs to another user; it is not used");
  }
  if ((status.st_mode & kOthers) != 0) {
    return Failure(ExitCode::Usage, "others may read or write " + file.string() +
                                        ", so it is not used; `chmod 600 " + file.string() +
                                        "`, and if it was so for long, log in anew");
  }
  std::string text;
  char buffer[1024];
  for (;;) {
    const auto got = read(input.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", file);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > bytes_max) {
      return Failure(ExitCode::Usage,
                     file.string() + " is longer than " + std::to_string(bytes_max) + " bytes");
    }
  }
}

Outcome<void> make_private_folder(const fs::path& folder) {
  std::error_code fault;
  if (fs::is_directory(folder, fault)) {
    if (chmod(folder.c_str(), S_IRWXU) == 0) return success();
    return failed("keep others out of", folder);
  }
  if (folder.has_parent_path() && !fs::exists(folder.parent_path(), fault)) {
    KOSHEL_TRY(make_private_folder(folder.parent_path()));
  }
  if (mkdir(folder.c_str(), S_IRWXU) == 0 || errno == EEXIST) return success();
  return failed("make", folder);
}

}  // namespace koshel::cli
