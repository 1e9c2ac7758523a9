// SPDX-License-Identifier: Apache-2.0
//! Experiments: start one once, follow it until it ends.
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::call::{segment, Call};
use crate::client::{problem_of, Client};
use crate::connection::Connection;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::operations::GetJobQuery;
use crate::schemas::{Job, JobRequest};

const QUIET: Duration = Duration::from_secs(45); // without a line; the server sends one every 15
const POLL: Duration = Duration::from_secs(25);
const LINE_MAX: u64 = 1 << 24;
const ENDED: [&str; 4] = ["done", "failed", "cancelled", "interrupted"];

/// One event of a job.
#[derive(Debug, Clone, Default)]
pub struct Event {
    pub id: i64,
    /// progress, row, result, done or reset.
    pub kind: String,
    /// Of done and reset: the job.
    pub data: Json,
}

impl Event {
    /// The job that done and reset carry.
    pub fn job(&self) -> Result<Job> {
        Job::from_json(&self.data).map_err(|text| Error::BadReply { status: 200, text })
    }
}

/// Events of one stream; an iterator. It ends behind `done`, and with [`Error::Lost`] where it is cut.
pub struct Events {
    connection: Option<Connection>,
    id: i64,
}

impl Client {
    /// Starts an experiment, once, however often the request is sent: `POST /v1/jobs`.
    ///
    /// With a key of your own even by a program that was started again.
    pub fn post_jobs(&self, body: &JobRequest, idempotency_key: Option<&str>) -> Result<Job> {
        let random = || RandomState::new().build_hasher().finish();
        let key =
            idempotency_key.map_or_else(|| format!("{:016x}{:016x}", random(), random()), str::to_string);
        let call = Call::new("POST", "/v1/jobs").json(body).header("Idempotency-Key", &format!("\"{key}\""));
        self.data(call.safe())
    }

    /// One stream of events behind number `after`: `GET /v1/jobs/{id}/events`. `watch_job` goes on by itself.
    pub fn follow_job(&self, id: &str, after: i64) -> Result<Events> {
        let mut call = Call::new("GET", format!("/v1/jobs/{}/events", segment(id)));
        call = call.header("Accept", "text/event-stream");
        if after > 0 {
            call = call.header("Last-Event-ID", &after.to_string());
        }
        let (mut connection, mut head) = self.open(&call, Instant::now() + QUIET)?;
        if head.reply.status != 200 {
            head.reply.body = connection.body(&head).map_err(|error| lost(id, error))?;
            return Err(problem_of(&head.reply));
        }
        if head.reply.media() != "text/event-stream" {
            let text = format!("events came as {:?}", head.reply.media());
            return Err(Error::BadReply { status: 200, text });
        }
        Ok(Events { connection: Some(connection), id: after })
    }

    /// Hands over all events of a job up to `done`, whatever happens to connections in between, until `see` fails.
    ///
    /// Where streams cannot be had it asks again and again, and `row` and `result` events are left out.
    pub fn watch_job(&self, id: &str, after: i64, mut see: impl FnMut(&Event) -> Result<()>) -> Result<()> {
        let mut last = after;
        let mut failures = 0;
        loop {
            let mut failure = lost(id, io::ErrorKind::UnexpectedEof.into());
            match self.follow_job(id, last) {
                Ok(events) => {
                    for event in events {
                        let event = match event {
                            Ok(event) => event,
                            Err(error) => {
                                failure = error;
                                break;
                            }
                        };
                        failures = 0;
                        last = last.max(event.id);
                        see(&event)?;
                        if event.kind == "done" {
                            return Ok(());
                        }
                    }
                }
                Err(Error::Problem(problem)) if problem.status != 503 => return Err(Error::Problem(problem)),
                Err(Error::Lost { request, sent, source }) => failure = Error::Lost { request, sent, source },
                Err(_) => return self.poll(id, last, see), // too many streams, or a proxy that knows none
            }
            failures += 1;
            if failures >= self.retry().attempts {
                return Err(failure);
            }
            sleep(self.retry().wait(failures, Duration::ZERO));
        }
    }

    /// Waits until a job has ended.
    pub fn wait_job(&self, id: &str) -> Result<Job> {
        let mut job = None;
        self.watch_job(id, 0, |event| {
            if event.kind == "done" {
                job = Some(event.job()?);
            }
            Ok(())
        })?;
        job.ok_or_else(|| lost(id, io::ErrorKind::UnexpectedEof.into()))
    }

    fn poll(&self, id: &str, mut last: i64, mut see: impl FnMut(&Event) -> Result<()>) -> Result<()> {
        let wait = POLL.min(self.timeout() / 2).as_secs_f64();
        loop {
            let job = self.get_job(id, &GetJobQuery { wait: Some(wait), version: Some(last) })?;
            let ended = ENDED.contains(&job.state.as_str());
            if job.version == last && !ended {
                continue;
            }
            last = job.version;
            let mut event = Event { id: last, kind: "done".to_string(), data: job.to_json() };
            if !ended {
                event.kind = "progress".to_string();
                let names = ["progress", "what", "items_done", "items", "state"];
                let member =
                    |name: &&str| (name.to_string(), event.data.get(name).cloned().unwrap_or_default());
                event.data = Json::Object(names.iter().map(member).collect());
            }
            see(&event)?;
            if ended {
                return Ok(());
            }
        }
    }
}

fn lost(id: &str, source: io::Error) -> Error {
    Error::Lost { request: format!("the events of {id}"), sent: true, source }
}

impl Events {
    fn read(&mut self, connection: &mut Connection) -> io::Result<Option<Event>> {
        let mut event = Event { id: self.id, ..Event::default() };
        let mut data = String::new();
        loop {
            connection.set_limit(Instant::now() + QUIET);
            let line = match connection.body_line(LINE_MAX)? {
                Some(line) => line,
                None => return Ok(None),
            };
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => event.id = value.parse().unwrap_or(event.id),
                "event" => event.kind = value.to_string(),
                "data" => data.push_str(value),
                _ if line.is_empty() && !data.is_empty() => break,
                _ => {}
            }
        }
        self.id = event.id;
        event.data = Json::parse(&data).map_err(|text| io::Error::new(io::ErrorKind::InvalidData, text))?;
        Ok(Some(event))
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        let mut connection = self.connection.take()?;
        match self.read(&mut connection) {
            Ok(Some(event)) => {
                if event.kind != "done" {
                    self.connection = Some(connection);
                }
                Some(Ok(event))
            }
            Ok(None) => Some(Err(lost("a job", io::ErrorKind::UnexpectedEof.into()))),
            Err(error) => Some(Err(lost("a job", error))),
        }
    }
}
