// SPDX-License-Identifier: Apache-2.0
// The safetensors reader: each rule of daemon/experiment/safetensors.hpp, broken once.
#include "experiment/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bytes.hpp"

namespace mustafar::experiment {
namespace {

using testing::HasSubstr;
using tests::Bytes;
using tests::file_of;

std::string refusal(const Bytes& bytes) {
    try {
        parse_safetensors(bytes);
    } catch (const SafetensorsError& error) { return error.what(); }
    return "accepted";
}

const char* const two = R"({"__metadata__":{"a":"b","c":""},)"
                        R"("x":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},)"
                        R"("y":{"dtype":"U8","shape":[],"data_offsets":[12,13]}}   )";

TEST(Safetensors, ReadsMetadataAndTensors) {
    const Bytes bytes = file_of(two, 13);
    const Safetensors file = parse_safetensors(bytes);
    EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"a", "b"}, {"c", ""}}));
    ASSERT_EQ(file.entries.size(), 2u);
    EXPECT_EQ(file.entries[0].name, "x");
    EXPECT_EQ(file.entries[0].dtype, "F16");
    EXPECT_EQ(file.entries[0].shape, (std::vector<std::uint64_t>{2, 3}));
    EXPECT_EQ(file.entries[0].data.size(), 12u);
    EXPECT_EQ(file.entries[1].data.data(), bytes.data() + bytes.size() - 1);
    EXPECT_NE(file.find("y"), nullptr);
    EXPECT_EQ(file.find("z"), nullptr);
}

TEST(Safetensors, AcceptsEmptyOnes) {
    EXPECT_TRUE(parse_safetensors(file_of("{}", 0)).entries.empty());
    EXPECT_EQ(
        parse_safetensors(file_of(R"({"x":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})", 0))
            .entries.size(),
        1u);
}

TEST(Safetensors, RefusesEveryTruncation) {
    const Bytes bytes = file_of(two, 13);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_NE(refusal(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))),
                  "accepted")
            << size;
    }
}

TEST(Safetensors, SurvivesEveryBitFlip) {
    const Bytes good = file_of(two, 13);
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            Bytes bytes = good;
            bytes[i] ^= static_cast<std::byte>(1u << bit);
            refusal(bytes); // accepted or refused, but never anything else
        }
    }
}

TEST(Safetensors, RefusesHeaderLengths) {
    EXPECT_THAT(refusal({}), HasSubstr("no room"));
    EXPECT_THAT(refusal(tests::length_field(UINT64_MAX)), HasSubstr("above the limit"));
    EXPECT_THAT(refusal(tests::length_field((1u << 20) + 1)), HasSubstr("above the limit"));
    EXPECT_THAT(refusal(tests::length_field(3)), HasSubstr("more than the file holds"));
    EXPECT_THAT(refusal(tests::length_field(0)), HasSubstr("does not start with '{'"));
}

struct Bad {
    const char* name;
    const char* header;
    std::size_t data;
    const char* says;
};

class BadHeader : public testing::TestWithParam<Bad> {};

TEST_P(BadHeader, IsRefused) {
    EXPECT_THAT(refusal(file_of(GetParam().header, GetParam().data)), HasSubstr(GetParam().says));
}

