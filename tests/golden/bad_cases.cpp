// SPDX-License-Identifier: Apache-2.0
// One damaged file per rule of docs/format.md, 5.4. Checksums fit unless they are the point.
#include "cases.hpp"
#include "sections.hpp"

namespace mustafar::golden {

namespace {

using Damage = std::function<Bytes(const Bytes&)>;

constexpr std::size_t no_checksum = 16; // byte offsets in a section header
constexpr std::uint16_t f16_nan = 0x7E00;
constexpr std::uint16_t f16_infinity = 0x7C00;

// Offsets in a LAYR payload: the types of kv head 0.
namespace layer {
constexpr std::size_t k_tag = 8, v_tag = 12;
} // namespace layer

// Offsets in the HEAD payload of exact-i4-i8: 8 rows of 5 elements at 4 bits, 13 at 8 bits.
namespace head {
constexpr std::size_t body = 0, dense = 4, flags = 8, pages = 12, evicted = 16;
constexpr std::size_t valid = 24, k_bitmaps = 28, k_codes = k_bitmaps + 8 * 4,
                      k_meta = k_codes + 8 * 3, v_bitmaps = k_meta + 8 * 4,
                      v_codes = v_bitmaps + 8 * 4, v_meta = v_codes + 8 * 13,
                      k_dense = v_meta + 8 * 4;
} // namespace head

Damage raw(std::function<void(Bytes&)> change) {
    return [change](const Bytes& good) {
        Bytes file = good;
        change(file);
        return file;
    };
}

Damage payload(const std::string& section, std::function<void(Bytes&)> change,
               std::size_t which = 0) {
    return [=](const Bytes& good) {
        Sections sections = split(good);
        change(sections.find(section, which).payload);
        return join(sections);
    };
}

template <class T>
Damage number(const std::string& section, std::size_t at, T value, std::size_t which = 0) {
    return payload(
        section, [=](Bytes& bytes) { put<T>(bytes, at, value); }, which);
}

Damage text(const std::string& from, const std::string& to) {
    return payload("RECI", [=](Bytes& bytes) {
        std::string json(bytes.begin(), bytes.end());
        json.replace(json.find(from), from.size(), to);
        bytes.assign(json.begin(), json.end());
    });
}

Damage sections(std::function<void(std::vector<Section>&)> change) {
    return [change](const Bytes& good) {
        Sections all = split(good);
        change(all.list);
        return join(all);
    };
}

Damage insert(const std::string& section, std::size_t at, std::size_t count) {
    return payload(section, [=](Bytes& bytes) {
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), count, 0);
    });
}

} // namespace

