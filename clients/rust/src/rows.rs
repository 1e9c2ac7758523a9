// SPDX-License-Identifier: Apache-2.0
//! Tensors in and out: append and attend.
use crate::call::{segment, Call, Reply};
use crate::client::{read, Client};
use crate::error::{Error, Result};
use crate::schemas::Appended;
use crate::tensor::Tensor;

pub(crate) const OCTETS: &str = "application/octet-stream";

/// Parameters of [`Client::append_rows`].
#[derive(Debug, Clone, Default)]
pub struct AppendRowsQuery {
    /// The length of the layer before. With it a lost answer is asked for again and tokens are stored once; without it
    /// (the server may refuse that) the request is never repeated.
    pub expect: Option<i64>,
    /// Packed only after commit.
    pub tentative: Option<bool>,
}

/// Parameters of [`Client::attend_rows`]; `None` is the default of the server.
#[derive(Debug, Clone, Default)]
pub struct AttendRowsQuery {
    /// f16, bf16 or f32; that of q unless given.
    pub out_dtype: Option<String>,
    /// The log-sum-exp too.
    pub lse: Option<bool>,
    pub scale: Option<f64>,
    pub softcap: Option<f64>,
    pub sliding_window: Option<i64>,
    pub drop_mass: Option<f64>,
    /// Position of query 0; without it the queries are the last tokens.
    pub q_position: Option<i64>,
    /// Learned ones, of each query head; not of `attend_caches`.
    pub sinks: Option<Vec<f32>>,
    /// Columns of the weights of each row, which are wanted too; not of `attend_caches`.
    pub weights: Option<i64>,
    /// What `drop_mass` left out, at most; not of `attend_caches`.
    pub dropped: Option<bool>,
}

impl AttendRowsQuery {
    pub(crate) fn add_to(&self, call: Call) -> Call {
        call.query("out_dtype", &self.out_dtype)
            .query("lse", &self.lse)
            .query("scale", &self.scale)
            .query("softcap", &self.softcap)
            .query("sliding_window", &self.sliding_window)
            .query("drop_mass", &self.drop_mass)
            .query("q_position", &self.q_position)
            .query("sinks", &self.sinks.as_ref().map(|_| true))
            .query("weights", &self.weights)
            .query("dropped", &self.dropped)
    }
}

/// What [`Client::attend_rows`] returns.
#[derive(Debug, Clone)]
pub struct Attended {
    /// `[q_tokens, q_heads, head_dim]`.
    pub out: Tensor,
    /// f32 `[q_tokens, q_heads]`, where it was asked for.
    pub lse: Option<Tensor>,
    /// f32 `[q_tokens, q_heads, N]`, where they were asked for.
    pub weights: Option<Tensor>,
    /// f32 `[q_tokens, q_heads]`, where it was asked for.
    pub dropped: Option<Tensor>,
}

impl Client {
    /// Appends k and v, `[tokens, kv_heads, head_dim]`, to one layer:
    /// `POST /v1/caches/{id}/layers/{layer}/append`.
    pub fn append_rows(
        &self,
        id: &str,
        layer: i64,
        k: &Tensor,
        v: &Tensor,
        query: &AppendRowsQuery,
    ) -> Result<Appended> {
        k.check("k", 3)?;
        v.check("v", 3)?;
        if k.dtype != v.dtype || k.shape[..2] != v.shape[..2] {
            let text =
                format!("k is {} {:?}, v is {} {:?}: they do not match", k.dtype, k.shape, v.dtype, v.shape);
            return Err(Error::Argument(text));
        }
        let path = format!("/v1/caches/{}/layers/{}/append", segment(id), layer);
        let mut call = Call::new("POST", path)
            .query("dtype", &k.dtype)
            .query("tokens", &k.shape[0])
            .query("expect", &query.expect)
            .query("tentative", &query.tentative)
            .body(OCTETS, [&k.data[..], &v.data[..]].concat());
        call.safe = query.expect.is_some();
        read(&self.call(&call)?)
    }

    /// Attends q, `[q_tokens, q_heads, head_dim]`, on one layer: `POST /v1/caches/{id}/layers/{layer}/attend`.
    pub fn attend_rows(&self, id: &str, layer: i64, q: &Tensor, query: &AttendRowsQuery) -> Result<Attended> {
        q.check("q", 3)?;
        let path = format!("/v1/caches/{}/layers/{}/attend", segment(id), layer);
        let call = Call::new("POST", path)
            .query("dtype", &q.dtype)
            .query("q_tokens", &q.shape[0])
            .body(
                OCTETS,
                [&q.data[..], &Tensor::f32(query.sinks.as_deref().unwrap_or(&[]), &[]).data].concat(),
            )
            .safe();
        attended(self.call(&query.add_to(call))?, query)
    }
}

/// Takes the blocks of a reply apart: out, then those of f32 that were asked for.
fn attended(reply: Reply, query: &AttendRowsQuery) -> Result<Attended> {
    let bad = |text: &str| Error::BadReply { status: reply.status, text: text.to_string() };
    let shape = shape_of(&reply)?;
    if shape.len() != 3 {
        return Err(bad(&format!("a shape of {shape:?}")));
    }
    let one = |wanted: Option<bool>| usize::from(wanted == Some(true));
    let weights = usize::try_from(query.weights.unwrap_or(0)).unwrap_or(0);
    let (lse, dropped) = (one(query.lse), one(query.dropped));
    let bytes = 4 * shape[0] * shape[1];
    let rest = bytes.saturating_mul(lse.saturating_add(weights).saturating_add(dropped));
    let mut at = reply.body.len().checked_sub(rest).ok_or_else(|| bad("less than was asked for"))?;
    let dtype = reply.header("mustafar-dtype").unwrap_or("").to_string();
    let out = Tensor { dtype, shape: shape.clone(), data: reply.body[..at].to_vec() };
    out.check("out", 3).map_err(|error| bad(&error.to_string()))?;
    let mut block = |columns: usize, shape: &[usize]| {
        let data = reply.body[at..at + bytes * columns].to_vec();
        at += data.len();
        (columns > 0).then(|| Tensor { dtype: "f32".into(), shape: shape.to_vec(), data })
    };
    let lse = block(lse, &shape[..2]);
    let weights = block(weights, &[shape[0], shape[1], weights]);
    let dropped = block(dropped, &shape[..2]);
    Ok(Attended { out, lse, weights, dropped })
}

/// The sizes that a reply says of itself: at least two.
pub(crate) fn shape_of(reply: &Reply) -> Result<Vec<usize>> {
    let text = reply.header("mustafar-shape").unwrap_or("");
    let sizes: Option<Vec<usize>> =
        text.split(',').map(|one| one.parse().ok().filter(|size| *size < 1 << 24)).collect();
    sizes
        .filter(|sizes| sizes.len() >= 2)
        .ok_or_else(|| Error::BadReply { status: reply.status, text: format!("Mustafar-Shape is {text:?}") })
}
