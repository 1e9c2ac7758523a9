// SPDX-License-Identifier: Apache-2.0
// Clients that follow a job: until it has changed, or by its events.
#pragma once

#include <memory>

#include "http/message.hpp"
#include "jobs/jobs.hpp"

namespace mustafar::daemon {

// Last-Event-ID: the number of the last event a client has seen; 0 without one. Throws Problem bad_parameter.
std::uint64_t last_event(const Request& request);

// The job, once its version is above `version` or it has ended, or else at the deadline.
std::unique_ptr<Later> wait_for_job(std::shared_ptr<Job> job, std::uint64_t version,
                                    Clock::time_point deadline);

// The events of the job behind `last`, to its end.
std::unique_ptr<EventStream> stream_job(const Jobs& jobs, std::shared_ptr<Job> job,
                                        StreamPlace place, std::uint64_t last);

} // namespace mustafar::daemon
