// SPDX-License-Identifier: Apache-2.0
#include "jobs/record.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <random>

namespace mustafar::daemon {

namespace {

constexpr std::array<const char*, job_states> state_texts = {"queued", "running",   "done",
                                                             "failed", "cancelled", "interrupted"};

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

} // namespace

const char* text_of(JobState state) { return state_texts[static_cast<std::size_t>(state)]; }

std::optional<JobState> job_state_of(std::string_view text) {
    const auto found = std::ranges::find(state_texts, text);
    if (found == state_texts.end()) { return std::nullopt; }
    return static_cast<JobState>(found - state_texts.begin());
}

Json write_job(const JobRecord& job) {
    Json error = nullptr;
    if (!job.error_type.empty()) {
        error = {{"type", job.error_type}, {"detail", job.error_detail}};
    }
    return {{"id", job.id},
            {"label", job.label},
            {"state", text_of(job.state)},
            {"version", job.version},
            {"progress", job.progress},
            {"what", job.what},
            {"items", job.items},
            {"items_done", job.items_done},
            {"rows", job.rows},
            {"created", job.created},
            {"started", text_or_null(job.started)},
            {"finished", text_or_null(job.finished)},
            {"error", std::move(error)},
            {"request", job.request},
            {"results", job.results},
            {"contended", job.contended}};
}

Json write_result(const ResultRecord& result) {
    return {
        {"id", result.id},           {"job", result.job},           {"label", result.label},
        {"created", result.created}, {"complete", result.complete}, {"contended", result.contended},
        {"threads", result.threads}, {"rows", result.rows},         {"recipes", result.recipes},
        {"traces", result.traces}};
}

std::optional<std::uint64_t> number_of(std::string_view id, std::string_view kind) {
    if (!id.starts_with(kind)) { return std::nullopt; }
    id.remove_prefix(kind.size());
    if (!id.starts_with('-')) { return std::nullopt; }
    id.remove_prefix(1);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
    if (error != std::errc() || end == id.data() + id.size() || *end != '-' || number > INT64_MAX) {
        return std::nullopt;
    }
    return number;
}

std::string nonce_text() {
    std::random_device random;
    std::array<char, 8> text{};
    std::snprintf(text.data(), text.size(), "%04x", static_cast<unsigned>(random()) & 0xffffU);
    return text.data();
}

} // namespace mustafar::daemon
