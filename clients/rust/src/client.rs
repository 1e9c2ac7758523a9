// SPDX-License-Identifier: Apache-2.0
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::call::{Call, Reply};
use crate::connection::{Address, Connection, Head};
use crate::data::Data;
use crate::error::{Error, Problem, Result};
use crate::json::Json;

/// Where `mustafard` listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8642";

const IDLE: Duration = Duration::from_secs(20); // the server closes an idle connection after 30
const PROBLEM: &str = "application/problem+json";

/// How often a request is repeated, and how long to wait in between.
///
/// A request that never left, and one answered with 503 (nothing was done then), is always repeated; one whose answer
/// was lost only if to do it twice is to do it once.
#[derive(Debug, Clone)]
pub struct Retry {
    /// 1: never.
    pub attempts: u32,
    /// Doubled each time, and spread by half.
    pub first_wait: Duration,
    /// A server that asks for more (`Retry-After`) gets no further attempt.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 4, first_wait: Duration::from_millis(100), longest_wait: Duration::from_secs(10) }
    }
}

/// A `mustafard`. May be shared by threads; each request has a connection of its own.
///
/// Methods bear the `operationId` of `/openapi.json`.
pub struct Client {
    address: Address,
    base: String,
    token: Option<String>,
    timeout: Duration,
    retry: Retry,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

impl Client {
    /// `http://HOST:PORT`; nothing is sent yet.
    pub fn new(url: &str) -> Result<Client> {
        let wrong = || Error::Argument(format!("{url:?} is no address; http://HOST:PORT is expected"));
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if host.is_empty() || host.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        let port = host.rsplit(':').next().map_or(false, |text| text.parse::<u16>().is_ok());
        let host = if port && host.contains(':') { host.to_string() } else { format!("{host}:80") };
        Ok(Client::at(Address::Tcp(host), base.trim_end_matches('/')))
    }

    /// The server on a UNIX socket.
    #[cfg(unix)]
    pub fn unix(path: impl Into<std::path::PathBuf>) -> Client {
        Client::at(Address::Unix(path.into()), "")
    }

    fn at(address: Address, base: &str) -> Client {
        Client {
            address,
            base: base.to_string(),
            token: None,
            timeout: Duration::from_secs(60),
            retry: Retry::default(),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// The token that is sent.
    pub fn with_token(mut self, token: &str) -> Client {
        self.token = Some(token.to_string());
        self
    }

    /// Of one call with all its attempts; 60 s unless given.
    pub fn with_timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    pub fn with_retry(mut self, retry: Retry) -> Client {
        self.retry = retry;
        self
    }

    pub(crate) fn retry(&self) -> &Retry {
        &self.retry
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request, again where that is safe. Refusals are errors.
    pub fn call(&self, call: &Call) -> Result<Reply> {
        let limit = Instant::now() + self.timeout;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut asked = Duration::ZERO;
            let (failure, again) = match self.once(call, limit) {
                Ok(reply) if is_answer(&reply) => return Ok(reply),
                Ok(reply) => {
                    let after = reply.header("retry-after").and_then(|text| text.parse().ok());
                    asked = Duration::from_secs(after.unwrap_or(0));
                    (problem_of(&reply), reply.status == 503)
                }
                Err(error) => {
                    let again = call.safe || matches!(error, Error::Lost { sent: false, .. });
                    (error, again)
                }
            };
            let wait = self.retry.wait(attempt, asked);
            let late = asked > self.retry.longest_wait || Instant::now() + wait >= limit;
            if !again || late || attempt >= self.retry.attempts {
                return Err(failure);
            }
            sleep(wait);
        }
    }

    /// Sends a request and reads the head of the answer, once.
    pub(crate) fn open(&self, call: &Call, limit: Instant) -> Result<(Connection, Head)> {
        let lost = |sent, source: io::Error| Error::Lost {
            request: format!("{} {}", call.method, call.path),
            sent,
            source,
        };
        let target = format!("{}{}", self.base, call.target());
        let mut texts =
            call.headers.iter().flat_map(|(name, value)| [name, value]).chain(&self.token).chain([&target]);
        if texts.any(|text| text.contains(char::is_control)) || target.contains(' ') {
            return Err(Error::Argument("a line break or blank where HTTP has none".to_string()));
        }
        let mut connection = match self.take() {
            Some(connection) => connection,
            None => self.address.connect(limit).map_err(|error| lost(false, error))?,
        };
        connection.set_limit(limit);
        let head = connection.ask(self.address.host(), &target, self.token.as_deref(), call);
        head.map(|head| (connection, head)).map_err(|error| lost(true, error))
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while let Some((since, mut connection)) = idle.pop() {
            if since.elapsed() < IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    fn once(&self, call: &Call, limit: Instant) -> Result<Reply> {
        let (mut connection, mut head) = self.open(call, limit)?;
        head.reply.body = connection.body(&head).map_err(|source| Error::Lost {
            request: format!("{} {}", call.method, call.path),
            sent: true,
            source,
        })?;
        if head.keep {
            let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            idle.push((Instant::now(), connection));
        }
        Ok(head.reply)
    }

    // ---- for generated methods ----------------------------------------------------------------------

    pub(crate) fn data<T: Data>(&self, call: Call) -> Result<T> {
        read(&self.call(&call)?)
    }

    pub(crate) fn text(&self, call: Call) -> Result<String> {
        let reply = self.call(&call)?;
        String::from_utf8(reply.body)
            .map_err(|_| Error::BadReply { status: reply.status, text: "not UTF-8".into() })
    }

    pub(crate) fn nothing(&self, call: Call) -> Result<()> {
        self.call(&call).map(|_| ())
    }
}

impl Retry {
    pub(crate) fn wait(&self, attempt: u32, asked: Duration) -> Duration {
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        let doubled = self.first_wait.mul_f64(2f64.powi(attempt.min(30) as i32 - 1) * (0.75 + random / 2.0));
        asked.max(doubled.min(self.longest_wait))
    }
}

pub(crate) fn is_answer(reply: &Reply) -> bool {
    // /readyz says with 503 what it says with 200.
    let good = reply.status < 300 || reply.status == 304 || reply.media() == "application/json";
    good && reply.media() != PROBLEM
}

/// The error for a reply that is none of success.
pub(crate) fn problem_of(reply: &Reply) -> Error {
    let bad = |text| Error::BadReply { status: reply.status, text };
    let body = String::from_utf8_lossy(&reply.body);
    if reply.media() != PROBLEM {
        return bad(format!("{:?}: {:?}", reply.media(), body.chars().take(80).collect::<String>()));
    }
    match Json::parse(&body) {
        Ok(document) => Error::Problem(Box::new(Problem::read(reply.status, &document))),
        Err(text) => bad(text),
    }
}

pub(crate) fn read<T: Data>(reply: &Reply) -> Result<T> {
    let bad = |text| Error::BadReply { status: reply.status, text };
    let text = std::str::from_utf8(&reply.body).map_err(|_| bad("not UTF-8".to_string()))?;
    Json::parse(text).and_then(|json| T::from_json(&json)).map_err(bad)
}
