#pragma once
// Internal to config.cpp: reads one YAML map key by key, remembers what it was asked for, and at
// its end finds the keys nobody asked for. Faults are sentences "file:line: key: what is wrong".

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace koshel::platform {

constexpr std::int64_t kDay = 86'400'000;  // milliseconds

struct ConfigFaults {
  std::string file;
  std::vector<std::string> sentences;
};

class ConfigSection {
 public:
  struct Range {
    std::int64_t min;
    std::int64_t max;
  };

  ConfigSection(YAML::Node node, std::string path, ConfigFaults& faults)
      : node_(std::move(node)), path_(std::move(path)), faults_(faults) {}

  // Each keeps the default when the key is absent, and returns whether it was there.
  bool text(const std::string& key, std::string& value) {
    const auto found = find(key);
    if (!found) return false;
    if (!found.IsScalar()) {
      fail(key, "must be one text");
    } else {
      value = found.Scalar();
    }
    return true;
  }

  // One that is not absolute is looked for beside the config.
  void file(const std::string& key, std::string& value) {
    if (text(key, value) && !value.empty()) {
      value = (std::filesystem::path(faults_.file).parent_path() / value).string();
    }
  }

  void texts(const std::string& key, std::vector<std::string>& values) {
    const auto found = find(key);
    if (!found) return;
    values.clear();
    for (const auto& item : found) {
      if (!found.IsSequence() || !item.IsScalar()) return fail(key, "must be a list of texts");
      values.push_back(item.Scalar());
    }
    if (values.empty()) fail(key, "must be a list of one text or more");
  }

  // Of a section whose keys are the user's own words.
  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    for (const auto& pair : node_) keys.push_back(pair.first.Scalar());
    return keys;
  }

  void flag(const std::string& key, bool& value) {
    const auto found = find(key);
    if (!found) return;
    if (!found.IsScalar() || !YAML::convert<bool>::decode(found, value)) {
      fail(key, "must be true or false");
    }
  }

  template <class Number>
  void number(const std::string& key, Number& value, Range range) {
    const auto found = find(key);
    if (!found) return;
    std::int64_t read = 0;
    if (!found.IsScalar() || !YAML::convert<std::int64_t>::decode(found, read) ||
        read < range.min || read > range.max) {
      fail(key, "must be a whole number from " + std::to_string(range.min) + " to " +
                    std::to_string(range.max));
      return;
    }
    value = static_cast<Number>(read);
  }

  void time(const std::string& key, std::chrono::milliseconds& value, Range range) {
    auto count = static_cast<std::int64_t>(value.count());
    number(key, count, range);
    value = std::chrono::milliseconds(count);
  }

  void section(const std::string& key, const std::function<void(ConfigSection)>& read) {
    const auto found = find(key);
    if (!found) return;
    if (!found.IsMap() && !found.IsNull()) {
      fail(key, "must hold keys and values");
      return;
    }
    read(ConfigSection(found, path_ + key + ".", faults_));
  }

  void fail(const std::string& key, const std::string& what) {
    const auto found = node_.IsMap() ? node_[key] : YAML::Node(YAML::NodeType::Undefined);
    add(found ? found.Mark().line : node_.Mark().line, key, what);
  }

  // To be called when every key was asked for.
  void end() {
    if (!node_.IsMap()) return;
    std::vector<std::string> seen;
    for (const auto& pair : node_) {
      const auto key = pair.first.Scalar();
      if (!std::ranges::count(known_, key)) {
        add(pair.first.Mark().line, key, "unknown key; known here: " + known_names());
      } else if (std::ranges::count(seen, key)) {
        add(pair.first.Mark().line, key, "stands twice; keep one of them");
      }
      seen.push_back(key);
    }
  }

 private:
  YAML::Node find(const std::string& key) {
    known_.push_back(key);
    const YAML::Node& node = node_;
    return node.IsMap() ? node[key] : YAML::Node(YAML::NodeType::Undefined);
  }

  std::string known_names() const {
    std::string names;
    for (const auto& name : known_) names += (names.empty() ? "" : ", ") + name;
    return names;
  }

  void add(int line, const std::string& key, const std::string& what) {
    faults_.sentences.push_back(faults_.file + ":" + std::to_string(line + 1) + ": " + path_ + key +
                                ": " + what);
  }

  YAML::Node node_;
  std::string path_;
  ConfigFaults& faults_;
  std::vector<std::string> known_;
};

}  // namespace koshel::platform
