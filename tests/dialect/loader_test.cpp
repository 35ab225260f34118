#include <examples/gateway/loader.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "fixture.hpp"

using namespace dialect_test;

namespace {

/// Files that include each other; gone at the end.
class folder {
 public:
  folder() { std::filesystem::create_directories(path_); }
  ~folder() { std::filesystem::remove_all(path_); }

  std::string add(const std::string& name, std::string_view text) const {
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }
  /// Without the folder.
  std::vector<std::string> errors(const std::string& file) const {
    auto all = messages(wsproxy_gateway::load_file(file));
    for (auto& one : all)
      for (auto at = one.find(path_.string()); at != one.npos; at = one.find(path_.string()))
        one.erase(at, path_.string().size() + 1);
    return all;
  }

 private:
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("wsproxy-loader-" + std::to_string(::getpid()));
};

}  // namespace

TEST_CASE("a file that includes itself is found by any of its names") {
  const folder files;
  const auto first = files.add("a.conf", "events { }\ninclude b.conf;\n");
  files.add("b.conf", "include ./b.conf;\n include ../nowhere/../" +
                          std::filesystem::path(first).parent_path().filename().string() + "/b.conf;\n");
  CHECK(files.errors(first).size() == 2);
  for (const auto& one : files.errors(first)) CHECK(one.ends_with("includes itself"));
}

TEST_CASE("a chain of files has an end") {
  const folder files;
  for (int i = 1; i <= 150; ++i)
    files.add(std::to_string(i) + ".conf", "include " + std::to_string(i + 1) + ".conf;");
  files.add("151.conf", "http { }");
  const auto first = files.add("a.conf", "events { }\ninclude 1.conf;\n");
  const auto found = files.errors(first);
  REQUIRE(found.size() == 1);
  CHECK(found.front() == "100.conf:1:1: error: blocks and included files are nested too deeply");
}

TEST_CASE("blocks in files that are included in blocks have an end") {
  const folder files;
  std::string deep, closed;
  for (int i = 0; i != 60; ++i) deep += "location /a {\n", closed += " }";
  for (int i = 1; i != 4; ++i)
    files.add(std::to_string(i) + ".conf", deep + "include " + std::to_string(i + 1) + ".conf;" + closed);
  files.add("4.conf", "");
  const auto first = files.add("a.conf", "events { }\nhttp { server { include 1.conf; } }\n");
  const auto found = files.errors(first);
  CHECK(std::ranges::count_if(found, [](const std::string& one) {
          return one.ends_with("error: blocks and included files are nested too deeply");
        }) == 1);
}

TEST_CASE("files that include each other again and again have an end") {
  const folder files;
  std::string many;
  for (int i = 0; i != 200; ++i) many += "include empty.conf;\n";
  files.add("empty.conf", "");
  files.add("many.conf", many);
  std::string all = "events { }\n";
  for (int i = 0; i != 600; ++i) all += "include many.conf;\n";
  const auto found = files.errors(files.add("a.conf", all));
  REQUIRE(found.size() == 1);
  CHECK(found.front().ends_with("more than 100000 files are included"));
}

TEST_CASE("an error quotes a long word in part, and no half of a character") {
  std::string umlauts;
  for (int i = 0; i != 100000; ++i) umlauts += "\xC3\xA4";
  const auto found = messages(wsproxy_gateway::load_text("events { } a" + umlauts + ";", "t.conf"));
  REQUIRE(found.size() == 1);
  CHECK(found.front().size() < 1000);
  CHECK(found.front().find("\xC3\xA4 \xE2\x80\xA6 \xC3\xA4") != std::string::npos);
  CHECK(found.front().ends_with("\xC3\xA4\""));
}
