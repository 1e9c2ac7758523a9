// SPDX-License-Identifier: Apache-2.0
// The head parser: each rule of daemon/http/head.hpp, broken once, and bytes that come one by one.
#include "http/head.hpp"

#include <string>

#include <gtest/gtest.h>

namespace mustafar::daemon {
namespace {

HeadError parse(std::string_view bytes, Head* head) {
    std::size_t scanned = 0;
    const char* why = nullptr;
    return parse_head(bytes, &scanned, head, &why);
}

HeadError parse(const std::string& bytes) {
    Head head;
    return parse(bytes, &head);
}

const std::string get = "GET / HTTP/1.1\r\nHost: x\r\n";

TEST(Head, IsTakenApart) {
    const std::string bytes = "POST /a/b?c=d HTTP/1.1\r\nHost: x:1\r\ncontent-LENGTH: 12\r\nA: \t "
                              "b c \r\nExpect: 100-Continue\r\n\r\nrest";
    Head head;
    ASSERT_EQ(parse(bytes, &head), HeadError::none);
    EXPECT_EQ(head.method, "POST");
    EXPECT_EQ(head.path, "/a/b");
    EXPECT_EQ(head.query, "c=d");
    EXPECT_EQ(head.content_length, 12u);
    EXPECT_TRUE(head.keep_alive);
    EXPECT_TRUE(head.expect_continue);
    EXPECT_EQ(head.find("a"), "b c");
    EXPECT_EQ(head.find("b"), std::nullopt);
    EXPECT_EQ(bytes.substr(head.bytes), "rest");
}

TEST(Head, ByteByByteGivesWhatAPieceGives) {
    const std::string bytes = get + "A: b\r\n\r\n";
    std::size_t scanned = 0;
    const char* why = nullptr;
    Head head;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        ASSERT_EQ(parse_head(std::string_view(bytes).substr(0, size), &scanned, &head, &why),
                  HeadError::incomplete);
        ASSERT_LE(scanned, size);
    }
    EXPECT_EQ(parse_head(bytes, &scanned, &head, &why), HeadError::none);
    EXPECT_EQ(head.field_count, 2u);
}

TEST(Head, KeepAliveFollowsVersionAndConnection) {
    const auto keep = [](const char* version, const char* connection) {
        Head head;
        const std::string bytes =
            std::string("GET / ") + version + "\r\nHost: x\r\n" + connection + "\r\n";
        EXPECT_EQ(parse(bytes, &head), HeadError::none);
        return head.keep_alive;
    };
    EXPECT_TRUE(keep("HTTP/1.1", ""));
    EXPECT_FALSE(keep("HTTP/1.0", ""));
    EXPECT_TRUE(keep("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    EXPECT_FALSE(keep("HTTP/1.1", "Connection: x, Close\r\n"));
    EXPECT_FALSE(keep("HTTP/1.0", "Connection: close, keep-alive\r\n"));
}

struct Bad {
    const char* name;
    std::string bytes;
    HeadError error;
};

class BadHead : public testing::TestWithParam<Bad> {};

TEST_P(BadHead, IsRefused) { EXPECT_EQ(parse(GetParam().bytes), GetParam().error); }

const Bad bad_heads[] = {
    {"empty_line_first", "\r\n" + get + "\r\n", HeadError::malformed},
    {"bare_lf", "GET / HTTP/1.1\nHost: x\n\n", HeadError::malformed},
    {"bare_cr", get + "A: b\rc\r\n\r\n", HeadError::malformed},
    {"nul_at_once", std::string("GET /\0", 6), HeadError::malformed},
    {"folded", get + "A: b\r\n c\r\n\r\n", HeadError::malformed},
    {"no_colon", get + "A\r\n\r\n", HeadError::malformed},
    {"blank_before_colon", get + "A : b\r\n\r\n", HeadError::malformed},
    {"underscore", get + "A_B: c\r\n\r\n", HeadError::malformed},
    {"control_in_value", get + "A: \x01\r\n\r\n", HeadError::malformed},
    {"high_byte", get + "A: \xe9\r\n\r\n", HeadError::malformed},
    {"no_host", "GET / HTTP/1.1\r\n\r\n", HeadError::malformed},
    {"two_hosts", get + "hOST: y\r\n\r\n", HeadError::malformed},
    {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", HeadError::malformed},
    {"fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", HeadError::malformed},
    {"two_blanks", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", HeadError::malformed},
    {"no_version", "GET /\r\nHost: x\r\n\r\n", HeadError::malformed},
    {"http_0_9", "GET / HTTP/0.9\r\nHost: x\r\n\r\n", HeadError::version},
    {"http_2", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", HeadError::version},
    {"lower_http", "GET / http/1.1\r\nHost: x\r\n\r\n", HeadError::malformed},
    {"length_sign", get + "Content-Length: +1\r\n\r\n", HeadError::malformed},
    {"length_empty", get + "Content-Length:\r\n\r\n", HeadError::malformed},
    {"length_list", get + "Content-Length: 1, 1\r\n\r\n", HeadError::malformed},
    {"length_long", get + "Content-Length: 1000000000000000000\r\n\r\n", HeadError::malformed},
    {"length_twice", get + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", HeadError::malformed},
    {"length_and_encoding", get + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     HeadError::malformed},
    {"encoding_in_1_0", "GET / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
     HeadError::malformed},
    {"expect_else", get + "Expect: coffee\r\n\r\n", HeadError::expectation},
    {"target_long", "GET /" + std::string(target_bytes_max, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n",
     HeadError::target_too_long},
    {"target_endless", "GET /" + std::string(2 * target_bytes_max, 'a'),
     HeadError::target_too_long},
    {"head_long", get + "A: " + std::string(head_bytes_max, 'a'), HeadError::too_large},
};

INSTANTIATE_TEST_SUITE_P(Rules, BadHead, testing::ValuesIn(bad_heads),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Head, HasSixtyFourFieldsAtMost) {
    std::string bytes = get;
    for (std::size_t i = 1; i < head_fields_max; ++i) { bytes += "A: b\r\n"; }
    EXPECT_EQ(parse(bytes + "\r\n"), HeadError::none);
    EXPECT_EQ(parse(bytes + "A: b\r\n\r\n"), HeadError::too_large);
}

TEST(Head, SurvivesEveryByteInEveryPlace) {
    const std::string good = get + "Content-Length: 3\r\nConnection: close\r\n\r\n";
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (int byte = 0; byte < 256; ++byte) {
            std::string bytes = good;
            bytes[i] = static_cast<char>(byte);
            Head head;
            if (parse(bytes, &head) == HeadError::none) { EXPECT_LE(head.bytes, bytes.size()); }
        }
    }
}

} // namespace
} // namespace mustafar::daemon
