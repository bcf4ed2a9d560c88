#include "platform/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>

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

MetricsPage& MetricsPage::histogram(const std::string& name, const std::string& help,
                                    const prometheus::Histogram& histogram, const Labels& labels) {
  add(name, help, prometheus::MetricType::Histogram, histogram.Collect(), labels);
  return *this;
}

std::string MetricsPage::text() const {
  return prometheus::TextSerializer().Serialize(families_);
}

}  // namespace koshel::platform
