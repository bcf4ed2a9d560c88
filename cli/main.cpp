#include "cli/console.hpp"

int main(int argc, char** argv) {
  return koshel::cli::run_console(argc, argv);
}
