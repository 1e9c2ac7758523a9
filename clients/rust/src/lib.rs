// SPDX-License-Identifier: Apache-2.0
//! A client of `mustafard`, the HTTP service of libmustafar. [`Client`] is where to begin.
mod batches;
mod call;
mod client;
mod connection;
mod content;
pub mod data;
mod error;
mod jobs;
pub mod json;
#[rustfmt::skip]
mod operations;
#[rustfmt::skip]
mod problems;
mod rows;
pub mod safetensors;
#[rustfmt::skip]
mod schemas;
mod tensor;

pub use batches::{Pair, Part};
pub use call::{Call, Parameter, Reply};
pub use client::{Client, Retry, DEFAULT_URL};
pub use content::HeadQuery;
pub use error::{Error, Problem, Result};
pub use jobs::{Event, Events};
pub use operations::*;
pub use problems::ProblemType;
pub use rows::{AppendRowsQuery, AttendRowsQuery, Attended};
pub use schemas::*;
pub use tensor::Tensor;
