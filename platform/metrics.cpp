#include "platform/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>

namespace koshel::platform {

void MetricsPage::add(const std::string& name, const std::string& help, prometheus::MetricType type,
                      prometheus::ClientMetric metric, const Labels& labels) {
  const auto full_name = "koshel_" + name;
  auto family = std::ranges::find(families_, full_name, &prometheus::MetricFamily::name);
  if (family == families_.end()) {
    families_.push_back({full_name, help, type, {}});
    family = families_.end() - 1;
  }
  for (const auto& [label, value] : labels) {
    prometheus::ClientMetric::Label pair;
    pair.name = label;
    pair.value = value;
    metric.label.push_back(std::move(pair));
  }
  family->metric.push_back(std::move(metric));
}

MetricsPage& MetricsPage::counter(const std::string& name, const std::string& help, double value,
                                  const Labels& labels) {
  prometheus::ClientMetric metric;
  metric.counter.value = value;
  add(name, help, prometheus::MetricType::Counter, std::move(metric), labels);
  return *this;
}

MetricsPage& MetricsPage::gauge(const std::string& name, const std::string& help, double value,
                                const Labels& labels) {
  prometheus::ClientMetric metric;
  metric.gauge.value = value;
  add(name, help, prometheus::MetricType::Gauge, std::move(metric), labels);
  return *this;
}

MetricsPage& MetricsPage::certificate(const std::string& file, Timestamp valid_until,
                                      Labels labels) {
  labels.emplace_back("file", file);
  const std::chrono::duration<double> since_1970 = valid_until.time_since_epoch();
  return gauge("certificate_valid_until_seconds", "When this certificate runs out, since 1970",
               since_1970.count(), labels);
}

MetricsPage& MetricsPage::histogram(const std::string& name, const std::string& help,
                                    const std::vector<Bucket>& buckets, double count, double sum) {
  prometheus::ClientMetric metric;
  metric.histogram.sample_count = static_cast<std::uint64_t>(count);
  metric.histogram.sample_sum = sum;
  for (const auto& [bound, below] : buckets) {
    prometheus::ClientMetric::Bucket bucket;
    bucket.upper_bound = bound;
    bucket.cumulative_count = static_cast<std::uint64_t>(below);
    metric.histogram.bucket.push_back(bucket);
  }
  prometheus::ClientMetric::Bucket all;
  all.upper_bound = std::numeric_limits<double>::infinity();
  all.cumulative_count = metric.histogram.sample_count;
  metric.histogram.bucket.push_back(all);
  add(name, help, prometheus::MetricType::Histogram, std::move(metric), {});
  return *this;
}

std::string MetricsPage::text() const {
  return prometheus::TextSerializer().Serialize(families_);
}

}  // namespace koshel::platform
