// SPDX-License-Identifier: Apache-2.0
#include "sections.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include <xxhash.h>

namespace mustafar::golden {

namespace {

constexpr std::array<std::string_view, 6> names = {"GEOM", "RECI", "MODL", "LAYR", "HEAD", "DONE"};

void append_section(Bytes& file, const Section& section) {
    Bytes bytes(section_head_bytes);
    put<std::uint32_t>(bytes, 0, section.tag);
    put<std::uint32_t>(bytes, 4, section.index);
    put<std::uint64_t>(bytes, 8, section.payload.size());
    Bytes covered(bytes.begin(), bytes.begin() + 16); // the checksum covers these and the payload
    covered.insert(covered.end(), section.payload.begin(), section.payload.end());
    put<std::uint64_t>(bytes, 16, XXH3_64bits(covered.data(), covered.size()));
    file.insert(file.end(), bytes.begin(), bytes.end());
    file.insert(file.end(), section.payload.begin(), section.payload.end());
}

bool is_tag(const Bytes& file, std::size_t at) {
    if (at + 4 > file.size()) { return false; }
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
        return std::equal(name.begin(), name.end(), file.begin() + static_cast<std::ptrdiff_t>(at));
    });
}

Bytes canonical_recipe(Bytes text) {
    mustafar_recipe* recipe = nullptr;
    const auto* chars = reinterpret_cast<const char*>(text.data());
    if (mustafar_recipe_parse(chars, text.size(), &recipe, nullptr) != MUSTAFAR_OK) { return text; }
    const std::string_view json = mustafar_recipe_json(recipe);
    text.assign(json.begin(), json.end());
    mustafar_recipe_destroy(recipe);
    return text;
}

} // namespace

std::uint32_t tag_of(std::string_view name) {
    std::uint32_t tag = 0;
    for (std::size_t i = 4; i-- > 0;) { tag = tag << 8 | static_cast<unsigned char>(name[i]); }
    return tag;
}

Section& Sections::find(std::string_view name, std::size_t which) {
    for (Section& section : list) {
        if (section.tag == tag_of(name) && which-- == 0) { return section; }
    }
    std::fprintf(stderr, "FAILED  no section %.4s\n", name.data());
    std::exit(1);
}

Sections split(const Bytes& file) {
    const auto at = [&](std::size_t offset) {
        return file.begin() + static_cast<std::ptrdiff_t>(offset);
    };
    Sections out;
    out.head.assign(at(0), at(file_head_bytes));
    for (std::size_t offset = file_head_bytes; offset < file.size();) {
        Section section;
        section.tag = get<std::uint32_t>(file, offset);
        section.index = get<std::uint32_t>(file, offset + 4);
        section.offset = offset;
        const auto length = static_cast<std::size_t>(get<std::uint64_t>(file, offset + 8));
        offset += section_head_bytes;
        section.payload.assign(at(offset), at(offset + length));
        offset += length;
        out.list.push_back(std::move(section));
    }
    return out;
}

Bytes join(const Sections& sections) {
    Bytes file = sections.head;
    for (const Section& section : sections.list) { append_section(file, section); }
    return file;
}

Bytes repair(const Bytes& file, bool canonical) {
    if (file.size() < file_head_bytes) { return file; }
    Sections out;
    out.head.assign(file.begin(), file.begin() + file_head_bytes);
    std::size_t at = file_head_bytes;
    while (at + section_head_bytes <= file.size()) {
        std::size_t end = at + section_head_bytes;
        while (end < file.size() && !is_tag(file, end)) { ++end; }
        Section section;
        section.tag = get<std::uint32_t>(file, at);
        section.index = get<std::uint32_t>(file, at + 4);
        section.payload.assign(file.begin() + static_cast<std::ptrdiff_t>(at + section_head_bytes),
                               file.begin() + static_cast<std::ptrdiff_t>(end));
        if (canonical && section.tag == tag_of("RECI")) {
            section.payload = canonical_recipe(std::move(section.payload));
        }
        out.list.push_back(std::move(section));
        at = end;
    }
    Bytes repaired = join(out);
    repaired.insert(repaired.end(), file.begin() + static_cast<std::ptrdiff_t>(at), file.end());
    return repaired;
}

} // namespace mustafar::golden
