// SPDX-License-Identifier: Apache-2.0
//! One request and its reply, before they are bytes.
use std::fmt::Display;

use crate::data::Data;

/// A request, for what the methods of `Client` do not offer (`If-Match`, say): see `Client::call`.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// It may be repeated although it may have been done.
    pub safe: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn new(method: &str, path: impl Into<String>) -> Call {
        Call { method: method.into(), path: path.into(), ..Call::default() }
    }

    pub fn json(self, body: &impl Data) -> Call {
        self.body("application/json", body.to_json().text().into_bytes())
    }

    pub fn body(mut self, media: &str, body: Vec<u8>) -> Call {
        self.body = body;
        self.header("Content-Type", media)
    }

    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// `None` leaves the parameter out.
    pub fn query<T: Parameter>(mut self, name: &str, value: &T) -> Call {
        if let Some(text) = value.text() {
            self.query.push((name.into(), text));
        }
        self
    }

    pub fn safe(mut self) -> Call {
        self.safe = true;
        self
    }

    pub(crate) fn target(&self) -> String {
        let mut out = self.path.clone();
        for (i, (name, value)) in self.query.iter().enumerate() {
            out.push(if i == 0 { '?' } else { '&' });
            out.push_str(&segment(name));
            out.push('=');
            out.push_str(&segment(value));
        }
        out
    }
}

/// What a parameter of the query can be.
pub trait Parameter {
    fn text(&self) -> Option<String>;
}

macro_rules! parameter {
    ($($type:ty),*) => {$(impl Parameter for $type {
        fn text(&self) -> Option<String> {
            Some(self.to_string())
        }
    })*};
}
parameter!(i64, f64, bool, String, &str, usize);

impl<T: Parameter> Parameter for Option<T> {
    fn text(&self) -> Option<String> {
        self.as_ref().and_then(Parameter::text)
    }
}

/// Text for one segment of a path, or for the query.
pub(crate) fn segment(part: impl Display) -> String {
    let mut out = String::new();
    for byte in part.to_string().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Reply {
    /// The first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn media(&self) -> &str {
        self.header("content-type").unwrap_or("").split(';').next().unwrap_or("").trim()
    }
}
