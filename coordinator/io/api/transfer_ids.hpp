#pragma once
// Where a transfer id's 74 bits come from, and the text inside cursors.

#include <string>
#include <string_view>
#include <vector>

#include "base/transfer_id.hpp"
#include "coordinator/io/api/problem.hpp"

namespace koshel::coordinator {

// The same key gives the same bits for ever: a hash (BLAKE2b) of the key, with its own domain.
TransferSuffix suffix_of_key(std::string_view key);
TransferSuffix random_suffix();

// "kind:1:2": what a cursor carries. INVALID_CURSOR for what write_cursor does not write.
std::string write_cursor(std::string_view kind, const std::vector<std::int64_t>& numbers);
Checked<std::vector<std::int64_t>> read_cursor(std::string_view content, std::string_view kind,
                                               std::size_t numbers = 1);

}  // namespace koshel::coordinator
