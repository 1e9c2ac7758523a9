// SPDX-License-Identifier: Apache-2.0
//! The conformance vectors through the crate `mustafar` (tests/conformance/README.md). It reads the twins.
//!
//!     conformance VECTORS RAN [--backend NAME] [--only ID] [--leave-out ID]
//!
//! RAN gets `ran ID` or `failed ID why`, and the status says whether all ran.

mod ask;
mod attend;
mod change;
mod runner;
mod vectors;

use std::error::Error;
use std::fs::{read_dir, read_to_string, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use mustafar::{Context, ContextOptions, Hooks};

use runner::{Outcome, Runner, Stop};
use vectors::Step;

fn run_step(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let layer = step.index("layer");
    match step.op.as_str() {
        "create" => change::create(runner, step),
        "append" => change::append(runner, step),
        "commit" => Ok(runner.cache_mut(step)?.commit(layer)?),
        "compress" => Ok(runner.cache_mut(step)?.compress(layer)?),
        "prune" => change::prune(runner, step),
        "evict" => change::evict(runner, step),
        "evict_scores" => change::evict_scores(runner, step),
        "truncate" => change::truncate(runner, step),
        "reset" => Ok(runner.cache_mut(step)?.reset()?),
        "fork" => change::fork(runner, step),
        "save" => change::save(runner, step),
        "load" => change::load(runner, step),
        "state" => ask::state(runner, step),
        "export" => ask::export(runner, step),
        "bytes" => ask::bytes(runner, step),
        "plan" => ask::plan_bytes(runner, step),
        "stats" => ask::stats(runner, step),
        "recipe" => ask::recipe(runner, step),
        "side" => ask::side_info(runner, step),
        "window" => ask::window(runner, step),
        "attend" => attend::run_attend(runner, step),
        "merge" => attend::run_merge(runner, step),
        _ => Err(Stop::Wrong("unknown op".into())),
    }
}

/// The steps of one case; what is left of its caches goes with the runner.
fn run_case(context: &Context, strict: bool, lines: &[&str]) -> Result<(), String> {
    let test = Step::read(lines[0]);
    let mut runner = Runner { context, strict, test, caches: Vec::new(), saved: Vec::new() };
    for (number, line) in lines[1..].iter().enumerate() {
        let step = Step::read(line);
        let outcome = run_step(&mut runner, &step);
        runner.answer(&step, outcome).map_err(|why| format!("step {} {}: {}", number, step.op, why))?;
    }
    Ok(())
}

/// The strict tolerances are for the reference rows alone.
fn runs_on_ref(context: &Context) -> mustafar::Result<bool> {
    for op in ["attend", "unpack", "merge"] {
        if context.kernel(op)?.backend != "ref" {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Default)]
struct Arguments {
    paths: Vec<PathBuf>,
    backend: String,
    only: Option<String>,
    leave_out: Option<String>,
}

fn arguments() -> Option<Arguments> {
    let mut found = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--backend" => found.backend = words.next()?,
            "--only" => found.only = Some(words.next()?),
            "--leave-out" => found.leave_out = Some(words.next()?),
            _ => found.paths.push(word.into()),
        }
    }
    (found.paths.len() == 2).then_some(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments =
        arguments().ok_or("conformance VECTORS RAN [--backend NAME] [--only ID] [--leave-out ID]")?;
    let options = ContextOptions { backend: &arguments.backend, ..ContextOptions::default() };
    let context = Context::with(&options, Hooks::new())?;
    let strict = runs_on_ref(&context)?;
    let mut files = Vec::new();
    for entry in read_dir(&arguments.paths[0])? {
        let path = entry?.path();
        if path.extension().map_or(false, |ending| ending == "txt") {
            files.push(path);
        }
    }
    files.sort();
    let mut ran = BufWriter::new(File::create(&arguments.paths[1])?);
    let (mut good, mut bad) = (0, 0);
    for file in files {
        let text = read_to_string(file)?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("vectors ")).collect();
        for case in lines.split(|line| *line == "end").filter(|case| !case.is_empty()) {
            let id = Step::read(case[0]).name().to_owned();
            if arguments.leave_out.as_ref() == Some(&id)
                || arguments.only.as_ref().map_or(false, |only| *only != id)
            {
                continue;
            }
            match run_case(&context, strict, case) {
                Ok(()) => {
                    good += 1;
                    writeln!(ran, "ran {}", id)?;
                }
                Err(why) => {
                    bad += 1;
                    let why = why.replace('\n', " ");
                    println!("failed {}: {}", id, why);
                    writeln!(ran, "failed {} {}", id, why)?;
                }
            }
        }
    }
    ran.flush()?;
    println!("{} ran, {} failed", good, bad);
    Ok(())
}
