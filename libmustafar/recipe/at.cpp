// SPDX-License-Identifier: Apache-2.0
// "at" lists: which layers or kv heads an override is for.
#include <algorithm>
#include <charconv>

#include "recipe/document.hpp"
#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

class AtParser {
  public:
    AtParser(const std::string& text, const std::string& path, std::int64_t limit)
        : text_(text), path_(path), limit_(limit) {}

    AtList parse() {
        AtList items;
        do {
            AtItem item;
            item.from = index();
            item.to = take('-') ? index() : item.from;
            if ((item.from < 0) == (item.to < 0) && item.from > item.to) {
                fail(cat(item.from, "-", item.to, " runs backwards; give the lower index first"));
            }
            items.push_back(item);
        } while (take(','));
        if (at_ != text_.size()) { fail(cat("position ", at_, ": give \",\" or the end")); }
        return items;
    }

  private:
    [[noreturn]] void fail(const std::string& rest) const {
        refuse(path_, " = ", in_quotes(text_), ": ", rest, R"(; lists look like "0,2-3" or "-1")");
    }

    bool take(char wanted) {
        const bool there = at_ < text_.size() && text_[at_] == wanted;
        at_ += there ? 1 : 0;
        return there;
    }

    std::int32_t index() {
        std::int32_t value = 0;
        const char* begin = text_.data() + at_;
        const auto [end, problem] = std::from_chars(begin, text_.data() + text_.size(), value);
        if (problem == std::errc::invalid_argument) {
            fail(cat("position ", at_, ": give an index"));
        }
        if (problem != std::errc{} || value < -limit_ || value >= limit_) {
            fail(cat("position ", at_, ": give an index ", -limit_, "..", limit_ - 1));
        }
        at_ += static_cast<std::size_t>(end - begin);
        return value;
    }

    const std::string& text_;
    const std::string& path_;
    std::int64_t limit_;
    std::size_t at_ = 0;
};

// Sorted, overlapping and adjacent items joined. Only for items without negative ends.
AtList joined(AtList items) {
    std::sort(items.begin(), items.end());
    AtList out;
    for (const AtItem& item : items) {
        if (!out.empty() && item.from <= out.back().to + 1) {
            out.back().to = std::max(out.back().to, item.to);
        } else {
            out.push_back(item);
        }
    }
    return out;
}

} // namespace

AtList parse_at(const std::string& text, const std::string& path, std::int64_t limit) {
    AtList items = AtParser(text, path, limit).parse();
    const bool negatives = std::any_of(items.begin(), items.end(), [](const AtItem& item) {
        return item.from < 0 || item.to < 0;
    });
    return negatives ? items : joined(std::move(items));
}

std::string at_text(const AtList& at) {
    std::string out;
    for (const AtItem& item : at) {
        out += cat(out.empty() ? "" : ",", item.from);
        if (item.to != item.from) { out += cat("-", item.to); }
    }
    return out;
}

std::vector<bool> at_flags(const AtList& at, const std::string& path, std::uint32_t count,
                           std::string_view what) {
    const auto size = static_cast<std::int64_t>(count);
    std::vector<bool> flags(count, false);
    const auto index = [&](std::int64_t wanted) {
        if (wanted < -size || wanted >= size) {
            throw Error(MUSTAFAR_UNSUPPORTED,
                        cat(path, ".at = ", in_quotes(at_text(at)), ": ", wanted, " is beyond the ",
                            size, " ", what, " of the geometry; give ", -size, "..", size - 1));
        }
        return wanted < 0 ? wanted + size : wanted;
    };
    for (const AtItem& item : at) {
        const std::int64_t from = index(item.from);
        const std::int64_t to = index(item.to);
        if (from > to) {
            throw Error(MUSTAFAR_UNSUPPORTED,
                        cat(path, ".at = ", in_quotes(at_text(at)), ": ", item.from, "-", item.to,
                            " runs backwards where there are ", size, " ", what,
                            "; give the lower index first"));
        }
        std::fill(flags.begin() + from, flags.begin() + to + 1, true);
    }
    return flags;
}

} // namespace mustafar::recipes
