// SPDX-License-Identifier: Apache-2.0
#include "experiment/safetensors.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

namespace mustafar::experiment {

namespace {

using Json = nlohmann::json;

struct Header {
    struct Entry {
        std::string name;
        std::string dtype;
        std::vector<std::uint64_t> shape;
        std::vector<std::uint64_t> offsets;
    };
    std::map<std::string, std::string> metadata;
    std::vector<Entry> entries;
};

std::string in_quotes(std::string_view text) {
    constexpr std::size_t limit = 60;
    std::string out = "\"";
    for (const char c : text.substr(0, limit)) { out += c >= ' ' && c <= '~' ? c : '?'; }
    return out + (text.size() > limit ? "...\"" : "\"");
}

[[noreturn]] void fail(const std::string& text) { throw SafetensorsError(text); }

// Reads the header event by event. Every event that the format does not allow at that place throws, so
// depth is at most 3 (header, entry, list) whatever the text says.
class HeaderReader final : public nlohmann::json_sax<Json> {
  public:
    explicit HeaderReader(Header& out) : out_(out) {}

    bool start_object(std::size_t) override {
        if (place_ == Place::before) {
            place_ = Place::header;
        } else if (place_ == Place::header && !name_.empty()) {
            place_ = name_ == "__metadata__" ? Place::metadata : Place::entry;
            if (place_ == Place::entry) { out_.entries.push_back({name_, {}, {}, {}}); }
            seen_.clear();
        } else {
            wrong("an object");
        }
        return true;
    }

    bool key(string_t& text) override {
        if (place_ == Place::header) {
            if (text.empty()) { fail("header: an entry without a name"); }
            if (!names_.insert(text).second) {
                fail("header: name " + in_quotes(text) + " occurs twice");
            }
            name_ = text;
            return true;
        }
        if (!seen_.insert(text).second) {
            fail(where() + ": key " + in_quotes(text) + " occurs twice");
        }
        if (place_ == Place::entry && text != "dtype" && text != "shape" &&
            text != "data_offsets") {
            fail(where() + ": key " + in_quotes(text) +
                 " is unknown; an entry has dtype, shape and data_offsets");
        }
        key_ = text;
        return true;
    }

    bool string(string_t& text) override {
        if (place_ == Place::metadata) {
            out_.metadata.emplace(key_, text);
        } else if (place_ == Place::entry && key_ == "dtype") {
            out_.entries.back().dtype = text;
        } else {
            wrong("a string");
        }
        return true;
    }

    bool start_array(std::size_t) override {
        if (place_ != Place::entry || key_ == "dtype") { wrong("a list"); }
        place_ = Place::list;
        return true;
    }

    bool number_unsigned(number_unsigned_t value) override {
        if (place_ != Place::list) { wrong("a number"); }
        auto& entry = out_.entries.back();
        auto& list = key_ == "shape" ? entry.shape : entry.offsets;
        const std::size_t limit = key_ == "shape" ? safetensors_rank_max : 2;
        if (list.size() == limit) {
            fail(where() + ": " + key_ + " has more than " + std::to_string(limit) + " numbers");
        }
        list.push_back(value);
        return true;
    }

    bool end_array() override {
        if (key_ == "data_offsets" && out_.entries.back().offsets.size() != 2) {
            fail(where() + ": data_offsets must be two numbers");
        }
        place_ = Place::entry;
        return true;
    }

    bool end_object() override {
        if (place_ == Place::entry && seen_.size() != 3) {
            fail(where() + ": one of dtype, shape and data_offsets is missing");
        }
        place_ = place_ == Place::header ? Place::after : Place::header;
        name_.clear();
        return true;
    }

    bool null() override { return wrong("null"); }
    bool boolean(bool) override { return wrong("a boolean"); }
    bool number_integer(number_integer_t) override { return wrong("a negative number"); }
    bool number_float(number_float_t, const string_t&) override { return wrong("a fraction"); }
    bool binary(binary_t&) override { return wrong("binary data"); }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception& error) override {
        // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." -> the last part
        const std::string text = error.what();
        const auto cut = text.find(": ");
        fail("header: not JSON at byte " + std::to_string(position) + ": " +
             (cut == std::string::npos ? text : text.substr(cut + 2)).substr(0, 120));
    }

  private:
    enum class Place { before, header, metadata, entry, list, after };

    std::string where() const {
        return place_ == Place::before || name_.empty() ? "header" : "tensor " + in_quotes(name_);
    }
    bool wrong(const char* what) const {
        const std::string at = where();
        fail(at + ": " + what + " has no place " +
             (place_ == Place::before || place_ == Place::header ? "here"
              : place_ == Place::metadata                        ? "in __metadata__ (strings only)"
                                                                 : "in " + key_));
    }

