#pragma once
// Questions to the person at the terminal, asked there even when stdin and stdout are elsewhere.

#include <string>

#include "cli/console.hpp"

namespace koshel::cli {

// Usage if there is no terminal; `otherwise` ends that sentence: what to do without one.
Outcome<std::string> ask_line(const std::string& prompt, const std::string& otherwise);
// What is typed is not shown. A signal that ends or stops the program finds the terminal as it was.
Outcome<std::string> ask_secret(const std::string& prompt, const std::string& otherwise);

}  // namespace koshel::cli
