// SPDX-License-Identifier: Apache-2.0
//! What requests and replies hold: the schemas of /openapi.json. Written by clients/generate.py; do not edit.
use std::collections::BTreeMap;

use crate::data::data;
use crate::json::Json;

data! {
    /// A schema of /openapi.json.
    pub struct Status {
        status : String,
    }

    /// A schema of /openapi.json.
    pub struct Ready {
        ready : bool,
        reasons : Vec<String>,
    }

    /// A schema of /openapi.json.
    pub struct Version {
        daemon : String,
        library : String,
        abi : i64,
        build : String,
        transport : String,
        snapshots : bool,
        /// Jobs and results outlive the process.
        history : bool,
        evict : String,
        threads : i64,
        attend_kernel : String,
        kernels : Vec<Kernel>,
        limits : BTreeMap<String, f64>,
    }

    /// A schema of /openapi.json.
    pub struct Kernel {
        op : String,
        backend : String,
        name : String,
        available : bool,
        reason ? String,
    }

    /// A schema of /openapi.json.
    pub struct Backends {
        attend_kernel : String,
        kernels : Vec<Kernel>,
    }

    /// A schema of /openapi.json.
    pub struct Collected {
        freed : Vec<String>,
        memory_used_bytes : i64,
    }

    /// A schema of /openapi.json.
    pub struct Draining {
        draining : bool,
    }

    /// layers x kv_heads x recipes x (lengths + 64) is at most 33554432.
    pub struct PlanRequest {
        geometry : Geometry,
        max_tokens ? i64,
        auto ? bool,
        recipes : Vec<Json>,
        lengths : Vec<i64>,
    }

    /// A schema of /openapi.json.
    pub struct Geometry {
        layers : i64,
        kv_heads : i64,
        q_heads ? i64,
        head_dim ? i64,
        head_dim_k ? i64,
        head_dim_v ? i64,
        dtype ? String,
    }

    /// A schema of /openapi.json.
    pub struct Plans {
        geometry : GeometryOut,
        plans : Vec<PlansPlan>,
    }

    /// A schema of /openapi.json.
    pub struct GeometryOut {
        layers : i64,
        q_heads : i64,
        kv_heads : i64,
        head_dim_k : i64,
        head_dim_v : i64,
        dtype : String,
    }

    /// A schema of /openapi.json.
    pub struct PlansPlan {
        recipe : Option<String>,
        digest : String,
        /// Tokens from which the cache takes less than the recipe dense; null: never.
        break_even_tokens : Option<i64>,
        rows : Vec<PlansPlanRow>,
    }

    /// A schema of /openapi.json.
    pub struct PlansPlanRow {
        tokens : i64,
        bytes : Bytes,
        /// The rows alone, as 16-bit values.
        dense_bytes : i64,
    }

    /// A schema of /openapi.json.
    pub struct Bytes {
        total : i64,
        values : i64,
        bitmaps : i64,
        meta : i64,
        slack : i64,
        window : i64,
        tables : i64,
        positions : i64,
        exact : bool,
    }

    /// A schema of /openapi.json.
    pub struct ExplainRequest {
        recipe : Json,
        geometry ? Geometry,
        /// With geometry; 0 unless given.
        layer ? i64,
        /// With geometry; 0 unless given.
        kv_head ? i64,
    }

    /// A schema of /openapi.json.
    pub struct Explained {
        name : String,
        digest : String,
        /// The recipe as JSON with every default: equal recipes have equal text.
        canonical : String,
        /// With geometry: one kv head of one layer.
        head ? ExplainedHead,
    }

    /// With geometry: one kv head of one layer.
    pub struct ExplainedHead {
        layer : i64,
        kv_head : i64,
        window : ExplainedHeadWindow,
        k : Side,
        v : Side,
    }

    /// A schema of /openapi.json.
    pub struct ExplainedHeadWindow {
        recent : i64,
        sink : i64,
        step : i64,
        /// Tokens the head may hold after eviction; 0: no limit.
        budget : i64,
    }

    /// A schema of /openapi.json.
    pub struct Side {
        head_dim : i64,
        /// Elements of a row; 0: the data decide.
        keep : i64,
        bits : i64,
        encoding : String,
        method : String,
        group : i64,
        centred : bool,
        row_bytes : i64,
        page_bytes : i64,
    }

    /// A schema of /openapi.json.
    pub struct Recipes {
        recipes : Vec<RecipesRecipe>,
    }

    /// A schema of /openapi.json.
    pub struct RecipesRecipe {
        name : String,
        builtin : bool,
        digest : String,
        sentence ? String,
    }

    /// A schema of /openapi.json.
    pub struct Recipe {
        name : String,
        builtin : bool,
        digest : String,
        recipe : Json,
    }

    /// A schema of /openapi.json.
    pub struct Caches {
        caches : Vec<Cache>,
        /// Value of after= for the next page.
        next : Option<String>,
    }

    /// A schema of /openapi.json.
    pub struct Cache {
        id : String,
        geometry : GeometryOut,
        recipe : CacheRecipe,
        max_tokens : i64,
        reserve_tokens : i64,
        auto : bool,
        created : String,
        revision : i64,
        /// Tokens of each layer, tentative ones included.
        lengths : Vec<i64>,
        bytes : i64,
        dense_bytes : i64,
        ttl_seconds : Option<f64>,
        /// Where nobody uses it until then; not part of the ETag.
        expires : Option<String>,
        labels : BTreeMap<String, String>,
        pinned : bool,
    }

    /// A schema of /openapi.json.
    pub struct CacheRecipe {
        name : String,
        digest : String,
    }

    /// A schema of /openapi.json.
    pub struct CacheRequest {
        geometry : Geometry,
        recipe : Json,
        max_tokens : i64,
        reserve_tokens ? i64,
        auto ? bool,
        ttl_seconds ? Option<f64>,
        labels ? BTreeMap<String, String>,
        pinned ? bool,
    }

    /// A schema of /openapi.json.
    pub struct Keeping {
        ttl_seconds ? Option<f64>,
        /// Merged (RFC 7396): null removes a label, or all of them.
        labels ? Option<BTreeMap<String, Option<String>>>,
        /// Freed neither by its TTL nor by --evict=lru.
        pinned ? bool,
    }

    /// A schema of /openapi.json.
    pub struct Density {
        cache : String,
        layers : Vec<DensityLayer>,
        next : Option<i64>,
    }

    /// A schema of /openapi.json.
    pub struct DensityLayer {
        layer : i64,
        heads : Vec<DensityLayerHead>,
    }

    /// A schema of /openapi.json.
    pub struct DensityLayerHead {
        kv_head : i64,
        k : f64,
        v : f64,
        rows : i64,
    }

    /// A schema of /openapi.json.
    pub struct Bitmap {
        cache : String,
        layer : i64,
        side : String,
        kv_head : i64,
        from : i64,
        to : i64,
        head_dim : i64,
        bin_tokens : i64,
        bin_channels : i64,
        rows : i64,
        columns : i64,
        /// rows x columns, row by row: the share of elements kept in each cell.
        density : Vec<f64>,
        /// First row of the dense window.
        window_from : i64,
        /// Dense rows before the packed ones.
        sink : i64,
        page_rows : i64,
        /// Of the first row of each row of cells.
        positions : Vec<i64>,
    }

    /// A schema of /openapi.json.
    pub struct AppendedAll {
        cache : String,
        revision : i64,
        /// Tokens of each layer.
        lengths : Vec<i64>,
        /// The same request had been done before.
        replayed : bool,
    }

    /// A schema of /openapi.json.
    pub struct AppendedBatch {
        caches : Vec<AppendedAll>,
    }

    /// A schema of /openapi.json.
    pub struct Stats {
        id : String,
        revision : i64,
        longest : i64,
        rows : i64,
        body_rows : i64,
        evicted_rows : i64,
        pages : i64,
        shared_pages : i64,
        bytes : Bytes,
        dense_bytes : i64,
        appended_tokens : i64,
        packed_rows : i64,
        attend_calls : i64,
        append_seconds : f64,
        pack_seconds : f64,
        attend_seconds : f64,
        attend_kernel : String,
        pack_kernel : String,
        layers ? Vec<StatsLayer>,
        next ? Option<i64>,
    }

    /// A schema of /openapi.json.
    pub struct StatsLayer {
        layer : i64,
        committed : i64,
        tentative : i64,
        bytes : Bytes,
        heads ? Vec<StatsLayerHead>,
    }

    /// A schema of /openapi.json.
    pub struct StatsLayerHead {
        kv_head : i64,
        rows : i64,
        body_rows : i64,
        bytes : Bytes,
    }

    /// A schema of /openapi.json.
    pub struct Appended {
        cache : String,
        layer : i64,
        length : i64,
        revision : i64,
        /// The same append had been done before.
        replayed : bool,
    }

    /// A schema of /openapi.json.
    pub struct LayerRequest {
        /// All of them without it.
        layer ? i64,
    }

    /// A schema of /openapi.json.
    pub struct PruneRequest {
        layer ? i64,
        kv_head ? i64,
        side : String,
        begin : i64,
        end : i64,
        method ? String,
        keep ? i64,
        of ? i64,
        threshold ? f64,
    }

    /// A schema of /openapi.json.
    pub struct EvictRequest {
        layer : i64,
        kv_head : i64,
        positions ? Vec<i64>,
        keep ? bool,
        scores ? Vec<f64>,
        budget ? i64,
    }

    /// A schema of /openapi.json.
    pub struct TruncateRequest {
        length : i64,
        keep_packed ? bool,
    }

    /// A schema of /openapi.json.
    pub struct ToRequest {
        to : String,
    }

    /// A schema of /openapi.json.
    pub struct Snapshots {
        snapshots : Vec<Snapshot>,
    }

    /// A schema of /openapi.json.
    pub struct Snapshot {
        name : String,
        bytes : i64,
        modified : String,
        /// As far as this process has looked.
        state : String,
    }

    /// A schema of /openapi.json.
    pub struct SnapshotRequest {
        cache : String,
        model_id ? String,
        overwrite ? bool,
    }

    /// A schema of /openapi.json.
    pub struct RestoreRequest {
        to : String,
        model_id ? String,
    }

    /// A schema of /openapi.json.
    pub struct Traces {
        traces : Vec<Trace>,
    }

    /// A schema of /openapi.json.
    pub struct Trace {
        name : String,
        bytes : i64,
        builtin : bool,
        modified : String,
        model : String,
        kind : String,
        tokens : i64,
        queries : i64,
        layers : i64,
        q_heads : i64,
        kv_heads : i64,
        head_dim : i64,
        dtype : String,
        /// As far as its header tells.
        state : String,
        /// Where it is corrupt.
        reason ? String,
    }

    /// Exactly one of traces and synthetic; the others mean what the options of mustafar-experiment mean.
    pub struct JobRequest {
        label ? String,
        traces ? Vec<String>,
        synthetic ? Synthetic,
        recipes : Vec<Json>,
        lengths ? Vec<i64>,
        /// One run each; 0: all there are.
        threads ? Vec<i64>,
        tokens ? i64,
        queries ? i64,
        repeats ? i64,
        seed ? i64,
        measure ? String,
        sides ? String,
        layers ? Vec<i64>,
        drop_mass ? f64,
        timing ? bool,
        budget_seconds ? f64,
    }

    /// Generated data: sizes and times of a shape, errors only as an order of magnitude.
    pub struct Synthetic {
        geometry : Geometry,
        tokens : i64,
        seed ? i64,
    }

    /// A schema of /openapi.json.
    pub struct Job {
        id : String,
        label : String,
        state : String,
        /// Grows with each event.
        version : i64,
        progress : f64,
        what : String,
        /// Runs, one for each number of threads.
        items : i64,
        items_done : i64,
        rows : i64,
        created : String,
        started : Option<String>,
        finished : Option<String>,
        error : Option<JobError>,
        request : JobRequest,
        results : Vec<String>,
        /// Other requests computed meanwhile: times are not to be trusted.
        contended : bool,
    }

    /// A schema of /openapi.json.
    pub struct JobError {
        r#type : String,
        detail : String,
    }

    /// A schema of /openapi.json.
    pub struct Jobs {
        jobs : Vec<Job>,
        /// Value of after= for the next page.
        next : Option<String>,
    }

    /// A schema of /openapi.json.
    pub struct Results {
        results : Vec<ResultSummary>,
        /// Value of after= for the next page.
        next : Option<String>,
    }

    /// A schema of /openapi.json.
    pub struct ResultSummary {
        id : String,
        job : String,
        label : String,
        created : String,
        complete : bool,
        contended : bool,
        threads : i64,
        rows : i64,
        recipes : Vec<String>,
        traces : Vec<String>,
    }

    /// What mustafar-experiment --json writes, and where it comes from.
    pub struct ExperimentResult {
        id : String,
        job : String,
        label : String,
        created : String,
        contended : bool,
        schema : String,
        version : i64,
        complete : bool,
        /// null: recorded data.
        synthetic : Option<Synthetic>,
        rows : Vec<Json>,
        command : Json,
        seconds : Json,
        seed : Json,
        machine : Json,
        library : Json,
        commit : Json,
        kernels : Json,
        settings : Json,
        traces : Json,
    }

    /// A schema of /openapi.json.
    pub struct Activity {
        requests_total : i64,
        rejected : BTreeMap<String, i64>,
        queue_depth : i64,
        in_flight : i64,
        connections : i64,
        /// Newest first.
        recent_errors : Vec<ActivityRecentError>,
    }

    /// A schema of /openapi.json.
    pub struct ActivityRecentError {
        time : String,
        id : String,
        method : String,
        route : String,
        status : i64,
        problem : String,
    }
}
