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
use std::time::Duration;

use mustafar_client::json::Json;
use mustafar_client::{Client, Error, Retry};

use arguments::Arguments;
use sha256::sha256_hex;

struct Runner {
    prefix: String,
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
                .map(|(name, one)| (name.clone(), map_texts(one, without, change)))
                .collect(),
        ),
        other => other.clone(),
    }
}

impl Runner {
    fn run(&self, step: &Json) -> String {
        let text = |name| step.get(name).and_then(Json::as_str).unwrap_or("");
        // @ in arguments is the name of this runner, so that all can use one server.
        let named = map_texts(step, &[], &|text| text.replace('@', &self.prefix));
        let arguments = Arguments { step: &named };
        let client = &self.clients[text("via")];
        let answer = catch_unwind(AssertUnwindSafe(|| ask::ask(client, text("call"), &arguments)));
        let (found, answer) = match answer {
            Err(_) => return "failed: the arguments do not fit".to_string(),
            Ok(Ok(answer)) => (String::new(), answer),
            Ok(Err(Error::Problem(problem))) => {
                let members = vec![
                    ("problem".to_string(), Json::String(problem.slug.clone())),
                    ("status".to_string(), Json::Integer(problem.status.into())),
                    ("members".to_string(), problem.members.clone()),
                ];
                (problem.slug, Json::Object(members))
            }
            Ok(Err(Error::Lost { .. })) => ("lost".to_string(), Json::String("lost".to_string())),
            Ok(Err(Error::BadReply { status: 502, .. })) => {
                ("bad-reply".to_string(), Json::String("bad-reply".to_string()))
            }
            Ok(Err(error)) => return format!("failed {error}"),
        };
        if found != text("problem") {
            return format!("failed {found:?}: {}", answer.text());
        }
        // Without what differs between runners and runs.
        let common = map_texts(&answer, &self.ignore, &|text| text.replace(&self.prefix, "@"));
        sha256_hex(values::canonical(&common).as_bytes())
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
    let runner = Runner {
        prefix: option("name")? + "--",
        ignore: scenario.get("ignore").map_or(Vec::new(), |list| {
            list.as_array().iter().filter_map(Json::as_str).map(str::to_string).collect()
        }),
        clients: HashMap::from([
            ("", Client::new(&url)?.with_token(&token)),
            ("read", Client::new(&url)?.with_token(&option("read-token")?)),
            ("none", Client::new(&url)?),
            ("unix", Client::unix(option("unix")?).with_token(&token)),
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
