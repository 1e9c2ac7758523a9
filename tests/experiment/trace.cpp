// SPDX-License-Identifier: Apache-2.0
// Traces: metadata against tensors, and cutting one short.
#include "experiment/trace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bytes.hpp"
#include "experiment/failure.hpp"

namespace mustafar::experiment {
namespace {

using testing::HasSubstr;

// One layer, 2 q heads, 1 kv head, d 32, T 4, Tq 2; K's values are 0, 1, 2, ... as raw bits.
struct Parts {
    std::string metadata =
        R"("T":"4","Tq":"2","scale":"0.5","layers":"1","q_heads":"2","kv_heads":"1","head_dim":"32")";
    std::string k = "F16";
    std::string q_name = "layers.0.q";
    std::string v_shape = "[1,4,32]";
    std::uint16_t poison = 0;

    tests::Bytes file() const {
        const std::string header =
            "{\"__metadata__\":{" + metadata + "},\"layers.0.k\":{\"dtype\":\"" + k +
            "\",\"shape\":[1,4,32],\"data_offsets\":[0,256]},\"layers.0.v\":{\"dtype\":\"F16\","
            "\"shape\":" +
            v_shape + ",\"data_offsets\":[256,512]},\"" + q_name +
            "\":{\"dtype\":\"F16\",\"shape\":[2,2,32],\"data_offsets\":[512,768]}}";
        tests::Bytes bytes = tests::file_of(header, 768);
        auto* data = bytes.data() + bytes.size() - 768;
        for (std::uint16_t i = 0; i < 384; ++i) {
            const std::uint16_t value = i == 5 && poison != 0 ? poison : i;
            std::memcpy(data + 2 * i, &value, 2);
        }
        return bytes;
    }
};

std::string refusal(const Parts& parts) {
    try {
        parse_trace(parts.file(), "a.safetensors");
    } catch (const Failure& failure) {
        EXPECT_EQ(failure.status(), exit_data);
        EXPECT_THAT(failure.what(), HasSubstr("a.safetensors"));
        return failure.what();
    }
    return "accepted";
}

std::string without(const std::string& key) {
    const std::string all = Parts().metadata;
    const auto begin = all.find("\"" + key + "\"");
    const auto end = all.find(',', begin);
    return end == std::string::npos ? all.substr(0, begin - 1)
                                    : all.substr(0, begin) + all.substr(end + 1);
}

TEST(Trace, ReadsShapeAndRows) {
    const Trace trace = parse_trace(Parts().file(), "a");
    EXPECT_EQ(trace.tokens, 4u);
    EXPECT_EQ(trace.queries, 2u);
    EXPECT_EQ(trace.group(), 2u);
    EXPECT_EQ(trace.scale, 0.5);
    EXPECT_EQ(trace.scale_option(), 0.5F);
    EXPECT_EQ(trace.layers.at(0).k.at(trace.row(0, 1)), 32);
    EXPECT_EQ(trace.layers.at(0).v.at(0), 128);
    EXPECT_TRUE(trace.layers.at(0).out.empty());
    EXPECT_EQ(trace.geometry().head_dim_k, 32u);
}

TEST(Trace, NamesMissingMetadata) {
    for (const char* key : {"T", "Tq", "scale", "layers", "q_heads", "kv_heads", "head_dim"}) {
        Parts parts;
        parts.metadata = without(key);
        EXPECT_THAT(refusal(parts), HasSubstr("metadata \"" + std::string(key) + "\" is missing"));
    }
}

TEST(Trace, NamesWhatIsWrong) {
    const auto with = [](const char* from, const char* to) {
        Parts parts;
        parts.metadata.replace(parts.metadata.find(from), std::string(from).size(), to);
        return refusal(parts);
    };
    EXPECT_THAT(with("\"T\":\"4\"", "\"T\":\"5\""), HasSubstr("layers.0.k"));
    EXPECT_THAT(with("\"T\":\"4\"", "\"T\":\"four\""), HasSubstr("not a number"));
    EXPECT_THAT(with("\"T\":\"4\"", "\"T\":\"-4\""), HasSubstr("not a number"));
    EXPECT_THAT(with("\"Tq\":\"2\"", "\"Tq\":\"0\""), HasSubstr("allowed are"));
    EXPECT_THAT(with("\"Tq\":\"2\"", "\"Tq\":\"9\""), HasSubstr("more than T"));
    EXPECT_THAT(with("\"layers\":\"1\"", "\"layers\":\"2\""),
                HasSubstr("\"layers.1.k\" is missing"));
    EXPECT_THAT(with("\"layers\":\"1\"", "\"layers\":\"99999\""), HasSubstr("allowed are"));
    EXPECT_THAT(
        with("\"q_heads\":\"2\",\"kv_heads\":\"1\"", "\"q_heads\":\"3\",\"kv_heads\":\"2\""),
        HasSubstr("no multiple"));
    EXPECT_THAT(with("0.5", "0"), HasSubstr("scale"));
    EXPECT_THAT(with("0.5", "nan"), HasSubstr("scale"));
    EXPECT_THAT(with("0.5", "half"), HasSubstr("not a number"));
}

TEST(Trace, NamesTensorsAtFault) {
    Parts parts;
    parts.q_name = "layers.0.query";
    EXPECT_THAT(refusal(parts), HasSubstr("\"layers.0.q\" is missing"));
    parts = Parts();
    parts.v_shape = "[4,1,32]";
    EXPECT_THAT(refusal(parts), HasSubstr("[4, 1, 32]"));
    parts = Parts();
    parts.k = "I16";
    EXPECT_THAT(refusal(parts), HasSubstr("expected was F16"));
    parts = Parts();
    parts.k = "BF16"; // then all of them
    EXPECT_THAT(refusal(parts), HasSubstr("expected was BF16"));
    parts = Parts();
    parts.poison = 0x7e00;
    EXPECT_THAT(refusal(parts), HasSubstr("not finite, at element 5"));
}

TEST(Trace, KeepsTheLast) {
    Trace trace = parse_trace(Parts().file(), "a");
    trace.keep_last(3, 1);
    EXPECT_TRUE(trace.cut);
    EXPECT_EQ(trace.tokens, 3u);
    EXPECT_EQ(trace.queries, 1u);
    EXPECT_EQ(trace.layers[0].k.at(0), 32);
    EXPECT_EQ(trace.layers[0].q.size(), 64u);
    EXPECT_EQ(trace.layers[0].q.at(trace.query(1, 0)), 256 + 3 * 32);
    EXPECT_THROW(parse_trace(Parts().file(), "a").keep_last(1, 0), Failure);
}

TEST(Trace, MissingFile) {
    try {
        load_trace("no-such-folder/x.safetensors");
        FAIL();
    } catch (const Failure& failure) {
        EXPECT_EQ(failure.status(), exit_data);
        EXPECT_THAT(failure.what(), HasSubstr("No such file"));
    }
    EXPECT_THROW(load_trace("/"), Failure);
}

} // namespace
} // namespace mustafar::experiment
