// SPDX-License-Identifier: Apache-2.0
// Document to canonical JSON: one key order, no white space, defaults written out at the top level,
// overrides as they were given. Parsing it gives the same text again.
#include "recipe/document.hpp"
#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

class ObjectWriter {
  public:
    explicit ObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
    void close() { out_ += '}'; } // not the destructor: it may throw
    ObjectWriter(const ObjectWriter&) = delete;
    ObjectWriter& operator=(const ObjectWriter&) = delete;

    std::string& key(std::string_view name) {
        out_ += cat(first_ ? "" : ",", "\"", name, "\":");
        first_ = false;
        return out_;
    }
    void text(std::string_view name, const std::string& value) { key(name) += Json(value).dump(); }
    void word(std::string_view name, std::string_view value) {
        key(name) += cat("\"", value, "\"");
    }
    void number(std::string_view name, std::integral auto value) { key(name) += cat(value); }

  private:
    std::string& out_;
    bool first_ = true;
};

template <class Items, class Write>
void write_array(std::string& out, const Items& items, Write&& write) {
    out += '[';
    bool first = true;
    for (const auto& item : items) {
        out += first ? "" : ",";
        first = false;
        write(item);
    }
    out += ']';
}

void write_centre(ObjectWriter& object, const Centre& centre) {
    if (centre.values == nullptr) {
        object.word("centre", centre.mean ? "mean" : "none");
        return;
    }
    std::string& out = object.key("centre");
    write_array(out, *centre.values, [&](float value) { out += number_text(value); });
}

void write_side(std::string& out, const SidePatch& side) {
    ObjectWriter object(out);
    const auto number = [&](std::string_view key, const Leaf<std::uint32_t>& leaf) {
        if (leaf) { object.number(key, *leaf); }
    };
    if (side.method) { object.word("method", method_name(*side.method)); }
    if (side.keep) { object.key("keep") += keep_text(*side.keep); }
    if (side.sparsity) { object.key("sparsity") += number_text(*side.sparsity); }
    if (side.paper) { object.word("rule", *side.paper ? "paper" : "exact"); }
    number("multiple", side.multiple);
    number("n", side.n);
    number("m", side.m);
    if (side.threshold) { object.key("threshold") += number_text(*side.threshold); }
    number("bits", side.bits);
    if (side.axis) { object.word("axis", *side.axis == Axis::channel ? "channel" : "token"); }
    number("group", side.group);
    if (side.centre) { write_centre(object, *side.centre); }
    object.close();
}

// The defaults hold a value for every key; those that the method never looks at are left out.
SidePatch without_idle_keys(SidePatch side, Side which) {
    const bool topk = side.method.is(Method::token_topk);
    if (!topk) { side.paper.clear(); }
    if (side.multiple.is(1) && !topk && !side.method.is(Method::channels)) {
        side.multiple.clear();
    }
    if (which == Side::v) { side.centre.clear(); }
    return side;
}

bool says_nothing(const SidePatch& side) {
    std::string text;
    write_side(text, side);
    return text == "{}";
}

void write_entry_keys(ObjectWriter& object, std::string& out, const HeadEntry& entry) {
    object.word("at", at_text(entry.at));
    if (!says_nothing(entry.k)) { write_side(object.key("k"), entry.k); }
    if (!says_nothing(entry.v)) { write_side(object.key("v"), entry.v); }
    if (!entry.budget) { return; }
    object.key("budget");
    if (!entry.budget->per_head) {
        out += cat(entry.budget->tokens.front());
        return;
    }
    write_array(out, entry.budget->tokens, [&](std::uint32_t tokens) { out += cat(tokens); });
}

void write_layer(std::string& out, const LayerEntry& layer) {
    ObjectWriter object(out);
    write_entry_keys(object, out, layer);
    if (!layer.heads.empty()) {
        object.key("heads");
        write_array(out, layer.heads, [&](const HeadEntry& head) {
            ObjectWriter inner(out);
            write_entry_keys(inner, out, head);
            inner.close();
        });
    }
    object.close();
}

void write_window(std::string& out, const Window& window) {
    ObjectWriter object(out);
    object.number("recent", window.recent);
    object.number("sink", window.sink);
    object.number("step", window.step);
    object.close();
}

} // namespace

std::string canonical_json(const Document& document, bool with_names) {
    std::string out;
    ObjectWriter object(out);
    object.word("schema", "mustafar.recipe");
    object.number("version", 1);
    if (with_names && !document.name.empty()) { object.text("name", document.name); }
    if (with_names && !document.note.empty()) { object.text("note", document.note); }
    write_window(object.key("window"), document.window);
    object.key("precise") += document.precise ? "true" : "false";
    write_side(object.key("k"), without_idle_keys(document.k, Side::k));
    write_side(object.key("v"), without_idle_keys(document.v, Side::v));
    object.number("budget", document.budget);
    object.key("protect");
    write_array(out, document.protect, [&](std::int32_t layer) { out += cat(layer); });
    if (!document.layers.empty()) {
        object.key("layers");
        write_array(out, document.layers,
                    [&](const LayerEntry& layer) { write_layer(out, layer); });
    }
    object.close();
    return out;
}

} // namespace mustafar::recipes
