// SPDX-License-Identifier: Apache-2.0
// Files are whole or not there, and odd names stay inside their fields.
#include "experiment/output.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiment/failure.hpp"
#include "experiment/svg.hpp"

namespace mustafar::experiment {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Output : public testing::Test {
  protected:
    Output() {
        std::string name = (fs::temp_directory_path() / "mustafar-output-XXXXXX").string();
        folder_ = mkdtemp(name.data());
    }
    ~Output() override { fs::remove_all(folder_); }

    static std::string read(const fs::path& path) {
        std::ifstream stream(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }
    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), {}));
    }
    static Exit status_of(const std::string& path, const std::string& text) {
        try {
            check_output(path);
            write_output(path, text);
        } catch (const Failure& failure) { return failure.status(); }
        return exit_ok;
    }

    fs::path folder_;
};

TEST_F(Output, ReplacesAFileWhole) {
    const std::string path = folder_ / "a.json";
    EXPECT_EQ(status_of(path, "first"), exit_ok);
    EXPECT_EQ(status_of(path, "second"), exit_ok);
    EXPECT_EQ(read(path), "second");
    EXPECT_EQ(files(), 1u);
}

TEST_F(Output, KeepsLinks) {
    write_output(folder_ / "real", "old");
    fs::create_symlink("real", folder_ / "link");
    EXPECT_EQ(status_of(folder_ / "link", "new"), exit_ok);
    EXPECT_EQ(read(folder_ / "real"), "new");
    EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
}

TEST_F(Output, RefusesWhatCannotBeWritten) {
    EXPECT_EQ(status_of(folder_ / "no" / "a", "x"), exit_output);
    EXPECT_EQ(status_of(folder_, "x"), exit_output);
    if (fs::exists("/dev/full")) {
        EXPECT_EQ(status_of("/dev/full", "x"), exit_output);
        EXPECT_TRUE(fs::is_character_file("/dev/full"));
    }
    EXPECT_EQ(files(), 0u);
}

Report odd_report() {
    Report report;
    report.shapes.push_back({"t<1>", 1, 2, 1, 32, "f16", {}});
    report.traces.push_back({"t<1>", "", "", 8, 2, 0});
    Row row;
    row.recipe = "a,\"b\"<script>";
    row.trace = "t<1>";
    row.layers.push_back({0, 0.1, 0.2, 0.3, 0.4, not_measured});
    row.overall = row.layers[0];
    row.worst = 0.3;
    row.body_ratio = 0.25;
    report.rows.push_back(row);
    return report;
}

TEST_F(Output, EscapesOddNames) {
    const Report report = odd_report();
    EXPECT_THAT(csv_text(report), HasSubstr("\"a,\"\"b\"\"<script>\",t<1>,"));
    EXPECT_THAT(html_text(report), testing::Not(HasSubstr("<script")));
    EXPECT_THAT(html_text(report), HasSubstr("t&lt;1&gt;"));
    EXPECT_THAT(json_text(report), HasSubstr("\"kl\": null"));
    EXPECT_THAT(table_text(report), HasSubstr("0.300"));
}

TEST_F(Output, ShortNumbers) {
    EXPECT_EQ(short_number(not_measured), "-");
    EXPECT_EQ(short_number(0), "0");
    EXPECT_EQ(short_number(0.0024), "0.0024");
    EXPECT_EQ(short_number(0.21149), "0.211");
    EXPECT_EQ(short_number(12.34), "12.3");
    EXPECT_EQ(short_number(1234.4), "1234");
    EXPECT_EQ(short_number(3.1e-8), "3e-08");
    EXPECT_EQ(short_number(123456), "1.23e+05");
    EXPECT_EQ(short_time(1500), "1.50 us");
}

TEST_F(Output, Ticks) {
    EXPECT_THAT(Scale(0, 2048, 0, 1, false).ticks(),
                testing::ElementsAre(0, 500, 1000, 1500, 2000));
    EXPECT_THAT(Scale(1e-4, 0.4, 0, 1, true).ticks().size(), 4u);
}

} // namespace
} // namespace mustafar::experiment
