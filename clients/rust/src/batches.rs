// SPDX-License-Identifier: Apache-2.0
//! Several tensors in one request.
use std::collections::BTreeMap;

use crate::call::{segment, Call};
use crate::client::{read, Client};
use crate::error::{Error, Result};
use crate::rows::{AppendRowsQuery, AttendRowsQuery, Attended};
use crate::safetensors::{pack, unpack, MEDIA};
use crate::schemas::{AppendedAll, AppendedBatch};
use crate::tensor::Tensor;

/// k and v of one layer, `[tokens, kv_heads, head_dim]`.
pub type Pair = (Tensor, Tensor);

/// What [`Client::append_caches`] adds to one cache.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub layers: Vec<Pair>,
    /// The length before.
    pub expect: Option<i64>,
}

impl Client {
    /// Appends to every layer of a cache, or to none: `POST /v1/caches/{id}/append`.
    pub fn append_layers(&self, id: &str, layers: &[Pair], query: &AppendRowsQuery) -> Result<AppendedAll> {
        let mut call = Call::new("POST", format!("/v1/caches/{}/append", segment(id)))
            .query("expect", &query.expect)
            .query("tentative", &query.tentative)
            .body(MEDIA, pack(&named("", layers), &[])?);
        call.safe = query.expect.is_some();
        read(&self.call(&call)?)
    }

    /// Appends to several caches, all or none of it: `POST /v1/append`.
    pub fn append_caches(
        &self,
        parts: &BTreeMap<String, Part>,
        tentative: Option<bool>,
    ) -> Result<AppendedBatch> {
        let mut tensors = Vec::new();
        let mut expects = Vec::new();
        for (id, part) in parts {
            tensors.extend(named(&format!("{id}."), &part.layers));
            expects.extend(part.expect.map(|expect| (format!("expect.{id}"), expect.to_string())));
        }
        let mut call = Call::new("POST", "/v1/append")
            .query("tentative", &tentative)
            .body(MEDIA, pack(&tensors, &expects)?);
        call.safe = expects.len() == parts.len();
        read(&self.call(&call)?)
    }

    /// Attends on one layer of several caches; queries of one shape and type: `POST /v1/attend`.
    pub fn attend_caches(
        &self,
        layer: i64,
        queries: &BTreeMap<String, Tensor>,
        query: &AttendRowsQuery,
    ) -> Result<BTreeMap<String, Attended>> {
        let tensors: Vec<_> = queries.iter().map(|(id, q)| (format!("{id}.q"), q)).collect();
        let call = query.add_to(Call::new("POST", "/v1/attend").query("layer", &layer));
        let mut found = self.tensors(call.body(MEDIA, pack(&tensors, &[])?))?;
        let mut attended = BTreeMap::new();
        for id in queries.keys() {
            let out = take(&mut found, &format!("{id}.out"))?;
            let lse = found.remove(&format!("{id}.lse"));
            attended.insert(id.clone(), Attended { out, lse, weights: None, dropped: None });
        }
        Ok(attended)
    }

    /// Joins what was attended on two disjoint sets of rows: `POST /v1/merge`.
    pub fn merge_parts(
        &self,
        out_a: &Tensor,
        lse_a: &Tensor,
        out_b: &Tensor,
        lse_b: &Tensor,
    ) -> Result<Attended> {
        let tensors = [("out_a", out_a), ("lse_a", lse_a), ("out_b", out_b), ("lse_b", lse_b)];
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.to_string(), *tensor)).collect();
        let mut found = self.tensors(Call::new("POST", "/v1/merge").body(MEDIA, pack(&tensors, &[])?))?;
        let (out, lse) = (take(&mut found, "out")?, take(&mut found, "lse")?);
        Ok(Attended { out, lse: Some(lse), weights: None, dropped: None })
    }

    fn tensors(&self, call: Call) -> Result<BTreeMap<String, Tensor>> {
        let reply = self.call(&call.safe())?;
        Ok(unpack(&reply.body)?.into_iter().collect())
    }
}

fn take(found: &mut BTreeMap<String, Tensor>, name: &str) -> Result<Tensor> {
    found
        .remove(name)
        .ok_or_else(|| Error::BadReply { status: 200, text: format!("the reply lacks the tensor {name}") })
}

fn named<'a>(prefix: &str, layers: &'a [Pair]) -> Vec<(String, &'a Tensor)> {
    let mut tensors = Vec::new();
    for (layer, (k, v)) in layers.iter().enumerate() {
        tensors.push((format!("{prefix}layers.{layer}.k"), k));
        tensors.push((format!("{prefix}layers.{layer}.v"), v));
    }
    tensors
}
