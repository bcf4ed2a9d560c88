// Gives a target every file of a folder, without libFuzzer: so any compiler's build keeps what was
// found once.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include "tests/fuzz/input.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER\n";
    return 2;
  }
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::cerr << entry.path().string() << std::endl;  // the last one named is the one that failed
    std::ifstream input(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(input), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++count;
  }
  std::cerr << count << " inputs\n";
  return count > 0 ? 0 : 1;
}
