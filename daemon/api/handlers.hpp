// SPDX-License-Identifier: Apache-2.0
// Every handler of the table in routes.cpp, by the file that holds it.
#pragma once

#include "http/message.hpp"
#include "service.hpp"

namespace mustafar::daemon {

// system.cpp
Response get_healthz(Service&, Request&);
Response get_readyz(Service&, Request&);
Response get_version(Service&, Request&);
Response get_metrics(Service&, Request&);
Response get_openapi(Service&, Request&);
Response get_backends(Service&, Request&);
Response post_gc(Service&, Request&);
Response post_drain(Service&, Request&);

// dashboard.cpp
bool takes_coding(std::string_view accept_encoding, std::string_view coding);
Response get_dashboard(Service&, Request&);

// plans.cpp
Response post_plans(Service&, Request&);

// recipes.cpp
Response list_recipes(Service&, Request&);
Response explain_recipe(Service&, Request&);
Response get_recipe(Service&, Request&);
Response put_recipe(Service&, Request&);
Response delete_recipe(Service&, Request&);

// caches.cpp
Response list_caches(Service&, Request&);
Response put_cache(Service&, Request&);
Response get_cache(Service&, Request&);
Response delete_cache(Service&, Request&);
Response get_stats(Service&, Request&);

// keeping.cpp
Response patch_cache(Service&, Request&);

// pictures.cpp
Response get_density(Service&, Request&);
Response get_bitmap(Service&, Request&);
Response get_tensor(Service&, Request&);

// rows.cpp
Response append_rows(Service&, Request&);

// append_all.cpp
Response append_layers(Service&, Request&);
Response append_caches(Service&, Request&);

// attend.cpp
Response attend_rows(Service&, Request&);
Response attend_caches(Service&, Request&);
Response merge_parts(Service&, Request&);

// change.cpp
Response commit_cache(Service&, Request&);
Response prune_cache(Service&, Request&);
Response compress_cache(Service&, Request&);
Response evict_cache(Service&, Request&);
Response truncate_cache(Service&, Request&);
Response reset_cache(Service&, Request&);
Response fork_cache(Service&, Request&);

// snapshots.cpp
Response list_snapshots(Service&, Request&);
Response put_snapshot(Service&, Request&);
Response get_snapshot(Service&, Request&);
Response delete_snapshot(Service&, Request&);
Response restore_snapshot(Service&, Request&);
Response get_snapshot_content(Service&, Request&);
Response put_snapshot_content(Service&, Request&);

// traces.cpp
Response list_traces(Service&, Request&);
Response put_trace(Service&, Request&);
Response get_trace(Service&, Request&);
Response delete_trace(Service&, Request&);

// jobs.cpp
Response post_jobs(Service&, Request&);
Response list_jobs(Service&, Request&);
Response get_job(Service&, Request&);
Response follow_job(Service&, Request&);
Response cancel_job(Service&, Request&);
Response delete_job(Service&, Request&);

// results.cpp
Response list_results(Service&, Request&);
Response get_result(Service&, Request&);
Response delete_result(Service&, Request&);

// activity.cpp
Response get_activity(Service&, Request&);

} // namespace mustafar::daemon
