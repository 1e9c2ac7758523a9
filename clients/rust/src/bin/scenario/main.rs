// SPDX-License-Identifier: Apache-2.0
//! The runner of the scenario for the Rust client; clients/scenario/README.md says what a runner does.
mod arguments;
mod ask;
#[rustfmt::skip]
mod dispatch;
mod sha256;
mod values;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fs::{read_to_string, File};
use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::Duration;

use mustafar_client::json::Json;
use mustafar_client::{Client, Error, Retry};

use arguments::Arguments;
use sha256::sha256_hex;

struct Runner {
    root: PathBuf,
    /// What stands for it in arguments, and what it is: `@` the name of this runner, so that all can use one server;
    /// `$NAME` what a step saved.
    names: Vec<(String, String)>,
    ignore: Vec<String>,
    clients: HashMap<&'static str, Client>,
}

/// Every text changed, and members of objects without some.
fn map_texts(value: &Json, without: &[String], change: &dyn Fn(&str) -> String) -> Json {
    match value {
        Json::String(text) => Json::String(change(text)),
        Json::Array(values) => {
            Json::Array(values.iter().map(|one| map_texts(one, without, change)).collect())
        }
        Json::Object(members) => Json::Object(
            members
                .iter()
                .filter(|(name, _)| !without.contains(name))
                .map(|(name, one)| (change(name), map_texts(one, without, change)))
                .collect(),
        ),
        other => other.clone(),
    }
}

impl Runner {
    fn named(&self, text: &str) -> String {
        let mut out = text.to_string();
        for (name, meaning) in &self.names {
            if name == "@" {
                out = out.replace('@', meaning);
            } else if text == name {
                return meaning.clone();
            }
        }
        out
    }

    fn run(&mut self, step: &Json) -> String {
        let text = |name| step.get(name).and_then(Json::as_str).unwrap_or("");
        let named = map_texts(step, &[], &|text| self.named(text));
        let arguments = Arguments { step: &named, root: &self.root };
        let client = &self.clients[text("via")];
        let answer = catch_unwind(AssertUnwindSafe(|| ask::ask(client, text("call"), &arguments)));
        let (found, answer) = match answer {
            Err(_) => return "failed: the arguments do not fit".to_string(),
            Ok(Ok(answer)) => (String::new(), answer),
            Ok(Err(error)) => refusal(&error),
        };
        if found != text("problem") {
            return format!("failed {found:?}: {}", answer.text());
        }
        let answer = match self.selected(step, answer) {
            Ok(answer) => answer,
            Err(text) => return format!("failed {text}"),
        };
        sha256_hex(values::canonical(&self.common(step, &answer)).as_bytes())
    }

    /// Saves what later steps need, and leaves out what is not compared.
    fn selected(&mut self, step: &Json, answer: Json) -> Result<Json, String> {
        if let Some(Json::Object(saves)) = step.get("save") {
            for (name, way) in saves {
                let mut found = Some(&answer);
                for key in way.as_array() {
                    found = found.and_then(|value| match key {
                        Json::String(name) => value.get(name),
                        Json::Integer(at) => value.as_array().get(*at as usize),
                        _ => None,
                    });
                }
                let text = found.and_then(Json::as_str).ok_or(format!("nothing to save as {name}"))?;
                self.names.push((format!("${name}"), text.to_string()));
            }
        }
        if let Some(only) = step.get("only") {
            let names: Vec<_> = only.as_array().iter().filter_map(Json::as_str).collect();
            let member = |name: &&str| (name.to_string(), answer.get(name).cloned().unwrap_or_default());
            return Ok(Json::Object(names.iter().map(member).collect()));
        }
        match (&answer, step.get("first_line")) {
            (Json::String(text), Some(_)) => {
                Ok(Json::String(text.split('\n').next().unwrap_or("").to_string()))
            }
            _ => Ok(answer),
        }
    }

    /// A reply without what differs between runners and runs.
    fn common(&self, step: &Json, answer: &Json) -> Json {
        let keep = step.get("keep").map_or(&[][..], Json::as_array);
        let kept = |name: &String| keep.iter().any(|one| one.as_str() == Some(name.as_str()));
        let ignore: Vec<_> = self.ignore.iter().filter(|name| !kept(name)).cloned().collect();
        map_texts(answer, &ignore, &|text| {
            self.names.iter().fold(text.to_string(), |out, (name, meaning)| out.replace(meaning, name))
        })
    }
}

/// What is compared of an error: the word that the step expects, and all of it.
fn refusal(error: &Error) -> (String, Json) {
    match error {
        Error::Problem(problem) => {
            let members = vec![
                ("problem".to_string(), Json::String(problem.slug.clone())),
                ("status".to_string(), Json::Integer(problem.status.into())),
                ("members".to_string(), problem.members.clone()),
            ];
            (problem.slug.clone(), Json::Object(members))
        }
        Error::Lost { .. } => ("lost".to_string(), Json::String("lost".to_string())),
        Error::BadReply { status: 502, .. } => {
            ("bad-reply".to_string(), Json::String("bad-reply".to_string()))
        }
        error => (error.to_string(), Json::Null),
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let mut given: HashMap<String, String> = HashMap::new();
    let mut words = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        given.insert(name.trim_start_matches('-').to_string(), value);
    }
    let option = |name: &str| given.get(name).cloned().ok_or(format!("--{name} is missing"));
    let scenario = Json::parse(&read_to_string(option("scenario")?)?)?;
    let (url, token) = (option("url")?, option("token")?);
    let quick = Retry { first_wait: Duration::from_millis(20), ..Retry::default() };
    let faults = Client::new(&option("faults")?)?.with_token(&token);
    let streamless = Client::new(&(option("faults")? + "/no-streams"))?.with_token(&token);
    let mut runner = Runner {
        root: PathBuf::from(option("root")?),
        names: vec![("@".to_string(), option("name")? + "--")],
        ignore: scenario.get("ignore").map_or(Vec::new(), |list| {
            list.as_array().iter().filter_map(Json::as_str).map(str::to_string).collect()
        }),
        clients: HashMap::from([
            ("", Client::new(&url)?.with_token(&token)),
            ("read", Client::new(&url)?.with_token(&option("read-token")?)),
            ("none", Client::new(&url)?),
            ("unix", Client::unix(option("unix")?).with_token(&token)),
            ("no-streams", streamless.with_retry(quick.clone())),
            ("faults", faults.with_retry(quick).with_timeout(Duration::from_secs(2))),
        ]),
    };
    let mut out = File::create(option("out")?)?;
    for step in scenario.get("steps").map_or(&[][..], Json::as_array) {
        let id = step.get("id").and_then(Json::as_str).unwrap_or("?");
        writeln!(out, "{id} {}", runner.run(step).replace('\n', " "))?;
    }
    Ok(())
}
