#pragma once
// A TCP connection that may speak TLS: reads and writes go through either, so that HTTP above need
// not know. Time-outs, cancelling and closing are those of the TCP connection below. Cutting it
// without TLS's own goodbye is sound here: the length of every message stands in its head.

#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <memory>
#include <optional>

namespace koshel::platform {

class Stream {
 public:
  using executor_type = boost::beast::tcp_stream::executor_type;
  using Tls = boost::asio::ssl::stream<boost::beast::tcp_stream&>;

  explicit Stream(boost::asio::ip::tcp::socket socket) : tcp_(std::move(socket)) {}
  explicit Stream(const executor_type& loop) : tcp_(loop) {}

  executor_type get_executor() { return tcp_.get_executor(); }
  boost::beast::tcp_stream& tcp() { return tcp_; }

  // From here on bytes are TLS's; a handshake on what comes back must be next.
  Tls& start_tls(std::shared_ptr<boost::asio::ssl::context> context) {
    context_ = std::move(context);
    return tls_.emplace(tcp_, *context_);
  }
  bool is_tls() const { return tls_.has_value(); }
  SSL* native_tls() { return tls_->native_handle(); }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    if (tls_) return tls_->async_read_some(buffers, std::forward<Token>(token));
    return tcp_.async_read_some(buffers, std::forward<Token>(token));
  }

  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    if (tls_) return tls_->async_write_some(buffers, std::forward<Token>(token));
    return tcp_.async_write_some(buffers, std::forward<Token>(token));
  }

 private:
  boost::beast::tcp_stream tcp_;
  std::shared_ptr<boost::asio::ssl::context> context_;  // its callbacks are called by tls_
  std::optional<Tls> tls_;
};

}  // namespace koshel::platform
