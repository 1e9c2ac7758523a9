// SPDX-License-Identifier: Apache-2.0
// The worked example of docs/format.md: the hex there is what the library writes for the rows there.
// `golden_format_doc --print` prints the dump as it should stand in the page.
#include <cstdio>
#include <cstring>
#include <sstream>
#include <vector>

#include "library.hpp"
#include "sections.hpp"

using namespace mustafar::golden;

namespace {

constexpr std::uint32_t d = 32;

// Section 6: two tokens, the first packed, the second in the window.
Bytes example() {
    const ContextPtr context = make_context();
    const RecipePtr recipe = make_recipe(R"({"schema":"mustafar.recipe","version":1,
        "window":{"recent":1,"step":1},"k":{"keep":5,"bits":4},"v":{"bits":2}})");
    mustafar_geometry geometry{};
    geometry.struct_size = sizeof(geometry);
    geometry.layers = geometry.q_heads = geometry.kv_heads = 1;
    geometry.head_dim_k = geometry.head_dim_v = d;
    geometry.dtype = MUSTAFAR_F16;
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = 64;
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_cache* made = nullptr;
    must(mustafar_cache_create(context.get(), &geometry, recipe.get(), &options, &made, &error),
         error);
    const CachePtr cache(made);
    float k[2][d];
    float v[2][d];
    for (std::uint32_t c = 0; c < d; ++c) {
        k[0][c] = 0.25F;
        v[0][c] = static_cast<float>(c % 4) * 0.5F;
        k[1][c] = 1.0F;
        v[1][c] = -0.5F;
    }
    k[0][3] = k[0][8] = -2.0F;
    k[0][7] = 1.75F;
    k[0][17] = 3.25F;
    k[0][20] = k[0][31] = 1.0F;
    const mustafar_tensor keys = tensor(k, MUSTAFAR_F32, {2, 1, d});
    const mustafar_tensor values = tensor(v, MUSTAFAR_F32, {2, 1, d});
    must(mustafar_cache_append(cache.get(), 0, &keys, &values, 0, &error), error);
    return save(cache.get(), "tiny");
}

struct Field {
    std::size_t bytes;
    std::string text;
};

std::vector<Field> fields(const Bytes& file) {
    std::vector<Field> out = {{8, "magic"}, {4, "version 1"}, {4, "byte order mark"}};
    for (const Section& section : split(file).list) {
        const std::string name(reinterpret_cast<const char*>(&section.tag), 4);
        out.push_back({8, "tag " + name + ", index " + std::to_string(section.index)});
        out.push_back({8, "length " + std::to_string(section.payload.size())});
        out.push_back({8, "XXH3-64"});
        if (name == "GEOM") {
            for (const char* text : {"layers", "q_heads", "kv_heads", "head_dim_k", "head_dim_v",
                                     "dtype: f16", "max_tokens", "flags: AUTO"}) {
                out.push_back({4, text});
            }
        } else if (name == "LAYR") {
            out.push_back({4, "committed"});
            out.push_back({4, "tentative"});
            out.push_back({4, "K: exact, 4 bits, keep 5"});
            out.push_back({4, "V: exact, 2 bits, keep 32"});
        } else if (name == "HEAD") {
            for (const char* text : {"body_rows", "dense_rows", "flags", "page_count"}) {
                out.push_back({4, text});
            }
            out.push_back({8, "evicted"});
            const std::vector<Field> page = {{4, "page 0: valid"},   {4, "K bitmap"},
                                             {3, "K codes"},         {4, "K scale, zero"},
                                             {8, "V codes"},         {4, "V scale, zero"},
                                             {64, "dense K, 1 row"}, {64, "dense V, 1 row"}};
            out.insert(out.end(), page.begin(), page.end());
        } else if (name == "DONE") {
            out.push_back({8, "sections"});
        } else {
            out.push_back({section.payload.size(),
                           name == "RECI" ? "the recipe's canonical JSON" : "\"tiny\""});
        }
    }
    return out;
}

void print(const Bytes& file) {
    std::size_t at = 0;
    for (const Field& field : fields(file)) {
        for (std::size_t done = 0; done < field.bytes; done += 16) {
            std::string line;
            char text[16];
            for (std::size_t i = done; i < std::min(field.bytes, done + 16); ++i) {
                std::snprintf(text, sizeof(text), "%02x ", file[at + i]);
                line += text;
            }
            std::snprintf(text, sizeof(text), "%04zx", at + done);
            std::printf("%s  %-48s|%s%s\n", text, line.c_str(), done == 0 ? " " : "",
                        done == 0 ? field.text.c_str() : "");
        }
        at += field.bytes;
    }
}

// The bytes of every fenced block "```hexdump NAME": offset, two spaces, bytes, "|", words.
Bytes bytes_in_page(const std::string& name) {
    const Bytes page = read_file(MUSTAFAR_SOURCE_DIR "/docs/format.md");
    std::istringstream in(std::string(page.begin(), page.end()));
    Bytes out;
    bool inside = false;
    for (std::string line; std::getline(in, line);) {
        if (line.rfind("```", 0) == 0) {
            inside = line == "```hexdump " + name;
            continue;
        }
        if (!inside) { continue; }
        if (std::stoul(line, nullptr, 16) != out.size()) {
            std::printf("FAILED  %s: offset of the line \"%s\"\n", name.c_str(), line.c_str());
            return {};
        }
        std::istringstream words(line.substr(4, line.find('|') - 4));
        for (std::string word; words >> word;) {
            out.push_back(static_cast<unsigned char>(std::stoul(word, nullptr, 16)));
        }
    }
    return out;
}

int failures = 0;

void check(bool fine, const char* text) {
    std::printf("%s  %s\n", fine ? "ok    " : "FAILED", text);
    failures += fine ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) {
    const Bytes file = example();
    if (count > 1 && std::strcmp(arguments[1], "--print") == 0) {
        print(file);
        return 0;
    }
    const Bytes head = split(file).find("HEAD").payload;
    const Bytes row(head.begin() + 28,
                    head.begin() + 28 + 4 + 3 + 4); // bitmap, codes, scale and zero of K
    check(bytes_in_page("row") == row, "docs/format.md, the worked row");
    check(bytes_in_page("snapshot") == file,
          "docs/format.md, the worked snapshot (--print shows what it should be)");
    return failures;
}
