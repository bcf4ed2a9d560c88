#pragma once
// A page of metrics in Prometheus' text form, written anew for each scrape from counts that their
// owners keep as plain numbers. All names get the prefix "koshel_".

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "base/time.hpp"

namespace koshel::platform {

class MetricsPage {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  MetricsPage& counter(const std::string& name, const std::string& help, double value,
                       const Labels& labels = {});
  MetricsPage& gauge(const std::string& name, const std::string& help, double value,
                     const Labels& labels = {});
  // When a certificate that the daemon shows runs out.
  MetricsPage& certificate(const std::string& file, Timestamp valid_until, Labels labels = {});
  struct Bucket {
    double bound = 0;
    double count = 0;  // of all that were not above the bound
  };
  MetricsPage& histogram(const std::string& name, const std::string& help,
                         const std::vector<Bucket>& buckets, double count, double sum);
  std::string text() const;

  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  void add(const std::string& name, const std::string& help, prometheus::MetricType type,
           prometheus::ClientMetric metric, const Labels& labels);
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace koshel::platform
