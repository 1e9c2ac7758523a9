// SPDX-License-Identifier: Apache-2.0
// The tables of candidates, walked: what a new row must fulfil is checked without naming it.
#include <set>

#include "core/kernels.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

const std::vector<std::string> ops = {"prune", "pack", "unpack", "attend", "merge", "order"};

bool only_ref() {
    for (const KernelRow& row : kernel_rows()) {
        if (std::string(row.backend) != "ref") { return false; }
    }
    return true;
}

TEST(KernelTables, EveryOp_EndsInAReferenceRowThatRunsAnywhere) {
    for (const std::string& op : ops) {
        const KernelRow* last = nullptr;
        for (const KernelRow& row : kernel_rows()) {
            if (op == row.op) { last = &row; }
        }
        ASSERT_NE(last, nullptr) << op;
        EXPECT_STREQ(last->backend, "ref");
        EXPECT_EQ(last->name, op + "_ref");
        EXPECT_EQ(last->missing(), nullptr);
    }
}

TEST(KernelTables, Rows_AreOfKnownOpsAndNamesAreUnique) {
    std::set<std::string> names;
    const std::set<std::string> known(ops.begin(), ops.end());
    for (const KernelRow& row : kernel_rows()) {
        EXPECT_EQ(known.count(row.op), 1U) << row.op;
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
    }
}

TEST(KernelChoice, NoBackendNamed_TakesTheFirstRowOfEachOpThatCanRun) {
    const Kernels kernels = choose_kernels("", "options.backend", false);
    for (std::size_t i = 0; i < ops.size(); ++i) {
        const KernelRow* first = nullptr;
        for (const KernelRow& row : kernel_rows()) {
            if (ops[i] == row.op && row.missing() == nullptr && first == nullptr) { first = &row; }
        }
        EXPECT_STREQ(kernels.rows[i].op, ops[i].c_str()) << "in the order of the struct";
        EXPECT_STREQ(kernels.rows[i].name, first->name);
    }
}

TEST(KernelChoice, Ref_GivesTheReferenceFunctions) {
    const Kernels kernels = choose_kernels("ref", "options.backend", false);
    EXPECT_EQ(kernels.prune, prune_ref);
    EXPECT_EQ(kernels.pack, pack_ref);
    EXPECT_EQ(kernels.unpack, unpack_ref);
    EXPECT_EQ(kernels.attend, attend_ref);
    EXPECT_EQ(kernels.merge, merge_ref);
    EXPECT_EQ(kernels.order, order_ref);
}

TEST(KernelChoice, AnUnknownBackend_IsRefusedNamingWhoAskedAndWhatThereIs) {
    const Error error = error_of([] { choose_kernels("tpu", "options.backend", false); });
    EXPECT_EQ(error.code, MUSTAFAR_UNSUPPORTED);
    for (const char* part : {"options.backend = \"tpu\"", "ref"}) {
        EXPECT_NE(error.text.find(part), std::string::npos) << part << " in: " << error.text;
    }
    EXPECT_EQ(status_of([] { choose_kernels("re", "options.backend", false); }),
              MUSTAFAR_UNSUPPORTED)
        << "part of a name is no name";
}

TEST(KernelChoice, ABackendThatCannotRunHere_IsRefusedWithTheReason) {
    std::size_t refused = 0;
    for (const KernelRow& row : kernel_rows()) {
        if (row.missing() == nullptr) { continue; }
        const Error error =
            error_of([&] { choose_kernels(row.backend, "MUSTAFAR_FORCE_BACKEND", false); });
        EXPECT_EQ(error.code, MUSTAFAR_UNSUPPORTED) << row.name;
        for (const std::string& part : {std::string("MUSTAFAR_FORCE_BACKEND"),
                                        std::string(row.backend), std::string(row.missing())}) {
            EXPECT_NE(error.text.find(part), std::string::npos) << part << " in: " << error.text;
        }
        ++refused;
    }
    if (refused == 0) { GTEST_SKIP() << "everything that was built runs here"; }
}

TEST(KernelChoice, RefuseRef_IsRefusedWhereAnOpHasNothingBetter) {
    EXPECT_EQ(status_of([] { choose_kernels("ref", "options.backend", true); }),
              MUSTAFAR_UNSUPPORTED);
    if (!only_ref()) { // every op that has other rows must have one that runs here
        bool better = true;
        for (const std::string& op : ops) {
            bool alone = true, runs = false;
            for (const KernelRow& row : kernel_rows()) {
                if (op != row.op || std::string(row.backend) == "ref" || op == "order") {
                    continue;
                }
                alone = false;
                runs |= row.missing() == nullptr;
            }
            better &= alone || runs;
        }
        EXPECT_EQ(status_of([] { choose_kernels("", "options.backend", true); }),
                  better ? MUSTAFAR_OK : MUSTAFAR_UNSUPPORTED);
        return;
    }
    const Error error = error_of([] { choose_kernels("", "options.backend", true); });
    EXPECT_EQ(error.code, MUSTAFAR_UNSUPPORTED);
    EXPECT_NE(error.text.find("REFUSE_REF"), std::string::npos) << error.text;
}

} // namespace
} // namespace mustafar::test
