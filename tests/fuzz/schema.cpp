// SPDX-License-Identifier: Apache-2.0
#include "schema.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "openapi.hpp"
#include "support.hpp"

namespace mustafar::fuzz {

namespace {

using daemon::Json;

bool is_type(const Json& value, const std::string& type) {
    if (type == "object") { return value.is_object(); }
    if (type == "array") { return value.is_array(); }
    if (type == "string") { return value.is_string(); }
    if (type == "boolean") { return value.is_boolean(); }
    if (type == "null") { return value.is_null(); }
    if (type == "number") { return value.is_number(); }
    if (type == "integer") { // 2.0 is one
        return value.is_number_integer() ||
               (value.is_number() && std::trunc(value.get<double>()) == value.get<double>());
    }
    fail("a type that this reader does not know: " + type);
}

bool has_type(const Json& value, const Json& types) {
    if (types.is_string()) { return is_type(value, types); }
    return std::ranges::any_of(types, [&](const Json& one) { return is_type(value, one); });
}

std::size_t characters(const std::string& text) { // of UTF-8
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool matches(const std::string& text, const std::string& pattern) {
    if (pattern == "^[^\\u0000]*$") { return text.find('\0') == text.npos; }
    if (pattern != "^[a-z0-9][a-z0-9_-]{0,63}$") {
        fail("a pattern that this reader does not know: " + pattern);
    }
    const std::string_view first = "abcdefghijklmnopqrstuvwxyz0123456789";
    return !text.empty() && text.size() <= 64 && first.find(text.front()) != first.npos &&
           text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == text.npos;
}

bool counts(std::size_t count, const Json& schema, const char* low, const char* high) {
    return (!schema.contains(low) || count >= schema[low].get<std::size_t>()) &&
           (!schema.contains(high) || count <= schema[high].get<std::size_t>());
}

std::string invalid_object(const Json& schema, const Json& value) {
    if (!counts(value.size(), schema, "minProperties", "maxProperties")) { return "properties"; }
    for (const Json& name : schema.value("required", Json::array())) {
        if (!value.contains(name.get<std::string>())) { return "required " + name.dump(); }
    }
    const Json dependent = schema.value("dependentRequired", Json::object());
    for (const auto& [name, others] : dependent.items()) {
        for (const Json& other : others) {
            if (value.contains(name) && !value.contains(other.get<std::string>())) {
                return "dependentRequired " + other.dump();
            }
        }
    }
    const Json properties = schema.value("properties", Json::object());
    for (const auto& [name, member] : value.items()) {
        const bool known = properties.contains(name);
        const Json rest = schema.value("additionalProperties", Json(true));
        const std::string wrong = invalid(known ? properties[name] : rest, member);
        if (!wrong.empty()) { return "/" + name + ": " + wrong; }
        if (!schema.contains("propertyNames")) { continue; }
        if (!invalid(schema["propertyNames"], name).empty()) { return "name " + name; }
    }
    return "";
}

std::string invalid_array(const Json& schema, const Json& value) {
    if (!counts(value.size(), schema, "minItems", "maxItems")) { return "items"; }
    for (const Json& item : value) {
        const std::string wrong = invalid(schema.value("items", Json(true)), item);
        if (!wrong.empty()) { return "item: " + wrong; }
    }
    return "";
}

void check_keywords(const Json& schema) {
    constexpr std::string_view known[] = {"$ref",          "type",          "enum",
                                          "const",         "oneOf",         "minimum",
                                          "maximum",       "minLength",     "maxLength",
                                          "pattern",       "minItems",      "maxItems",
                                          "items",         "required",      "dependentRequired",
                                          "properties",    "propertyNames", "additionalProperties",
                                          "minProperties", "maxProperties", "description",
                                          "format",        "examples",      "title"};
    for (const auto& [name, value] : schema.items()) {
        if (std::ranges::find(known, name) == std::end(known)) {
            fail("a keyword that this reader does not know: " + name);
        }
    }
}

} // namespace

std::string invalid(const Json& schema, const Json& value) {
    if (schema.is_boolean()) { return schema.get<bool>() ? "" : "not allowed"; }
    check_keywords(schema);
    if (schema.contains("$ref")) {
        const auto name = schema["$ref"].get<std::string>();
        const std::string wrong =
            invalid(daemon::schemas().at(name.substr(name.rfind('/') + 1)), value);
        if (!wrong.empty()) { return wrong; }
    }
    if (schema.contains("type") && !has_type(value, schema["type"])) { return "type"; }
    if (schema.contains("const") && value != schema["const"]) { return "const"; }
    if (schema.contains("enum") &&
        std::ranges::find(schema["enum"], value) == schema["enum"].end()) {
        return "enum";
    }
    if (schema.contains("oneOf")) {
        const auto valid = [&](const Json& one) { return invalid(one, value).empty(); };
        if (std::ranges::count_if(schema["oneOf"], valid) != 1) { return "oneOf"; }
    }
    if (value.is_number()) {
        const auto number = value.get<double>();
        if (schema.contains("minimum") && number < schema["minimum"].get<double>()) {
            return "minimum";
        }
        if (schema.contains("maximum") && number > schema["maximum"].get<double>()) {
            return "maximum";
        }
    }
    if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        if (!counts(characters(text), schema, "minLength", "maxLength")) { return "length"; }
        if (schema.contains("pattern") && !matches(text, schema["pattern"])) { return "pattern"; }
    }
    if (value.is_object()) { return invalid_object(schema, value); }
    return value.is_array() ? invalid_array(schema, value) : "";
}

} // namespace mustafar::fuzz
