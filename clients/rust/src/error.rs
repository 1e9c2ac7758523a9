// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::io;

use crate::json::Json;
use crate::problems::{ProblemType, PREFIX};

pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The server refused, and says why.
    Problem(Box<Problem>),
    /// No complete answer came: connection refused, cut or timed out. Where `sent`, the server may have done the work.
    Lost { request: String, sent: bool, source: io::Error },
    /// The answer is not one of mustafard, but of another server or of a proxy in between.
    BadReply { status: u16, text: String },
    /// The arguments do not fit; nothing was sent.
    Argument(String),
}

/// RFC 9457.
#[derive(Debug, Clone)]
pub struct Problem {
    pub kind: ProblemType,
    /// What stands behind `urn:mustafar:problem:`.
    pub slug: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// What the log of the server calls the request, behind `urn:request:`.
    pub instance: String,
    /// The numbers and names behind the text: an object.
    pub members: Json,
}

impl Error {
    /// The type of a refusal.
    pub fn problem(&self) -> Option<ProblemType> {
        match self {
            Error::Problem(problem) => Some(problem.kind),
            _ => None,
        }
    }
}

impl Problem {
    pub(crate) fn read(status: u16, document: &Json) -> Problem {
        let text = |name| document.get(name).and_then(Json::as_str).unwrap_or("").to_string();
        let slug = text("type").trim_start_matches(PREFIX).to_string();
        let known = ProblemType::ALL.iter().find(|(name, _)| *name == slug);
        let common = ["type", "title", "status", "detail", "instance"];
        let mut members = Vec::new();
        if let Json::Object(all) = document {
            members.extend(all.iter().filter(|(name, _)| !common.contains(&name.as_str())).cloned());
        }
        Problem {
            kind: known.map_or(ProblemType::Unknown, |(_, kind)| *kind),
            slug,
            title: text("title"),
            status,
            detail: text("detail"),
            instance: text("instance"),
            members: Json::Object(members),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Problem(problem) => write!(f, "{}: {}", problem.title, problem.detail),
            Error::Lost { request, source, .. } => write!(f, "{request}: no answer: {source}"),
            Error::BadReply { status, text } => write!(f, "status {status}: {text}"),
            Error::Argument(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Lost { source, .. } => Some(source),
            _ => None,
        }
    }
}