const Bad bad_headers[] = {
    {"not_json", "{", 0, "not JSON"},
    {"a_list", "[]", 0, "does not start with '{'"},
    {"space_before", " {}", 0, "does not start with '{'"},
    {"text_behind", "{}x", 0, "not JSON"},
    {"bad_utf8", "{\"\xff\":{}}", 0, "not JSON"},
    {"no_name", R"({"":{}})", 0, "without a name"},
    {"number_for_entry", R"({"x":1})", 0, "has no place"},
    {"text_for_entry", R"({"x":"y"})", 0, "has no place"},
    {"list_for_entry", R"({"x":[]})", 0, "has no place"},
    {"null_for_entry", R"({"x":null})", 0, "has no place"},
    {"name_twice",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
     2, "\"x\" occurs twice"},
    {"metadata_twice", R"({"__metadata__":{},"__metadata__":{}})", 0, "occurs twice"},
    {"metadata_key_twice", R"({"__metadata__":{"a":"b","a":"c"}})", 0, "occurs twice"},
    {"metadata_number", R"({"__metadata__":{"a":1}})", 0, "strings only"},
    {"metadata_object", R"({"__metadata__":{"a":{}}})", 0, "strings only"},
    {"metadata_text", R"({"__metadata__":"a"})", 0, "has no place"},
    {"key_twice", R"({"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
     "occurs twice"},
    {"unknown_key", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":"n"}})", 1,
     "unknown"},
    {"no_dtype", R"({"x":{"shape":[1],"data_offsets":[0,1]}})", 1, "is missing"},
    {"no_shape", R"({"x":{"dtype":"U8","data_offsets":[0,1]}})", 1, "is missing"},
    {"no_offsets", R"({"x":{"dtype":"U8","shape":[1]}})", 1, "is missing"},
    {"empty_entry", R"({"x":{}})", 0, "is missing"},
    {"dtype_unknown", R"({"x":{"dtype":"F17","shape":[1],"data_offsets":[0,1]}})", 1, "is unknown"},
    {"dtype_empty", R"({"x":{"dtype":"","shape":[1],"data_offsets":[0,1]}})", 1, "is unknown"},
    {"dtype_number", R"({"x":{"dtype":8,"shape":[1],"data_offsets":[0,1]}})", 1, "has no place"},
    {"shape_text", R"({"x":{"dtype":"U8","shape":"1","data_offsets":[0,1]}})", 1, "has no place"},
    {"shape_number", R"({"x":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1, "has no place"},
    {"shape_negative", R"({"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "negative"},
    {"shape_fraction", R"({"x":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1, "fraction"},
    {"shape_exponent", R"({"x":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}})", 1, "fraction"},
    {"shape_beyond_64_bits",
     R"({"x":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}})", 1, "fraction"},
    {"shape_nested", R"({"x":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1,
     "has no place"},
    {"shape_object", R"({"x":{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}})", 1,
     "has no place"},
    {"shape_long", R"({"x":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
     "more than 8"},
    {"shape_overflow",
     R"({"x":{"dtype":"F16","shape":[9223372036854775808],"data_offsets":[0,0]}})", 0, "overflows"},
    {"shape_overflow_hidden_by_zero",
     R"({"x":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})", 0,
     "overflows"},
    {"shape_too_large", R"({"x":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}})", 4, "need 6"},
    {"shape_too_small", R"({"x":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}})", 4, "need 2"},
    {"one_offset", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "two numbers"},
    {"three_offsets", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1,
     "more than 2"},
    {"offsets_backwards", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1,
     "before they begin"},
    {"gap_at_the_start", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, "a gap"},
    {"gap",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
     3, "a gap"},
    {"overlap",
     R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
     3, "an overlap"},
    {"out_of_order",
     R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
     2, "was due"},
    {"beyond_the_file", R"({"x":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", 8, "truncated"},
    {"offset_huge", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551615]}})",
     1, "truncated"},
    {"bytes_left_over", R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 2,
     "the file holds 2"},
    {"bytes_without_tensors", "{}", 1, "the file holds 1"},
};

INSTANTIATE_TEST_SUITE_P(Rules, BadHeader, testing::ValuesIn(bad_headers),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Safetensors, RefusesNulInTheHeader) {
    Bytes bytes = file_of("{}  ", 0);
    bytes[10] = std::byte{0};
    EXPECT_THAT(refusal(bytes), HasSubstr("NUL"));
}

TEST(Safetensors, RefusesDeepNestingAtOnce) {
    EXPECT_THAT(refusal(file_of("{\"x\":" + std::string(500000, '{'), 0)), testing::Ne("accepted"));
    EXPECT_THAT(refusal(file_of("{\"x\":" + std::string(500000, '['), 0)), testing::Ne("accepted"));
}

} // namespace
} // namespace mustafar::experiment
