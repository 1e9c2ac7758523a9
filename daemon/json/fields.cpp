// SPDX-License-Identifier: Apache-2.0
#include "json/fields.hpp"

#include "routes.hpp"

namespace mustafar::daemon {

std::uint64_t integer_of(const Json& value, const std::string& pointer, std::uint64_t low,
                         std::uint64_t high) {
    const std::string range =
        "an integer from " + std::to_string(low) + " to " + std::to_string(high) + " is expected";
    if (!value.is_number_unsigned()) { // negative ones are not
        throw bad_body(pointer, value.is_number_integer() ? "range" : "type", range);
    }
    const std::uint64_t number = value.get<std::uint64_t>();
    if (number < low || number > high) { throw bad_body(pointer, "range", range); }
    return number;
}

JsonFields::JsonFields(const Json& object, std::string pointer)
    : object_(object), pointer_(std::move(pointer)) {
    if (!object_.is_object()) { throw bad_body(pointer_, "type", "an object is expected"); }
}

const Json* JsonFields::find(const char* name) {
    read_.insert(name);
    const auto at = object_.find(name);
    return at == object_.end() ? nullptr : &*at;
}

const Json& JsonFields::get(const char* name) {
    const Json* value = find(name);
    if (value == nullptr) { throw bad_body(pointer(name), "required", "is missing"); }
    return *value;
}

std::uint64_t JsonFields::integer(const char* name, std::uint64_t low, std::uint64_t high) {
    return integer_of(get(name), pointer(name), low, high);
}

std::uint64_t JsonFields::integer(const char* name, std::uint64_t low, std::uint64_t high,
                                  std::uint64_t otherwise) {
    const Json* value = find(name);
    return value == nullptr ? otherwise : integer_of(*value, pointer(name), low, high);
}

double JsonFields::number(const char* name, double low, double high, double otherwise) {
    const Json* value = find(name);
    if (value == nullptr) { return otherwise; }
    if (!value->is_number()) { throw bad_body(pointer(name), "type", "a number is expected"); }
    const double number = value->get<double>();
    if (!(number >= low && number <= high)) {
        throw bad_body(pointer(name), "range", "is out of range");
    }
    return number;
}

bool JsonFields::boolean(const char* name, bool otherwise) {
    const Json* value = find(name);
    if (value == nullptr) { return otherwise; }
    if (!value->is_boolean()) {
        throw bad_body(pointer(name), "type", "true or false is expected");
    }
    return value->get<bool>();
}

std::string JsonFields::text(const char* name, std::size_t bytes_max) {
    const Json& value = get(name);
    if (!value.is_string()) { throw bad_body(pointer(name), "type", "a text is expected"); }
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() > bytes_max) {
        throw bad_body(pointer(name), "range",
                       "is longer than " + std::to_string(bytes_max) + " bytes");
    }
    if (text.find('\0') != text.npos) { throw bad_body(pointer(name), "range", "holds a NUL"); }
    return text;
}

std::string JsonFields::text(const char* name, std::size_t bytes_max,
                             const std::string& otherwise) {
    return find(name) == nullptr ? otherwise : text(name, bytes_max);
}

std::string JsonFields::id(const char* name) {
    std::string value = text(name, 64);
    if (!is_id(value)) {
        throw bad_body(pointer(name), "pattern", "[a-z0-9][a-z0-9_-]{0,63} is expected");
    }
    return value;
}

const Json& JsonFields::any(const char* name) { return get(name); }

const Json& JsonFields::array(const char* name, std::size_t count_max, std::size_t count_min) {
    const Json& value = get(name);
    if (!value.is_array()) { throw bad_body(pointer(name), "type", "an array is expected"); }
    if (value.size() < count_min || value.size() > count_max) {
        throw bad_body(pointer(name), "range",
                       std::to_string(count_min) + " to " + std::to_string(count_max) +
                           " elements are expected");
    }
    return value;
}

JsonFields JsonFields::object(const char* name) { return JsonFields(get(name), pointer(name)); }

std::size_t JsonFields::word(const char* name, std::initializer_list<const char*> words,
                             std::optional<std::size_t> otherwise) {
    const Json* value = otherwise ? find(name) : &get(name);
    if (value == nullptr) { return *otherwise; }
    std::string list;
    std::size_t index = 0;
    for (const char* word : words) {
        if (value->is_string() && value->get_ref<const std::string&>() == word) { return index; }
        list += (index++ == 0 ? "" : ", ") + std::string(word);
    }
    throw bad_body(pointer(name), "enum", "one of " + list + " is expected");
}

void JsonFields::finish() const {
    for (const auto& [name, value] : object_.items()) {
        if (!read_.contains(name)) {
            throw bad_body(pointer(name.c_str()), "unknown", "is not a field");
        }
    }
}

} // namespace mustafar::daemon
