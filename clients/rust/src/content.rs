// SPDX-License-Identifier: Apache-2.0
//! What caches hold, and files.
use crate::call::{segment, Call};
use crate::client::{read, Client};
use crate::error::{Error, Result};
use crate::rows::{shape_of, OCTETS};
use crate::schemas::{Snapshot, Trace};
use crate::tensor::Tensor;

/// One head of a layer, and rows of it; `None`: head 0, all rows.
#[derive(Debug, Clone, Default)]
pub struct HeadQuery {
    /// k or v.
    pub side: String,
    pub kv_head: Option<i64>,
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Of `get_tensor`: f16, bf16 or f32, which is the default.
    pub out_dtype: Option<String>,
}

impl HeadQuery {
    fn call(&self, id: &str, layer: i64, what: &str) -> Call {
        Call::new("GET", format!("/v1/caches/{}/layers/{}/{what}", segment(id), layer))
            .query("side", &self.side)
            .query("kv_head", &self.kv_head)
            .query("from", &self.from)
            .query("to", &self.to)
            .query("out_dtype", &self.out_dtype)
            .safe()
    }
}

impl Client {
    /// Rows `[to - from, head_dim]` of one head as attend sees them: `GET /v1/caches/{id}/layers/{layer}/tensor`.
    pub fn get_tensor(&self, id: &str, layer: i64, query: &HeadQuery) -> Result<Tensor> {
        let reply = self.call(&query.call(id, layer, "tensor"))?;
        let tensor = Tensor {
            dtype: reply.header("mustafar-dtype").unwrap_or("").to_string(),
            shape: shape_of(&reply)?,
            data: reply.body,
        };
        if !tensor.data.is_empty() {
            tensor
                .check("the reply", 2)
                .map_err(|error| Error::BadReply { status: reply.status, text: error.to_string() })?;
        }
        Ok(tensor)
    }

    /// Survivors of one head, head_dim / 8 bytes a row, lowest channel in the lowest bit:
    /// `GET /v1/caches/{id}/layers/{layer}/bitmap` as octets.
    pub fn get_bitmap_rows(&self, id: &str, layer: i64, query: &HeadQuery) -> Result<Vec<u8>> {
        let call = query.call(id, layer, "bitmap").header("Accept", OCTETS);
        self.call(&call).map(|reply| reply.body)
    }

    /// The file of a snapshot: `GET /v1/snapshots/{name}/content`.
    pub fn get_snapshot_content(&self, name: &str) -> Result<Vec<u8>> {
        let call = Call::new("GET", format!("/v1/snapshots/{}/content", segment(name))).safe();
        self.call(&call).map(|reply| reply.body)
    }

    /// Uploads a snapshot; the server loads it aside before it keeps it: `PUT /v1/snapshots/{name}/content`.
    pub fn put_snapshot_content(
        &self,
        name: &str,
        content: Vec<u8>,
        overwrite: Option<bool>,
    ) -> Result<Snapshot> {
        let call = Call::new("PUT", format!("/v1/snapshots/{}/content", segment(name)))
            .query("overwrite", &overwrite)
            .body(OCTETS, content)
            .safe();
        read(&self.call(&call)?)
    }

    /// Keeps a trace, a safetensors file of recorded keys, values and queries: `PUT /v1/traces/{name}`.
    pub fn put_trace(&self, name: &str, content: Vec<u8>) -> Result<Trace> {
        let call = Call::new("PUT", format!("/v1/traces/{}", segment(name))).body(OCTETS, content).safe();
        read(&self.call(&call)?)
    }

    /// The rows of a result as a table: `GET /v1/results/{id}`, text/csv.
    pub fn get_result_csv(&self, id: &str) -> Result<String> {
        self.text(
            Call::new("GET", format!("/v1/results/{}", segment(id))).header("Accept", "text/csv").safe(),
        )
    }
}
