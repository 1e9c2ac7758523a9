// SPDX-License-Identifier: Apache-2.0
// Who follows a job and comes back: the first bytes say how many events there were, which of them there was no memory
// for, whether the job has ended and how much a client takes at a time; the rest is its Last-Event-ID. Whatever it
// sends, it gets what is behind that event, each once and in order, or a reset that stands for what is gone; and cut
// anywhere and resumed from there it gets the same.
#include <charconv>
#include <new>

#include "jobs/waiting.hpp"
#include "support.hpp"

using namespace mustafar::daemon;

namespace {

void check(bool good, const char* what) {
    if (!good) { mustafar::fuzz::fail(what); }
}

struct Frame {
    std::uint64_t id = 0;
    std::string event;
    std::string text;
    bool operator==(const Frame&) const = default;
};

// What a client makes of the bytes: three lines and an empty one each.
std::vector<Frame> frames_of(std::string_view text) {
    std::vector<Frame> frames;
    while (!text.empty()) {
        const std::size_t end = text.find("\n\n");
        check(end != text.npos, "a frame is whole");
        const std::string_view frame = text.substr(0, end);
        text.remove_prefix(end + 2);
        const std::size_t event = frame.find("\nevent: ");
        const std::size_t body = frame.find("\ndata: ");
        check(frame.starts_with("id: ") && event < body && body != frame.npos, "its three lines");
        check(frame.find('\n', body + 1) == frame.npos, "data are one line");
        Frame one{0, std::string(frame.substr(event + 8, body - event - 8)), std::string(frame)};
        const auto [at, error] = std::from_chars(frame.data() + 4, frame.data() + event, one.id);
        check(error == std::errc() && at == frame.data() + event, "its id is a number");
        frames.push_back(std::move(one));
    }
    return frames;
}

// All that a client gets behind `last`, `bytes` at a time.
std::vector<Frame> follow(const Job& job, std::uint64_t last, std::size_t bytes, bool* ended) {
    std::string all;
    for (;;) {
        std::string out;
        *ended = job.events(&last, out, bytes);
        if (out.empty() || *ended) {
            all += out;
            return frames_of(all);
        }
        all += out;
    }
}

struct Story {
    std::uint64_t events = 0; // behind the first
    std::uint64_t lost = 0;   // each so many-th there is no memory for; 0: none
    bool ends = false;
    bool end_lost = false;
    std::size_t bytes = 1;
};

// The job, and the first version whose event is still there: by the rule, not by its code.
std::unique_ptr<Job> tell(const Story& story, const Wake& wake, std::uint64_t* kept_from) {
    JobRecord record;
    record.id = "job-1-abcd";
    record.version = 1;
    record.state = JobState::running;
    auto job = std::make_unique<Job>(record, JobSpec{}, wake);
    *kept_from = 1;
    std::uint64_t version = 1;
    const auto happened = [&](bool lost) {
        ++version;
        if (lost) { *kept_from = version + 1; }
        if (version + 1 - *kept_from > events_kept) { *kept_from = version + 1 - events_kept; }
    };
    for (std::uint64_t i = 1; i <= story.events; ++i) {
        const bool lost = story.lost != 0 && i % story.lost == 0;
        job->tell(
            "row", [](JobRecord& it) { ++it.rows; },
            [&](const JobRecord& it) -> Json {
                if (lost) { throw std::bad_alloc(); }
                return {{"rows", it.rows}};
            });
        happened(lost);
    }
    if (story.ends) {
        JobRecord ended = job->record();
        ended.state = JobState::done;
        ++ended.version;
        job->end(std::move(ended));
        happened(false);
    }
    check(job->version() == version, "an event is a version");
    return job;
}

void check_frames(const std::vector<Frame>& frames, const Story& story, std::uint64_t version,
                  std::uint64_t kept_from, std::uint64_t last) {
    const bool reset = last + 1 < kept_from || last > version || last == UINT64_MAX;
    std::uint64_t next = last + 1;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const Frame& frame = frames[i];
        if (i == 0 && reset) {
            check(frame.event == "reset", "what is gone is told");
            check(frame.id == (story.ends ? version - 1 : version), "it stands for all before");
            next = frame.id + 1;
            continue;
        }
        check(frame.id == next++, "each once, in order");
        const bool end = story.ends && frame.id == version;
        check(frame.event == (end ? "done" : frame.id == 1 ? "progress" : "row"), "its event");
    }
    check(!reset || !frames.empty(), "a reset is told");
    check(next == version + 1, "up to the newest");
}

void check_polls(const std::shared_ptr<Job>& job, const Story& story, std::uint64_t known) {
    const auto later = wait_for_job(job, known, Clock::now());
    check(later->ready() == (story.ends || job->version() > known), "ready when there is news");
    const Json told = Json::parse(later->response().text);
    check(told.at("version") == job->version(), "what is known now");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 4) { return 0; }
    Story story;
    story.events = data[0] * std::uint64_t{2};
    story.lost = data[1];
    story.ends = (data[2] & 1) != 0;
    story.bytes = data[3] * std::size_t{16} + 1;
    const std::string id(reinterpret_cast<const char*>(data) + 4, size - 4);

    Request request;
    request.fields.push_back({"last-event-id", id});
    std::uint64_t last = 0;
    const bool digits = id.find_first_not_of("0123456789") == id.npos;
    try {
        last = last_event(request);
        check(digits, "only numbers are ids");
        const std::size_t zeros = std::min(id.find_first_not_of('0'), id.size());
        check(id.substr(zeros) == (last == 0 ? "" : std::to_string(last)), "the number it says");
    } catch (const Problem& problem) {
        check(problem.type() == ProblemType::bad_parameter, "one kind of refusal");
        check(!digits || id.size() > 19, "numbers of 64 bits are taken");
        return 0;
    }

    static const Wake wake;
    std::uint64_t kept_from = 0;
    const std::shared_ptr<Job> job = tell(story, wake, &kept_from);
    const std::uint64_t version = job->version();
    bool ended = false;
    const auto frames = follow(*job, last, story.bytes, &ended);
    check(ended == story.ends, "the end is the end");
    check_frames(frames, story, version, kept_from, last);
    check_polls(job, story, last);
    for (std::size_t i = 0; i < frames.size(); i += 1 + frames.size() / 8) { // cut here
        const auto rest = follow(*job, frames[i].id, story.bytes / 2 + 1, &ended);
        const bool gone = frames[i].id + 1 < kept_from;
        check(gone || std::equal(rest.begin(), rest.end(),
                                 frames.begin() + 1 + static_cast<std::ptrdiff_t>(i), frames.end()),
              "resumed as uncut");
    }
    return 0;
}
