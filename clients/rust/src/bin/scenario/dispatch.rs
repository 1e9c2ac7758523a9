// SPDX-License-Identifier: Apache-2.0
// Calls a plain operation by its name, through its types. Written by clients/generate.py; do not edit.
use mustafar_client::{data::Data, json::Json, *};

use crate::arguments::Arguments;

pub fn dispatch(client: &Client, name: &str, step: &Arguments) -> Option<Result<Json>> {
    Some(match name {
        "get_healthz" => client.get_healthz().map(|it| it.to_json()),
        "get_readyz" => client.get_readyz().map(|it| it.to_json()),
        "get_metrics" => client.get_metrics().map(|it| it.to_json()),
        "get_version" => client.get_version().map(|it| it.to_json()),
        "get_openapi" => client.get_openapi().map(|it| it.to_json()),
        "post_plans" => client.post_plans(&step.body()).map(|it| it.to_json()),
        "list_recipes" => client.list_recipes().map(|it| it.to_json()),
        "get_recipe" => client.get_recipe(step.place(0)).map(|it| it.to_json()),
        "put_recipe" => client.put_recipe(step.place(0), &step.body()).map(|it| it.to_json()),
        "delete_recipe" => client.delete_recipe(step.place(0)).map(|it| it.to_json()),
        "list_caches" => client.list_caches(&ListCachesQuery { limit: step.query("limit"), after: step.query("after") }).map(|it| it.to_json()),
        "get_cache" => client.get_cache(step.place(0)).map(|it| it.to_json()),
        "put_cache" => client.put_cache(step.place(0), &step.body()).map(|it| it.to_json()),
        "delete_cache" => client.delete_cache(step.place(0)).map(|it| it.to_json()),
        "get_stats" => client.get_stats(step.place(0), &GetStatsQuery { per: step.query("per") }).map(|it| it.to_json()),
        "commit_cache" => client.commit_cache(step.place(0), &step.body()).map(|it| it.to_json()),
        "prune_cache" => client.prune_cache(step.place(0), &step.body()).map(|it| it.to_json()),
        "compress_cache" => client.compress_cache(step.place(0), &step.body()).map(|it| it.to_json()),
        "evict_cache" => client.evict_cache(step.place(0), &step.body()).map(|it| it.to_json()),
        "truncate_cache" => client.truncate_cache(step.place(0), &step.body()).map(|it| it.to_json()),
        "reset_cache" => client.reset_cache(step.place(0)).map(|it| it.to_json()),
        "fork_cache" => client.fork_cache(step.place(0), &step.body()).map(|it| it.to_json()),
        "list_snapshots" => client.list_snapshots().map(|it| it.to_json()),
        "get_snapshot" => client.get_snapshot(step.place(0), &GetSnapshotQuery { verify: step.query("verify") }).map(|it| it.to_json()),
        "put_snapshot" => client.put_snapshot(step.place(0), &step.body()).map(|it| it.to_json()),
        "delete_snapshot" => client.delete_snapshot(step.place(0)).map(|it| it.to_json()),
        "restore_snapshot" => client.restore_snapshot(step.place(0), &step.body()).map(|it| it.to_json()),
        _ => return None,
    })
}
