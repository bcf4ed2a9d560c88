#pragma once
// The templates of audit_cut.hpp.

#include "coordinator/io/audit_cut.hpp"
#include "platform/gather.hpp"

namespace koshel::coordinator {

template <class Reply, class MessageOf>
boost::asio::awaitable<CutResult<std::vector<Reply>>> AuditCut::ask_all(std::string path,
                                                                        MessageOf message_of) {
  std::vector<boost::asio::awaitable<Result<Reply>>> calls;
  for (const auto& part : parts_) {
    calls.push_back(part.agent->call<Reply>(path, message_of(part)));
  }
  auto pending = platform::gather(std::move(calls));
  auto answers = co_await std::move(pending);
  std::vector<Reply> replies;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) co_return failure_of(parts_[i], answers[i].error());
    replies.push_back(std::move(answers[i].value()));
  }
  co_return replies;
}

template <class Work>
auto AuditCut::read(Work work)
    -> boost::asio::awaitable<CutResult<std::invoke_result_t<Work&, pqxx::connection&>>> {
  auto pending = session_.read(std::move(work));
  auto done = co_await std::move(pending);
  if (!done) co_return CutFailure{CutFailure::Why::Directory, "", done.error().context};
  if constexpr (std::is_void_v<std::invoke_result_t<Work&, pqxx::connection&>>) {
    co_return success();
  } else {
    co_return std::move(done.value());
  }
}

}  // namespace koshel::coordinator