    Header& out_;
    Place place_ = Place::before;
    std::string name_; // of the entry being read
    std::string key_;  // in it
    std::set<std::string> names_;
    std::set<std::string> seen_; // keys of the current object
};

// `bytes` of the whole file; `file` may be its start only.
std::uint64_t read_length(std::span<const std::byte> file, std::uint64_t bytes) {
    if (file.size() < 8) {
        fail("file of " + std::to_string(bytes) + " bytes: no room for the header's length");
    }
    std::uint64_t length = 0;
    for (std::size_t i = 8; i-- > 0;) {
        length = length << 8 | std::to_integer<std::uint64_t>(file[i]);
    }
    if (length > safetensors_header_max) {
        fail("header length " + std::to_string(length) + " is above the limit of 1 MiB");
    }
    if (length > bytes - 8 || length > file.size() - 8) {
        fail("header length " + std::to_string(length) + " is more than the file holds (" +
             std::to_string(bytes) + " bytes): truncated?");
    }
    return length;
}

Header read_header(std::string_view text) {
    if (text.empty() || text.front() != '{') { fail("header: does not start with '{'"); }
    if (text.find('\0') != std::string_view::npos) { fail("header: holds a NUL byte"); }
    Header header;
    HeaderReader reader(header);
    try {
        if (!Json::sax_parse(text.begin(), text.end(), &reader)) { fail("header: not JSON"); }
    } catch (const Json::exception& error) {
        fail(std::string("header: not JSON: ") + error.what());
    }
    return header;
}

std::uint64_t multiply(std::uint64_t a, std::uint64_t b, const std::string& name) {
    std::uint64_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) {
        fail("tensor " + in_quotes(name) + ": shape overflows 64 bits");
    }
    return product;
}

// A zero makes the tensor empty, but the other numbers must not overflow for all that.
std::uint64_t tensor_bytes(const Header::Entry& entry) {
    const std::uint64_t size = safetensors_dtype_bytes(entry.dtype);
    if (size == 0) {
        fail("tensor " + in_quotes(entry.name) + ": dtype " + in_quotes(entry.dtype) +
             " is unknown");
    }
    std::uint64_t bytes = size;
    for (const std::uint64_t extent : entry.shape) {
        bytes = multiply(bytes, std::max<std::uint64_t>(extent, 1), entry.name);
    }
    const bool empty = std::ranges::find(entry.shape, 0u) != entry.shape.end();
    return empty ? 0 : bytes;
}

// Entries against the bytes behind the header: [place, end) is what is not yet taken.
std::uint64_t check_entry(const Header::Entry& entry, std::uint64_t place, std::uint64_t end) {
    const auto text = [](std::uint64_t number) { return std::to_string(number); };
    const std::string who = "tensor " + in_quotes(entry.name) + ": ";
    const std::uint64_t first = entry.offsets[0];
    const std::uint64_t last = entry.offsets[1];
    if (last < first) {
        fail(who + "data_offsets end (" + text(last) + ") before they begin (" + text(first) + ")");
    }
    if (first != place) {
        fail(who + "begins at " + text(first) + " where " + text(place) + " was due (" +
             (first > place ? "a gap" : "an overlap, or entries out of order") + ")");
    }
    if (last > end) {
        fail(who + "ends at " + text(last) + ", the file holds " + text(end) +
             " bytes of data: truncated?");
    }
    const std::uint64_t bytes = tensor_bytes(entry);
    if (last - first != bytes) {
        fail(who + "holds " + text(last - first) + " bytes, shape and dtype need " + text(bytes));
    }
    return last;
}

} // namespace

const SafetensorsEntry* Safetensors::find(std::string_view name) const {
    const auto found =
        std::ranges::find_if(entries, [&](const SafetensorsEntry& e) { return e.name == name; });
    return found == entries.end() ? nullptr : &*found;
}

std::uint64_t safetensors_dtype_bytes(std::string_view dtype) {
    constexpr std::array<std::pair<std::string_view, std::uint64_t>, 15> known{{{"F64", 8},
                                                                                {"F32", 4},
                                                                                {"F16", 2},
                                                                                {"BF16", 2},
                                                                                {"I64", 8},
                                                                                {"I32", 4},
                                                                                {"I16", 2},
                                                                                {"I8", 1},
                                                                                {"U64", 8},
                                                                                {"U32", 4},
                                                                                {"U16", 2},
                                                                                {"U8", 1},
                                                                                {"BOOL", 1},
                                                                                {"F8_E4M3", 1},
                                                                                {"F8_E5M2", 1}}};
    const auto found =
        std::ranges::find(known, dtype, &std::pair<std::string_view, std::uint64_t>::first);
    return found == known.end() ? 0 : found->second;
}

namespace {

// `data_bytes` stand behind the header; `data` is all of them or empty.
Safetensors read_entries(Header header, std::span<const std::byte> data, std::uint64_t data_bytes) {
    Safetensors out;
    out.metadata = std::move(header.metadata);
    out.entries.reserve(header.entries.size());
    std::uint64_t place = 0;
    for (Header::Entry& entry : header.entries) {
        const std::uint64_t end = check_entry(entry, place, data_bytes);
        out.entries.push_back({std::move(entry.name), std::move(entry.dtype),
                               std::move(entry.shape),
                               data.empty() ? data : data.subspan(place, end - place)});
        place = end;
    }
    if (place != data_bytes) {
        fail("the last tensor ends at " + std::to_string(place) + ", the file holds " +
             std::to_string(data_bytes) + " bytes of data");
    }
    return out;
}

Header header_of(std::span<const std::byte> file, std::uint64_t length) {
    return read_header({reinterpret_cast<const char*>(file.data()) + 8, length});
}

} // namespace

Safetensors parse_safetensors(std::span<const std::byte> file) {
    const std::uint64_t length = read_length(file, file.size());
    const std::span<const std::byte> data = file.subspan(8 + length);
    return read_entries(header_of(file, length), data, data.size());
}

Safetensors parse_safetensors_start(std::span<const std::byte> start, std::uint64_t file_bytes) {
    const std::uint64_t length = read_length(start, file_bytes);
    return read_entries(header_of(start, length), {}, file_bytes - 8 - length);
}

} // namespace mustafar::experiment