std::vector<BadCase> bad_cases() {
    std::vector<BadCase> out;
    const char* base = "exact-i4-i8";
    const auto add = [&](const char* name, const char* section, const char* says, Damage damage,
                         mustafar_status status = MUSTAFAR_CORRUPT) {
        out.push_back({name, base, std::move(damage), status, section, says});
    };

    // ---- the first 16 bytes, and the frame of a section
    add("magic", "", "MUSTAFAR", raw([](Bytes& file) { file[7] = 'r'; }));
    add("version", "-", "version 2", raw([](Bytes& file) { file[8] = 2; }), MUSTAFAR_MISMATCH);
    add("byte-order", "", "byte order",
        raw([](Bytes& file) { put<std::uint32_t>(file, 12, 0x04030201); }));
    add("cut-head", "", "data end", raw([](Bytes& file) { file.resize(15); }));
    add("cut-section-head", "GEOM", "data end", raw([](Bytes& file) { file.resize(39); }));
    add("cut-payload", "GEOM", "data end", raw([](Bytes& file) { file.resize(60); }));
    add("cut-last-byte", "DONE", "data end", raw([](Bytes& file) { file.pop_back(); }));
    add("tag", "GEOM", "in its place", sections([](auto& list) { list[0].tag = tag_of("GEOX"); }));
    add("index", "GEOM", "in its place", sections([](auto& list) { list[0].index = 1; }));
    add("order", "RECI", "in its place", sections([](auto& list) { std::swap(list[0], list[1]); }));
    add("head-missing", "HEAD", "in its place",
        sections([](auto& list) { list.erase(list.begin() + 4); }));
    add("length", "GEOM", "exceeds",
        raw([](Bytes& file) { put<std::uint64_t>(file, 24, std::uint64_t{1} << 60); }));
    add("checksum", "GEOM", "checksum",
        raw([](Bytes& file) { file[file_head_bytes + no_checksum] ^= 1; }));
    add("checksum-of-header", "HEAD", "", raw([](Bytes& file) {
            // Length and payload stay, another section of the same length would be taken for this one.
            file[split(file).find("HEAD").offset + no_checksum + 7] ^= 0x80;
        }));

    // ---- GEOM
    add("geometry-short", "GEOM", "bytes", payload("GEOM", [](Bytes& bytes) { bytes.resize(28); }));
    add("layers", "GEOM", "layers", number<std::uint32_t>("GEOM", 0, 0));
    add("q-heads", "GEOM", "q_heads", number<std::uint32_t>("GEOM", 4, 1025));
    add("kv-heads", "GEOM", "kv_heads", number<std::uint32_t>("GEOM", 8, 0));
    add("heads-no-multiple", "GEOM", "multiple", number<std::uint32_t>("GEOM", 4, 3));
    out.back().base = "mixed";
    out.back().damage = number<std::uint32_t>("GEOM", 4, 7);
    add("head-dim-k", "GEOM", "head_dim_k", number<std::uint32_t>("GEOM", 12, 36));
    add("head-dim-v", "GEOM", "head_dim_v", number<std::uint32_t>("GEOM", 16, 264));
    add("dtype", "GEOM", "dtype", number<std::uint32_t>("GEOM", 20, 1));
    add("max-tokens", "GEOM", "max_tokens", number<std::uint32_t>("GEOM", 24, 0));
    add("options-flags", "GEOM", "flags", number<std::uint32_t>("GEOM", 28, 2));
    add("capacity", "-", "max_tokens", number<std::uint32_t>("GEOM", 24, 11), MUSTAFAR_CAPACITY);
    add("claim-heads", "-", "geometry",
        payload("GEOM",
                [](Bytes& bytes) {
                    put<std::uint32_t>(bytes, 0, 4096);
                    put<std::uint32_t>(bytes, 4, 1024);
                    put<std::uint32_t>(bytes, 8, 1024);
                }),
        MUSTAFAR_MISMATCH);

    // ---- RECI, MODL, LAYR
    add("recipe-name", "RECI", "not JSON", payload("RECI", [](Bytes& bytes) {
            const std::string name = "lean";
            bytes.assign(name.begin(), name.end());
        }));
    add("recipe-key", "RECI", "unknown key", text("\"keep\"", "\"kept\""));
    add("recipe-not-canonical", "RECI", "canonical", text(",\"k\":", ", \"k\":"));
    add("recipe-does-not-fit", "MODL", "fit together", text("\"keep\":5", "\"keep\":33"));
    add("recipe-mask-auto", "MODL", "fit together",
        text("\"method\":\"token_topk\",\"keep\":13,\"rule\":\"exact\",\"multiple\":1",
             "\"method\":\"mask\""));
    add("recipe-other-bits", "LAYR", "8 bits", text("\"bits\":8", "\"bits\":4"));
    add("model-nul", "MODL", "NUL", payload("MODL", [](Bytes& bytes) { bytes.assign(3, 0); }));
    add("model-long", "MODL", "exceeds",
        payload("MODL", [](Bytes& bytes) { bytes.assign(1025, 'x'); }));
    add("length-huge", "LAYR", "out of range", number<std::uint32_t>("LAYR", 0, 0x80000000U));
    add("layer-short", "LAYR", "types needs",
        payload("LAYR", [](Bytes& bytes) { bytes.resize(bytes.size() - 4); }));
    add("layer-long", "LAYR", "exceeds", payload("LAYR", [](Bytes& bytes) { bytes.push_back(0); }));
    add("type-tag", "LAYR", "side k: tag 2", number<std::uint8_t>("LAYR", layer::k_tag, 2));
    add("type-tag-unknown", "-", "side v: encoding tag 5",
        number<std::uint8_t>("LAYR", layer::v_tag, 5), MUSTAFAR_MISMATCH);
    add("type-tag-none", "-", "side k: encoding tag 0",
        number<std::uint8_t>("LAYR", layer::k_tag, 0), MUSTAFAR_MISMATCH);
    add("type-bits", "LAYR", "side v: tag 1, 4 bits",
        number<std::uint8_t>("LAYR", layer::v_tag + 1, 4));
    add("type-keep", "LAYR", "keep 6, but", number<std::uint16_t>("LAYR", layer::k_tag + 2, 6));
    base = "ragged";
    add("type-keep-ragged", "LAYR", "keep 5, but",
        number<std::uint16_t>("LAYR", layer::v_tag + 2, 5));
    base = "mixed"; // layers of two kv heads: the last side of the second layer
    add("type-tag-last", "-", "layer 1, kv head 1, side v: encoding tag 255",
        number<std::uint8_t>("LAYR", layer::v_tag + 8, 255, 1), MUSTAFAR_MISMATCH);
    base = "exact-i4-i8";
    add("length-other", "HEAD", "does not fit", number<std::uint32_t>("LAYR", 0, 13));

    // ---- HEAD: counts and flags
    add("body-rows", "HEAD", "does not fit", number<std::uint32_t>("HEAD", head::body, 9));
    add("body-rows-wrap", "HEAD", "does not fit",
        number<std::uint32_t>("HEAD", head::body, 0xFFFFFFFF));
    add("body-and-dense", "HEAD", "pages hold", payload("HEAD", [](Bytes& bytes) {
            put<std::uint32_t>(bytes, head::body, 7);
            put<std::uint32_t>(bytes, head::dense, 5);
        }));
    add("head-flags", "HEAD", "unknown", number<std::uint32_t>("HEAD", head::flags, 32));
    add("page-count-more", "HEAD", "", number<std::uint32_t>("HEAD", head::pages, 2));
    add("page-count-huge", "HEAD", "", number<std::uint32_t>("HEAD", head::pages, 0xFFFFFFFF));
    add("page-count-less", "HEAD", "pages hold", number<std::uint32_t>("HEAD", head::pages, 0));
    add("evicted", "HEAD", "without positions", number<std::uint64_t>("HEAD", head::evicted, 1));
    add("head-cut", "HEAD", "needs",
        payload("HEAD", [](Bytes& bytes) { bytes.resize(bytes.size() - 2); }));
    add("head-left-over", "HEAD", "left over",
        payload("HEAD", [](Bytes& bytes) { bytes.push_back(0); }));

    // ---- HEAD: pages
    add("valid-none", "HEAD", "not canonical", number<std::uint32_t>("HEAD", head::valid, 0));
    add("valid-hole", "HEAD", "not canonical", number<std::uint32_t>("HEAD", head::valid, 0x1FE));
    add("bitmap-count", "HEAD", "keeps 6", payload("HEAD", [](Bytes& bytes) {
            for (unsigned bit = 1;; bit <<= 1) { // the lowest channel of row 0 that is not kept
                unsigned char& byte = bytes[head::k_bitmaps];
                if ((byte & bit) != 0) { continue; }
                byte = static_cast<unsigned char>(byte | bit);
                return;
            }
        }));
    add("code-padding", "HEAD", "behind the last code",
        payload("HEAD", [](Bytes& bytes) { bytes[head::k_codes + 2] |= 0x10; }));
    add("scale-negative", "HEAD", "scale", number<std::uint16_t>("HEAD", head::k_meta, 0x8000));
    add("scale-infinite", "HEAD", "scale",
        number<std::uint16_t>("HEAD", head::v_meta, f16_infinity));
    add("zero-nan", "HEAD", "zero", number<std::uint16_t>("HEAD", head::v_meta + 2, f16_nan));
    base = "exact-16";
    add("packed-nan", "HEAD", "packed value",
        number<std::uint16_t>("HEAD", head::k_bitmaps + 8 * 4,
                              f16_nan)); // the first code behind 8 bitmaps
    base = "channel";
    add("channel-scale", "HEAD", "scale",
        number<std::uint16_t>("HEAD", 28 + 32 * 16, f16_infinity));
    base = "deep-truncate"; // pages of 32 and 3 rows
    add("page-partial-first", "HEAD", "not canonical",
        number<std::uint32_t>("HEAD", head::valid, 0x7FFFFFFF));
    base = "bf16";
    add("packed-bf16-infinity", "HEAD", "packed value",
        number<std::uint16_t>("HEAD", head::k_bitmaps + 8 * 4, 0x7F80));
    base = "ragged";
    add("ragged-bitmap", "HEAD", "", number<std::uint32_t>("HEAD", head::k_bitmaps, 0xFFFFFFFF));

    // ---- HEAD: dense rows, marks, positions, centre, masks
    base = "exact-i4-i8";
    add("dense-nan", "HEAD", "dense value", number<std::uint16_t>("HEAD", head::k_dense, f16_nan));
    add("tentative-packed", "HEAD", "does not fit", payload("LAYR", [](Bytes& bytes) {
            put<std::uint32_t>(bytes, 0, 7);
            put<std::uint32_t>(bytes, 4, 5); // of which one would be packed
        }));
    add("mask-not-there", "HEAD", "prunes no channels", payload("HEAD", [](Bytes& bytes) {
            put<std::uint32_t>(bytes, head::flags, 4);
            bytes.insert(bytes.begin() + 24, 4, 0);
        }));
    add("centre-not-there", "HEAD", "recipe has none", payload("HEAD", [](Bytes& bytes) {
            put<std::uint32_t>(bytes, head::flags, 2);
            bytes.insert(bytes.begin() + 24, 128, 0);
        }));
    base = "marks";
    const auto marks_at = 24 + 8 * 64 * 2; // behind 8 dense rows of K and V
    add("mark-unknown", "HEAD", "unknown bits",
        payload("HEAD", [=](Bytes& bytes) { bytes[marks_at] = 4; }));
    add("marks-none", "HEAD", "without a marked row", payload("HEAD", [=](Bytes& bytes) {
            bytes.resize(marks_at);
            bytes.resize(marks_at + 8, 0);
        }));
    base = "sink-evicted";
    add("sink-short", "HEAD", "sink", payload("HEAD", [](Bytes& bytes) {
            const auto body = get<std::uint32_t>(bytes, head::body);
            const auto dense = get<std::uint32_t>(bytes, head::dense);
            put<std::uint32_t>(bytes, head::body, body + dense);
            put<std::uint32_t>(bytes, head::dense, 0);
        }));
    add("positions-repeat", "HEAD", "ascend", number<std::int32_t>("HEAD", 28, 0));
    add("positions-negative", "HEAD", "ascend", number<std::int32_t>("HEAD", 24, -1));
    add("positions-beyond", "HEAD", "ascend", payload("HEAD", [](Bytes& bytes) {
            const auto rows =
                get<std::uint32_t>(bytes, head::body) + get<std::uint32_t>(bytes, head::dense);
            put<std::int32_t>(bytes, 24 + (rows - 1) * 4, 17);
        }));
    add("tentative-missing", "HEAD", "tentative", [](const Bytes& good) {
        Sections all = split(good);
        put<std::uint32_t>(all.find("LAYR").payload, 0, 15); // the newest three of 18 are tentative
        put<std::uint32_t>(all.find("LAYR").payload, 4, 3);
        return join(all);
    });
    base = "n-m-channels";
    add("mask-count", "HEAD", "mask keeps", number<std::uint32_t>("HEAD", 24, 1));
    base = "centre-mean";
    add("centre-missing", "HEAD", "centre is missing", payload("HEAD", [](Bytes& bytes) {
            put<std::uint32_t>(bytes, head::flags, 0);
            bytes.erase(bytes.begin() + 24, bytes.begin() + 24 + 128);
        }));
    add("centre-large", "HEAD", "centre is out of range",
        number<std::uint32_t>("HEAD", 24, 0x47000000)); // 32768
    base = "centre-given";
    add("centre-other", "HEAD", "not the recipe's", number<std::uint32_t>("HEAD", 24, 0x3F800000));

    // ---- DONE
    base = "exact-i4-i8";
    add("section-count", "DONE", "section count", number<std::uint64_t>("DONE", 0, 7));
    add("done-long", "DONE", "exceeds", insert("DONE", 8, 1));
    return out;
}

} // namespace mustafar::golden
